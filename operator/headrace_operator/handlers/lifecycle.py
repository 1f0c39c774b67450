"""What kopf calls: start, stop, sign-in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat
from typing import Any

import kopf
import structlog

from headrace_operator.errors import LeadershipLostError

log = structlog.get_logger()


class _Patience:
    """Seconds between tries of kopf's own requests, without an end: an API server that is away is no reason to end."""

    def __iter__(self) -> Iterator[float]:
        return chain((1.0, 2.0), repeat(5.0))


class Lifecycle:
    """
    Ties the operator's own work to the life of the kopf process.

    Args:
        run: The work; it ends when it is cancelled, or by raising.
        rest: Brings the work to an end that leaves nothing half done; it is cancelled then.
    """

    def __init__(self, run: Callable[[], Awaitable[None]], rest: Callable[[], Awaitable[None]]) -> None:
        self._run = run
        self._rest = rest
        self._task: asyncio.Task[None] | None = None
        self.stop_flag = asyncio.Event()
        self.failure: BaseException | None = None

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Hang the hooks on kopf's registry."""
        kopf.on.login(registry=registry, id="login")(kopf.login_via_client)
        kopf.on.startup(registry=registry, id="start")(self.start)
        kopf.on.cleanup(registry=registry, id="stop")(self.stop)

    async def start(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        """Begin the work beside kopf's own; the process ends if it breaks."""
        settings.posting.enabled = False  # our Events are written by apply/events.py
        settings.scanning.disabled = True  # kopf watches nothing for us, so it needs no right to list definitions
        settings.networking.error_backoffs = _Patience()
        self._task = asyncio.create_task(self._work(), name="headrace")

    async def stop(self, **_: Any) -> None:
        """End the work; what it has begun with the API and cannot finish in time is finished by the next start."""
        if self._task is not None:
            if not self._task.done():
                await self._rest()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.stop_flag.set()  # kopf (1.45) leaves a task that waits for it, and gives that one 5 s to end
        log.info("operator_stopped")

    def ill(self) -> str | None:
        """Which failure the process is about to end by; None if there is none."""
        return None if self.failure is None else f"a part has failed: {self.failure!r}"

    async def _work(self) -> None:
        try:
            await self._run()
        except Exception as error:
            self.failure = error
            lost = isinstance(error, BaseExceptionGroup) and error.subgroup(LeadershipLostError) is not None
            if lost:  # not a fault: the process ends, and its successor stands by
                log.warning("leadership_lost", next_step="this process ends; another one leads or will")
            else:
                log.exception("operator_failed", error=type(error).__name__)
            self.stop_flag.set()
