"""Keeps the webhook served, with a certificate that the API server believes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from headrace.kubeapi.client import JSON_PATCH, KubeClient
from headrace.kubeapi.errors import ApiError, Conflict
from headrace.kubeapi.stream import Stream
from headrace_operator.admission.certificates import new_pair
from headrace_operator.admission.rotation import Introduce, Renew, Serve, Step, Wait, next_step, secret_data
from headrace_operator.admission.server import WebhookServer
from headrace_operator.handlers.context import Clock
from headrace_operator.kube.resources import SECRETS, VALIDATING_WEBHOOKS
from headrace_operator.telemetry.webhook import WebhookMetrics

log = structlog.get_logger()

RETRY_S: Final = 5.0
LOOK_AGAIN_S: Final = 3600.0
"""A clock that is set is noticed after this long."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where the webhook's objects are.

    Args:
        namespace: Of Service and Secret.
        name: Of both.
        is_own: Whether certificates are made here.
    """

    namespace: str
    name: str
    is_own: bool

    @property
    def configuration(self) -> str:
        """Name of the ValidatingWebhookConfiguration, which is in no namespace."""
        return f"{self.name}.{self.namespace}"

    @property
    def dns_names(self) -> tuple[str, ...]:
        """By which the API server calls."""
        return (f"{self.name}.{self.namespace}.svc",)


class Seen:
    """The sink of a stream of one object: its newest version."""

    def __init__(self, kind: str, news: asyncio.Event) -> None:
        self.obj: Mapping[str, Any] | None = None
        self.is_synced = asyncio.Event()
        self._kind = kind
        self._news = news

    def seen(self, obj: dict[str, Any]) -> None:
        """It was listed, added or modified."""
        self.obj = obj
        self._news.set()

    def gone(self, obj: dict[str, Any]) -> None:  # noqa: ARG002 - as a Sink has it
        """The object was deleted: there is none any more."""
        self.obj = None
        self._news.set()

    def synced(self, uids: set[str], version: int) -> None:  # noqa: ARG002 - as a Sink has it
        """A complete list was read."""
        if not uids:
            self.obj = None
        self.is_synced.set()
        self._news.set()

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke; it is taken up again by itself."""
        log.warning("stream_broken", kind=self._kind, error=str(error), retry_in_s=round(retry_in_s, 2))


class Keeper:
    """
    Watches Secret and configuration, and takes one step after the other.

    Args:
        client: Its writes rest on the versions that were read, so every replica may make them.
        clock: The time of day.
    """

    def __init__(
        self, client: KubeClient, server: WebhookServer, place: Place, metrics: WebhookMetrics, *, clock: Clock
    ) -> None:
        self._client = client
        self._server = server
        self._place = place
        self._metrics = metrics
        self._clock = clock
        self._news = asyncio.Event()
        self._secret = Seen(SECRETS.kind, self._news)
        self._configuration = Seen(VALIDATING_WEBHOOKS.kind, self._news)
        self._told = ""

    async def run(self) -> None:
        """For ever; cancel it. Raises: OSError: the port is taken."""
        async with asyncio.TaskGroup() as group:
            place = self._place
            for path, name, seen in (
                (SECRETS.path(place.namespace), place.name, self._secret),
                (VALIDATING_WEBHOOKS.path(), place.configuration, self._configuration),
            ):
                stream = Stream(self._client, path, {"fieldSelector": f"metadata.name={name}"}, seen)
                group.create_task(stream.run(), name=f"watch of {name}")
            await self._secret.is_synced.wait()
            await self._configuration.is_synced.wait()
            while True:
                await self._until_news(await self._take_step())

    async def _take_step(self) -> float:
        """Seconds until the next one, unless there is news."""
        self._news.clear()
        now = self._clock()
        step = next_step(
            self._secret.obj,
            self._configuration.obj,
            names=self._place.dns_names,
            is_own=self._place.is_own,
            now=now,
        )
        try:
            return await self._carry_out(step, now)
        except Conflict as error:  # another replica was quicker; the watch tells of what it did
            log.debug("webhook_step_overtaken", error=str(error))
        except ApiError as error:
            log.warning("webhook_step_failed", error=str(error), retry_in_s=RETRY_S)
        return RETRY_S

    async def _carry_out(self, step: Step, now: datetime) -> float:
        match step:
            case Renew(former):
                await self._renew(former, now)
            case Introduce(patch):
                path = VALIDATING_WEBHOOKS.path("", self._place.configuration)
                await self._client.patch(path, list(patch), content_type=JSON_PATCH)
                log.info("webhook_introduced", configuration=self._place.configuration)
            case Serve(pair, due):
                await self._server.serve(pair)
                self._metrics.expires.set(pair.expires.timestamp())
                self._told = ""
                return min(LOOK_AGAIN_S, max(RETRY_S, (due - now).total_seconds()))
            case Wait(problem):
                if problem != self._told:
                    log.warning("webhook_not_served", problem=problem)
                self._told = problem
                return LOOK_AGAIN_S
        return RETRY_S

    async def _renew(self, former: bytes, now: datetime) -> None:
        assert self._secret.obj is not None
        pair = new_pair(self._place.dns_names, now, former=former)
        version = self._secret.obj["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "data": secret_data(pair)}
        await self._client.patch(SECRETS.path(self._place.namespace, self._place.name), body)
        log.info("webhook_certificate_renewed", expires=pair.expires.isoformat())

    async def _until_news(self, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await self._news.wait()
        except TimeoutError:
            return
