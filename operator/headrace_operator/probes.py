"""
What a kubelet is told of this process, by HTTP: `/healthz`, whether to start it anew, and `/readyz`, whether it does its part.

Both are answered by the event loop that does the work: one that is blocked answers nothing, and the probe runs out of time. Being alive
rests on nothing outside the process. If it rested on the API server, an outage of that would have all operators started anew, again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiohttp import web

Problem = Callable[[], str | None]
"""Says in a sentence what is wrong, None if nothing is."""

PATIENCE: Final = 1.5
"""Of a lease. A standby that hears nothing of the leader for one whole lease asks for it then; the answer to that is news too."""


def unready(*, leads: bool, works: bool, silent_s: float, lease_s: float) -> str | None:
    """
    Why a replica does not do its part; None: it leads and works, or it could take over.

    Args:
        silent_s: Seconds since the API server last told of the leader's Lease.
    """
    if leads:
        return None if works else "it leads, and its caches are not filled yet"
    if silent_s > lease_s * PATIENCE:
        return "it stands by, and the API server has not told of the leader's Lease for longer than that lasts"
    return None


class Probes:
    """
    Answers while it is open; use it as an asynchronous context manager.

    Args:
        port: On all addresses; 0 for none.
        ill: Why the process must be started anew.
        unready: Why it does not do its part at the moment.
    """

    def __init__(self, port: int, *, ill: Problem, unready: Problem) -> None:
        self._port = port
        self._ill = ill
        self._unready = unready
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        if self._port:
            app = web.Application()
            app.add_routes([web.get("/healthz", self._healthz), web.get("/readyz", self._readyz)])
            self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
            await self._runner.setup()
            await web.TCPSite(self._runner, port=self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        problem = self._ill()
        return web.json_response({"alive": problem is None, "message": problem or "ok"}, status=500 if problem else 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        problem = self._ill() or self._unready()
        return web.json_response({"ready": problem is None, "message": problem or "ok"}, status=503 if problem else 200)
