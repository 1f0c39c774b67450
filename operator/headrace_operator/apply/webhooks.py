"""
Webhooks out: each is sent until it is taken, beside the reconciles, which wait for no foreign server.

    begun ──> sent ──> taken: done
               └──> not taken ──(1, 2, 4 … 60 s)──> sent again … ──> given up an hour after its event

What is under way is in memory: after a restart it is begun anew from the Automation's status. So a request may come twice, and carries the
same `webhook-id` and `Idempotency-Key` each time.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
import structlog

from headrace.api.automation import Firing
from headrace.kubeapi.errors import ApiError
from headrace_operator.apply.outbound import SecretUnreadable, guarded_session, is_unanswered, refusal, secret_value
from headrace_operator.decide.automation.bodies import webhook_body
from headrace_operator.decide.automation.signatures import signed
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.cluster import Reader

log = structlog.get_logger()

GIVE_UP_S: Final = 3600.0
FIRST_DELAY_S: Final = 1.0
LONGEST_DELAY_S: Final = 60.0
AT_ONCE: Final = 64
AT_ONCE_OF_ONE: Final = 8
"""Of one namespace: receivers of one team that do not answer keep no other team waiting."""
NO_URL: Final = "the URL cannot be used: expected http://HOST/PATH or https://HOST/PATH; mend it"
"""Without what was found: a URL may be a secret."""
PASSING: Final = frozenset({408, 425, 429})
"""Answers below 500 after which the same request may be taken later."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    One webhook of one firing.

    Attributes:
        hook: The action as status.firings has it.
        action: Its name.
    """

    automation: ObjectKey
    firing: Firing
    action: str
    hook: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The same for each try, and for no other request."""
        return f"{self.firing.id}.{self.action}"


class Webhooks:
    """
    Belongs to one event loop.

    Args:
        hosts: Names and addresses that requests may go to though they are on this machine or its link.
        done: Called with the Automation when one of its webhooks has ended.
    """

    def __init__(
        self, cluster: Reader, clock: Callable[[], datetime], hosts: frozenset[str], done: Callable[[ObjectKey], None]
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._hosts = hosts
        self._done = done
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._turns_of: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE_OF_ONE))
        self._tasks: dict[str, asyncio.Task[str | None]] = {}

    def under_way(self, delivery: Delivery) -> bool:
        """Whether it has not ended; it is begun if it was not."""
        key = _task_key(delivery)
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._until_taken(delivery), name=f"webhook {delivery.id}")
            task.add_done_callback(lambda _: self._done(delivery.automation))
            self._tasks[key] = task
        return not task.done()

    def problem(self, delivery: Delivery) -> str | None:
        """What went wrong for good with one that has ended, None for nothing."""
        task = self._tasks[_task_key(delivery)]
        return "it was not sent" if task.cancelled() else task.result()

    def forget(self, delivery: Delivery) -> None:
        """The status tells how it ended."""
        task = self._tasks.pop(_task_key(delivery), None)
        if task is not None:
            task.cancel()

    def forget_all(self, automation: ObjectKey) -> None:
        """The Automation is gone, or is another replica's: no more is sent for it."""
        theirs = [key for key in self._tasks if key.startswith(f"{automation}/")]
        for key in theirs:
            self._tasks.pop(key).cancel()

    def close(self) -> None:
        """Gives up all that is under way; whoever goes on begins them anew."""
        for task in self._tasks.values():
            task.cancel()

    async def _until_taken(self, delivery: Delivery) -> str | None:
        until = delivery.firing.at + timedelta(seconds=GIVE_UP_S)
        delay_s = FIRST_DELAY_S
        while True:
            problem, passes = await self._sent(delivery)
            if problem is None or not passes:
                return problem
            if self._clock() + timedelta(seconds=delay_s) > until:
                return f"{problem}; given up after {GIVE_UP_S:.0f} s"
            log.warning(
                "webhook_not_taken",
                namespace=delivery.automation.namespace,
                automation=delivery.automation.name,
                firing=delivery.firing.id,
                problem=problem,
                retry_in_s=delay_s,
            )
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _sent(self, delivery: Delivery) -> tuple[str | None, bool]:
        """What went wrong, None for nothing, and whether it may go well later."""
        try:
            async with self._turns_of[delivery.automation.namespace], self._turns:
                return await self._tried(delivery)
        except SecretUnreadable as error:
            return error.problem, True
        except ApiError as error:
            return f"a Secret could not be read: {error.reason}", True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _failure(error)

    async def _tried(self, delivery: Delivery) -> tuple[str | None, bool]:
        namespace, hook = delivery.automation.namespace, delivery.hook
        url = hook.get("url") or (await self._secret(namespace, hook["urlFrom"])).decode(errors="replace").strip()
        routing_key = await self._text(namespace, hook.get("routingKeyFrom"))
        told = webhook_body(hook, delivery.automation, delivery.firing, routing_key)
        body = json.dumps(told, ensure_ascii=False).encode(errors="replace")
        headers = {"Content-Type": "application/json", "Idempotency-Key": delivery.id, "User-Agent": "headrace"}
        if "secretRef" in hook:
            secret = await self._secret(namespace, hook["secretRef"])
            headers |= signed(body, request_id=delivery.id, at=self._clock(), secret=secret)
        status = await posted(url, body, headers, self._hosts)
        if status < 300:
            return None, False
        return f"the receiver answered {status}", status >= 500 or status in PASSING

    async def _text(self, namespace: str, ref: Mapping[str, Any] | None) -> str:
        return "" if ref is None else (await self._secret(namespace, ref)).decode(errors="replace").strip()

    async def _secret(self, namespace: str, ref: Mapping[str, Any]) -> bytes:
        return await secret_value(self._cluster, namespace, ref["name"], ref["key"])


async def posted(url: str, body: bytes, headers: Mapping[str, str], hosts: frozenset[str]) -> int:
    """
    The status of the answer, whose body is not read; redirects are not followed.

    Raises: HostRefused, aiohttp.ClientError, TimeoutError. ValueError: the URL is none.
    """
    async with (
        guarded_session(url, hosts) as session,
        session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status


def _failure(error: Exception) -> tuple[str, bool]:
    """What it tells people, and whether the same request may go well later."""
    refused = refusal(error)
    if refused is not None:
        return f"the URL cannot be used: {refused}", False
    return (f"no answer ({type(error).__name__})", True) if is_unanswered(error) else (NO_URL, False)


def _task_key(delivery: Delivery) -> str:
    return f"{delivery.automation}/{delivery.id}"
