"""
The webhook's HTTPS server, and what it takes in.

The port can be reached from pods, and a review that is made up could ask what Flows another team has. So the path is a secret that only the
API server is told of: it derives from the private key, which all replicas have, and changes with it.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web

from headrace_operator.admission.certificates import Pair, secret_path
from headrace_operator.admission.review import MAX_BYTES, BadReviewError, Review, Verdict, answer, review_from
from headrace_operator.telemetry.webhook import Outcome, WebhookMetrics

log = structlog.get_logger()

Judge = Callable[[Review], Awaitable[Verdict]]

MOST_AT_ONCE: Final = 16
"""Reviews, of up to 4 MiB each. The API server lets pass what finds no place."""
READ_S: Final = 3.0
"""For a body: as long as the API server waits for its answer. Somebody who sends it byte by byte holds no place for longer."""
TOLD_EVERY_S: Final = 1.0
"""Calls that are refused are told in the log, and a flood of them is not."""


class WebhookServer:
    """
    Answers from the first certificate on; use it as an asynchronous context manager.

    Args:
        port: On all addresses.
        judge: Says what is to be said about an object.
        monotonic: Seconds that never go back.
    """

    def __init__(self, port: int, judge: Judge, metrics: WebhookMetrics, *, monotonic: Callable[[], float]) -> None:
        self._port = port
        self._judge = judge
        self._metrics = metrics
        self._monotonic = monotonic
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._paths: deque[str] = deque(maxlen=2)  # the former one too, until the API server has heard of the new one
        self._runner: web.AppRunner | None = None
        self._under_way = 0
        self._told_s = -math.inf

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def serve(self, pair: Pair) -> None:
        """From now on connections get this certificate; those that are open stay. Raises: OSError: the port is taken."""
        _load(self._context, pair)
        path = secret_path(pair.key)
        if path not in self._paths:
            self._paths.append(path)
        if self._runner is not None:
            return
        app = web.Application(client_max_size=MAX_BYTES)
        app.add_routes([web.post("/{path:.*}", self._called)])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port, ssl_context=self._context).start()
        log.info("webhook_listens", port=self._port)

    async def _called(self, request: web.Request) -> web.Response:
        path = request.path.encode(errors="replace")  # two texts are compared only if both are ASCII
        if not any(hmac.compare_digest(path, known.encode()) for known in self._paths):
            return self._turned_away(
                request, Outcome.FORGED, "the path is not the one that the API server was told", 404
            )
        if self._under_way >= MOST_AT_ONCE:
            return self._turned_away(request, Outcome.BUSY, f"{MOST_AT_ONCE} reviews are under way", 503)
        self._under_way += 1
        try:
            return await self._reviewed(request)
        finally:
            self._under_way -= 1

    async def _reviewed(self, request: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(READ_S):
                review = review_from(await request.read())
        except BadReviewError as error:
            return self._turned_away(request, Outcome.FORGED, str(error), error.status)
        except web.HTTPRequestEntityTooLarge:
            return self._turned_away(request, Outcome.FORGED, f"it is larger than {MAX_BYTES:,} bytes", 413)
        except TimeoutError:
            return self._turned_away(request, Outcome.FORGED, f"its body has not come within {READ_S:.0f} s", 408)
        return web.Response(body=answer(review, await self._verdict(review)), content_type="application/json")

    async def _verdict(self, review: Review) -> Verdict:
        try:
            verdict = await self._judge(review)
        except Exception:
            log.exception("review_failed", kind=review.kind, namespace=review.namespace, name=review.name)
            self._metrics.reviewed(review.kind, Outcome.ERROR)
            return Verdict()  # the operator looks at it again
        if verdict.problem is not None:
            log.info(
                "object_refused",
                kind=review.kind,
                namespace=review.namespace,
                name=review.name,
                user=review.user,
                problem=verdict.problem,
            )
        self._metrics.reviewed(review.kind, _outcome(verdict))
        return verdict

    def _turned_away(self, request: web.Request, outcome: Outcome, message: str, status: int) -> web.Response:
        self._metrics.reviewed("", outcome)
        now_s = self._monotonic()
        if now_s >= self._told_s + TOLD_EVERY_S:
            self._told_s = now_s
            log.warning("webhook_call_refused", remote=request.remote, status=status, problem=message)
        return web.Response(status=status, text=message)


def _outcome(verdict: Verdict) -> Outcome:
    if verdict.problem is not None:
        return Outcome.REFUSED
    return Outcome.WARNED if verdict.warnings else Outcome.ALLOWED


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """A key is loaded from a file only; this one is in memory, and of no name that others could open."""
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(file, "wb", closefd=False) as written:
            written.write(pair.key.rstrip() + b"\n" + pair.certificate)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
