"""
Queries of metrics for Automations, beside the reconciles, which wait for no foreign server.

    due ──> asked ──> an answer: a reading, until the next one
              └─────> none that can be used: the last reading stays; told when it happens often

What is asked is a GET that follows no redirect, so that it changes nothing anywhere, and an answer is at most 256 KiB. All of this is in memory: after
a restart each is asked at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import aiohttp
import structlog
from yarl import URL

from headrace.api.automation_sources import OnMetric, SecretKey
from headrace.api.conditions import Reason
from headrace.kubeapi.errors import ApiError
from headrace_operator.apply.outbound import (
    TIMEOUT_S,
    SecretUnreadable,
    guarded_session,
    is_unanswered,
    refusal,
    secret_value,
)
from headrace_operator.decide.automation.series import InvalidAnswer, Reading, reading, refusal_of, samples_of
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.cluster import Reader

log = structlog.get_logger()

AT_ONCE: Final = 64
AT_ONCE_OF_ONE: Final = 8
"""Of one namespace: servers of one team that do not answer keep no other team waiting."""
MAX_ANSWER: Final = 256 * 1024
PIECE: Final = 64 * 1024
TOLD_AFTER: Final = 3
"""Failures in a row: a server that is started anew is nobody's business. One that never answered is told of at once."""
SECRETS_HELD_S: Final = 300.0
NO_URL: Final = "the URL cannot be used: expected http://HOST:PORT or https://HOST:PORT; mend it"
"""Without what was found: a URL may be a secret."""

Problem = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a query is sent, and what is sent with it."""

    url: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class Watch:
    """
    What is known of one Automation's metric.

    Attributes:
        spec: Uid and generation of the Automation: another spec is another question.
        due_s: When it is to be asked next, on the monotonic clock.
        reading: What the last answer that could be used said.
        failures: How many in a row came to nothing.
        address: Made from Secrets, so that they are not read for each query; None: they are to be read.
        address_until_s: For how long that is believed.
    """

    spec: tuple[str, int]
    due_s: float
    task: asyncio.Task[None] | None = None
    reading: Reading | None = None
    failures: int = 0
    problem: Problem | None = None
    address: Address | None = None
    address_until_s: float = 0.0


class Queries:
    """
    Belongs to one event loop.

    Args:
        monotonic: Seconds that never go back.
        hosts: Names and addresses that requests may go to though they are on this machine or its link.
        done: Called with the Automation when its query has ended, and whether there is an answer that can be used.
    """

    def __init__(
        self,
        cluster: Reader,
        clock: Callable[[], datetime],
        *,
        monotonic: Callable[[], float],
        hosts: frozenset[str],
        done: Callable[[ObjectKey, bool], None],
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._monotonic = monotonic
        self._hosts = hosts
        self._done = done
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._turns_of: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE_OF_ONE))
        self._watches: dict[ObjectKey, Watch] = {}

    def look(self, key: ObjectKey, spec: tuple[str, int], on: OnMetric) -> float | None:
        """
        Asks if it is time to.

        Args:
            spec: Uid and generation of the Automation.
        Returns: seconds until it is time; None while a query is under way, whose end is told.
        """
        watch = self._watches.get(key)
        if watch is None or watch.spec != spec:
            self.forget(key)
            watch = self._watches[key] = Watch(spec, self._monotonic())
        if watch.task is not None:
            return None
        left_s = watch.due_s - self._monotonic()
        if left_s > 0:
            return left_s
        watch.due_s = self._monotonic() + on.every_seconds
        watch.task = asyncio.get_running_loop().create_task(self._asked(key, watch, on), name=f"query of {key}")
        return None

    def reading(self, key: ObjectKey) -> Reading | None:
        """What the last answer said; None: there was none to this question."""
        watch = self._watches.get(key)
        return None if watch is None else watch.reading

    def problem(self, key: ObjectKey) -> Problem | None:
        """Why there is no answer, once people should know; None where there is one."""
        watch = self._watches.get(key)
        return None if watch is None else watch.problem

    def forget(self, key: ObjectKey) -> None:
        """The Automation is gone, asks for something else, or is another replica's."""
        watch = self._watches.pop(key, None)
        if watch is not None and watch.task is not None:
            watch.task.cancel()

    def close(self) -> None:
        """Gives up all that is under way."""
        for key in list(self._watches):
            self.forget(key)

    async def _asked(self, key: ObjectKey, watch: Watch, on: OnMetric) -> None:
        try:
            async with self._turns_of[key.namespace], self._turns:
                at = self._clock()
                body = await self._answer(key, watch, on)
            watch.reading = reading(on, samples_of(body), at)
            watch.failures, watch.problem = 0, None
        except (SecretUnreadable, ApiError, aiohttp.ClientError, OSError, ValueError) as error:
            self._failed(key, watch, error)
        except Exception as error:  # whatever a foreign server does, it is asked again
            log.exception("query_broke", namespace=key.namespace, automation=key.name)
            self._failed(key, watch, error)
        watch.task = None
        self._done(key, not watch.failures)

    def _failed(self, key: ObjectKey, watch: Watch, error: Exception) -> None:
        watch.address = None  # a Secret may be another one since
        watch.failures += 1
        reason, text = problem_of(error)
        if watch.reading is None or watch.failures >= TOLD_AFTER:
            watch.problem = (reason, text)
        log.warning("query_failed", namespace=key.namespace, automation=key.name, problem=text, failures=watch.failures)

    async def _answer(self, key: ObjectKey, watch: Watch, on: OnMetric) -> bytes:
        if watch.address is None or watch.address_until_s <= self._monotonic():
            watch.address = await self._address(key.namespace, on)
            watch.address_until_s = self._monotonic() + SECRETS_HELD_S
        return await answered(watch.address, on.query, self._hosts)

    async def _address(self, namespace: str, on: OnMetric) -> Address:
        url = on.url or ""
        if on.url_from is not None:
            url = await self._secret(namespace, on.url_from)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "headrace"}
        if on.token_from is not None:
            token = await self._secret(namespace, on.token_from)
            if not (token.isascii() and token.isprintable()):
                problem = f'Secret "{on.token_from.name}" has no token in "{on.token_from.key}": it has letters that no header may have; set it'
                raise SecretUnreadable(problem)
            headers["Authorization"] = f"Bearer {token}"
        return Address(url, headers)

    async def _secret(self, namespace: str, ref: SecretKey) -> str:
        value = await secret_value(self._cluster, namespace, ref.name, ref.key)
        return value.decode(errors="replace").strip()


async def answered(address: Address, query: str, hosts: frozenset[str]) -> bytes:
    """
    The body of the answer to an instant query.

    Raises: HostRefused, aiohttp.ClientError, TimeoutError. InvalidAnswer: it cannot be used. ValueError: the URL is none.
    """
    base = URL(address.url)
    asked = (base / "api/v1/query").with_query(base.query)
    url = asked.update_query(query=query, timeout=f"{TIMEOUT_S:.0f}s")
    async with (
        guarded_session(address.url, hosts) as session,
        session.get(url, headers=address.headers, allow_redirects=False) as answer,
    ):
        body = await _bounded(answer)
        if answer.status == 200:
            return body
        raise InvalidAnswer(refusal_of(body) or _refused(answer.status))


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_chunked(PIECE):
        body += piece
        if len(body) > MAX_ANSWER:
            raise InvalidAnswer(
                f"the answer has more than {MAX_ANSWER // 1024} KiB; let the query come to fewer series"
            )
    return bytes(body)


def _refused(status: int) -> str:
    redirects = ", and redirects are not followed; name the URL that it points to" if 300 <= status < 400 else ""
    return f"the server answered {status}{redirects}"


def problem_of(error: Exception) -> Problem:
    """Why there is no answer, for people."""
    match error:
        case SecretUnreadable():
            return Reason.SECRET_NOT_READABLE, error.problem
        case ApiError():
            return Reason.SECRET_NOT_READABLE, f"a Secret could not be read: {error.reason}"
        case InvalidAnswer():
            return Reason.QUERY_FAILED, str(error)
    refused = refusal(error)
    if refused is not None:
        return Reason.QUERY_FAILED, f"the URL cannot be used: {refused}"
    is_url_wrong = isinstance(error, (aiohttp.ClientError, ValueError)) and not is_unanswered(error)
    return Reason.QUERY_FAILED, NO_URL if is_url_wrong else f"no answer ({type(error).__name__})"
