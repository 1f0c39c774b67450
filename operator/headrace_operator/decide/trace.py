"""The span that the spans of a run hang below, so that all its attempts are one trace."""

from __future__ import annotations

import hashlib
import re

from headrace_operator.decide.snapshot import Run


def traceparent(run: Run) -> str:
    """
    As W3C writes it: that of the run's annotation, else one that derives from its UID.

    The trace's id is then the UID without dashes, so that whoever knows the run finds the trace.
    """
    if run.traceparent is not None:
        return run.traceparent
    mark = hashlib.sha256(run.uid.encode()).hexdigest()
    plain = run.uid.replace("-", "").lower()
    trace = plain if re.fullmatch("(?!0{32})[0-9a-f]{32}", plain) else mark[32:]
    # 01: sampled. Without it nothing would be, by the default of OpenTelemetry.
    return f"00-{trace}-{mark[:16]}-01"
