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
    # 01: sampled. Without it nothing would be, by the default of OpenTelemetry.
    return f"00-{trace_id(run)}-{_mark(run)[:16]}-01"


def trace_id(run: Run) -> str:
    """The trace that `traceparent` names, 32 hexadecimal digits."""
    if run.traceparent is not None:
        return run.traceparent.split("-")[1]
    plain = run.uid.replace("-", "").lower()
    return plain if re.fullmatch("(?!0{32})[0-9a-f]{32}", plain) else _mark(run)[32:]


def _mark(run: Run) -> str:
    return hashlib.sha256(run.uid.encode()).hexdigest()
