"""
What exports spans: the TracerProvider of the program, else one that the standard variables describe.

    OTEL_SDK_DISABLED=true                       nothing
    a provider that the program has set          that one
    OTEL_TRACES_EXPORTER or an OTLP endpoint     one of ours, also for the libraries that the code uses
    else, or without headrace[otel]              nothing
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from headrace.engine.watching import ASKED_BY

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

T = TypeVar("T")

EXIT_FLUSH_S: Final = 3.0
"""How long the end of a program waits for its spans, at most."""
EXTRA: Final = "headrace[otel]"

_LOCK: Final = threading.Lock()
_TOLD: Final[set[str]] = set()
"""What was said already: each reason why there are no spans is told once."""


def tracer(service: str) -> Tracer | None:
    """
    What makes spans; None where nobody wants them.

    Args:
        service: The service's name, if no variable gives one.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from opentelemetry import trace  # noqa: PLC0415 - the extra
    except ImportError:
        _tell(f"spans are asked for, and OpenTelemetry is not installed: install {EXTRA}")
        return None
    with _LOCK:
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            own = _own_provider(service)
            if own is None:
                return None
            trace.set_tracer_provider(own)
            atexit.register(flush, EXIT_FLUSH_S)
            provider = own
    return provider.get_tracer("headrace")


def flush(timeout_s: float) -> None:
    """Exports the spans that have ended, and gives up after that time."""
    trace = sys.modules.get("opentelemetry.trace")
    force_flush = getattr(trace.get_tracer_provider(), "force_flush", None) if trace else None
    if force_flush is not None:
        # It may wait longer than it is told to: exporters try again.
        thread = threading.Thread(target=force_flush, name="headrace-spans", daemon=True)
        thread.start()
        thread.join(timeout_s)
        if thread.is_alive():  # the end of the program need not wait once more
            atexit.unregister(flush)


def span_exporter() -> SpanExporter | None:
    """Where spans go, as the variables say; None if they ask for nothing, or for what cannot be, which is told."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    return _if_possible(_exporter)


def _own_provider(service: str) -> Any:
    """A TracerProvider as the variables say; None if they ask for none, or for what cannot be."""
    return _if_possible(lambda: _provider(service))


def _if_possible(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except ImportError as error:
        _tell(f"spans are asked for, and {error.name} is not installed: install {EXTRA}")
    except Exception as error:  # noqa: BLE001 - what OpenTelemetry makes of its variables is its own affair
        told = f"{type(error).__name__}: {error}"
        _tell(f"spans are asked for, and there can be none: {told}; look at the variables OTEL_…")
    return None


def _provider(service: str) -> Any:
    exporter = _exporter()
    if exporter is None:
        return None
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - the extra
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - the extra

    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {"service.name": service})
    # Its own end would wait for half a minute: ours has a bound.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _exporter() -> SpanExporter | None:
    if not any(os.environ.get(name) for name in ASKED_BY):
        return None
    wanted = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower()
    if wanted == "none":
        return None
    make = {"otlp": _otlp, "console": _console}.get(wanted)
    if make is None:
        _tell(f'OTEL_TRACES_EXPORTER is "{wanted}", expected otlp, console or none; there are no spans')
        return None
    return make()


def _console() -> SpanExporter:
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415 - the extra

    return ConsoleSpanExporter()


def _otlp() -> SpanExporter:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol == "grpc":
        from importlib import import_module  # noqa: PLC0415 - a package that the extra leaves to those who want it

        exporter: SpanExporter = import_module(
            "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"
        ).OTLPSpanExporter()
        return exporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - the extra

    return OTLPSpanExporter()


def _tell(message: str) -> None:
    if message in _TOLD:
        return
    _TOLD.add(message)
    from headrace.engine import logs  # noqa: PLC0415 - logs knows the scope, which knows who watches

    logs.prepare()
    logs.LOGGER.warning("%s", message, extra={"event": "tracing_unavailable"})
