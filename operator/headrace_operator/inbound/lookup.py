"""Automations and their secrets, as requests need them: read when one comes in, believed for a moment."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from headrace.kubeapi.errors import NotFound
from headrace_operator.apply.outbound import SecretUnreadable, secret_value
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.inbound.buckets import Buckets
from headrace_operator.kube.cluster import Reader
from headrace_operator.kube.resources import AUTOMATIONS
from headrace_operator.observe.automations import AutomationRecord, automation_record

BELIEVED_S: Final = 5.0
"""A secret that was changed, and an Automation that was suspended, count after this long."""
MAX_HELD: Final = 1000
READS_PER_S: Final = 20.0
READS_AT_ONCE: Final = 100.0
"""Requests to the API server for Automations that are not known: whoever guesses names costs no more than this."""


class TooManyReads(Exception):
    """So many unknown Automations were asked for that the API server is spared for a moment."""


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a path of /hooks stands for.

    Attributes:
        record: None: there is no such Automation, or it takes no requests.
        secret: What its senders know; None where it cannot be read.
        until_s: For how long this is believed, on the monotonic clock.
    """

    record: AutomationRecord | None
    secret: bytes | None
    until_s: float


class Lookup:
    """Belongs to one event loop."""

    def __init__(self, cluster: Reader, monotonic: Callable[[], float]) -> None:
        self._cluster = cluster
        self._monotonic = monotonic
        self._held: OrderedDict[ObjectKey, Found] = OrderedDict()
        self._absent: OrderedDict[ObjectKey, Found] = OrderedDict()
        self._reads = Buckets(READS_PER_S, READS_AT_ONCE, monotonic)
        self._reading: dict[ObjectKey, asyncio.Task[Found]] = {}

    async def find(self, key: ObjectKey) -> Found:
        """What is there. Raises: TooManyReads. ApiError: the API server does not answer."""
        held = self._held.get(key) or self._absent.get(key)
        if held is not None and held.until_s > self._monotonic():
            return held
        reading = self._reading.get(key)
        if reading is None:
            if key not in self._held and not self._reads.takes(
                ""
            ):  # whoever guesses names takes nothing from known ones
                raise TooManyReads
            reading = asyncio.get_running_loop().create_task(self.afresh(key), name=f"look at {key}")
            self._reading[key] = reading
            reading.add_done_callback(lambda task: self._read(key, task))
        return await asyncio.shield(reading)  # a flood asks once, and who hangs up takes the answer from nobody

    async def afresh(self, key: ObjectKey) -> Found:
        """What is there now. Raises: ApiError."""
        try:
            obj = await self._cluster.get(AUTOMATIONS, key.namespace, key.name)
        except NotFound:
            return self._keep(key, None, None)
        return self._keep(key, *await self._usable(key, obj))

    def _read(self, key: ObjectKey, task: asyncio.Task[Found]) -> None:
        self._reading.pop(key, None)
        if not task.cancelled():
            task.exception()  # all who asked may have hung up

    def seen(self, key: ObjectKey, obj: dict[str, Any]) -> Found:
        """The answer to our own write."""
        before = self._held.get(key)
        old = before.record if before is not None else None
        return self._keep(key, automation_record(obj, old), before.secret if before is not None else None)

    async def _usable(self, key: ObjectKey, obj: dict[str, Any]) -> tuple[AutomationRecord | None, bytes | None]:
        before = self._held.get(key)
        record = automation_record(obj, before.record if before is not None else None)
        hook = record.rules.spec.trigger.webhook if record.rules is not None and not record.deleting else None
        if hook is None:
            return None, None
        try:
            return record, await secret_value(self._cluster, key.namespace, hook.secret_ref.name, hook.secret_ref.key)
        except SecretUnreadable:
            return record, None

    def _keep(self, key: ObjectKey, record: AutomationRecord | None, secret: bytes | None) -> Found:
        found = Found(record, secret, self._monotonic() + BELIEVED_S)
        self._held.pop(key, None)
        self._absent.pop(key, None)
        shelf = self._absent if record is None else self._held
        shelf[key] = found
        if len(shelf) > MAX_HELD:
            shelf.popitem(last=False)
        return found
