"""
Who looks on while runs go: tracing and lineage, through one seam. Nobody does, unless somebody asks for it.

    began ── inside: the function runs ── ended
      └────────── once an attempt ──────────┘

A run inside another one is watched by whoever watches that.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace.states import State

if TYPE_CHECKING:
    from headrace.engine.ledger import Direction
    from headrace.engine.scope import Run
    from headrace.lineage.datasets import Dataset

ASKED_BY: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
"""Variables that ask for tracing."""
LINEAGE_URL_ENV: Final = "OPENLINEAGE_URL"
SENDERS: Final = ("headrace.tracing.setup", "headrace.lineage.sending", "headrace.events.delivery")
"""Modules that have something to flush, if they are loaded."""
TRACING_SDK: Final = "opentelemetry.sdk.trace"
"""Loaded where the author's program traces by itself."""


class Watch(Protocol):
    """Is told of each attempt, in the thread or asyncio task that makes it. It must not wait for anything."""

    def began(self, run: Run) -> None:
        """An attempt begins; its first log line is not written yet."""

    def inside(self, run: Run) -> AbstractContextManager[object]:
        """The block around the function. It raises nothing, and holds back nothing."""

    def ended(self, run: Run, state: State[Any]) -> None:
        """The attempt is over; its last log line follows."""


def watch_asked_for(name: str) -> Watches | None:
    """Who watches a run of that name that has none around it: whoever the environment, or the program itself, asks for."""
    found: list[Watch] = []
    if TRACING_SDK in sys.modules or any(name in os.environ for name in ASKED_BY):
        from headrace.tracing.spans import tracing  # noqa: PLC0415 - for those who trace

        found += [traced] if (traced := tracing(name)) else []
    if os.environ.get(LINEAGE_URL_ENV):
        from headrace.lineage.watch import lineage_watch  # noqa: PLC0415 - for those who ask for lineage

        lineage = lineage_watch()
        return Watches(*found, lineage, lineage=lineage)
    return Watches(*found) if found else None


def with_lineage(watch: Watches | None) -> Watches:
    """The same watch, which notes datasets too."""
    if watch is not None and watch.lineage is not None:
        return watch
    from headrace.lineage.watch import LineageWatch  # noqa: PLC0415 - for runs that touch datasets

    lineage = LineageWatch(None)
    return Watches(*(watch.each if watch else ()), lineage, lineage=lineage)


def noting_by_lines(watch: Watches | None) -> Watches:
    """The same watch, in another process than the flow's: datasets go there, among the log lines."""
    from headrace.lineage.relay import NotedByLines  # noqa: PLC0415 - it knows the scope, which knows this module

    own: object = watch.lineage if watch else None
    return Watches(*(each for each in (watch.each if watch else ()) if each is not own), lineage=NotedByLines())


class Noting(Protocol):
    """Notes what the code of a run reads and writes."""

    def noted(self, run: Run, direction: Direction, dataset: Dataset) -> None:
        """That it is one of its inputs or outputs."""


class Watches:
    """Several watches as one. What one of them raises is logged, and changes nothing for the run."""

    __slots__ = ("each", "lineage")

    def __init__(self, *each: Watch, lineage: Noting | None = None) -> None:
        self.each = each
        self.lineage = lineage
        """What notes datasets; it may be one of them."""

    def began(self, run: Run) -> None:
        """As promised by Watch."""
        for watch in self.each:
            _carefully(run, watch.began, run)

    @contextmanager
    def inside(self, run: Run) -> Iterator[None]:
        """As promised by Watch."""
        with ExitStack() as blocks:
            for watch in self.each:
                blocks.enter_context(watch.inside(run))
            yield

    def ended(self, run: Run, state: State[Any]) -> None:
        """As promised by Watch."""
        for watch in self.each:
            _carefully(run, watch.ended, run, state)


@contextmanager
def inside_both(outer: AbstractContextManager[object], inner: AbstractContextManager[object]) -> Iterator[None]:
    """Both blocks as one."""
    with outer, inner:
        yield


def _carefully(run: Run, tell: Callable[..., object], *facts: object) -> None:
    try:
        tell(*facts)
    except Exception as error:  # noqa: BLE001 - an onlooker must not end what it looks at
        from headrace.engine import logs  # noqa: PLC0415 - logs knows the scope, which knows this module

        message = f"tracing or lineage went wrong: {type(error).__name__}: {error}"
        logs.emit(logging.WARNING, run, "watch_failed", message)


def flush(timeout_s: float) -> None:
    """Sends what is left of spans, lineage and events, and gives up after that time. Nothing is left: it does not wait."""
    senders = [sys.modules.get(name) for name in SENDERS]
    ends_s = monotonic() + timeout_s
    for sender in senders:
        if sender is not None:
            sender.flush(max(0.0, ends_s - monotonic()))
