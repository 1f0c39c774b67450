"""The current span, for other processes: as text in an annotation, and as a carrier beside the work."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from headrace.api.keys import TRACEPARENT_ANNOTATION, TRACEPARENT_PATTERN

CARRIED: Final = ("traceparent", "tracestate", "baggage")
"""Headers of W3C; in an environment their names are in capitals."""


def current_traceparent() -> str | None:
    """
    The current span as W3C's `traceparent`, for the annotation `headrace.dev/traceparent` of a FlowRun.

    Returns: Where no span is active, the one that this process was started under; None: there is none either.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"
    found = os.environ.get("TRACEPARENT", "")
    return found if re.fullmatch(TRACEPARENT_PATTERN, found) else None


def trace_annotations() -> dict[str, str]:
    """Those of a new FlowRun whose spans are to hang below the current one; empty where there is none."""
    traceparent = current_traceparent()
    return {TRACEPARENT_ANNOTATION: traceparent} if traceparent else {}


def carrier() -> dict[str, str]:
    """The current span and baggage as headers; empty where nobody traces."""
    headers: dict[str, str] = {}
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import propagate  # noqa: PLC0415 - for those who trace

        propagate.inject(headers)
    return headers


def carrier_of_environment() -> dict[str, str]:
    """As the environment gives it: TRACEPARENT, TRACESTATE and BAGGAGE."""
    return {name: os.environ[name.upper()] for name in CARRIED if os.environ.get(name.upper())}


@contextmanager
def joined(headers: Mapping[str, str]) -> Iterator[None]:
    """Makes the span that these headers carry the current one."""
    if not headers or "opentelemetry.trace" not in sys.modules:
        yield
        return
    from opentelemetry import context, propagate  # noqa: PLC0415 - for those who trace

    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)
