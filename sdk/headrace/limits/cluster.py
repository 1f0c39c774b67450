"""
Limits across the cluster, for code in a pod: slots are Leases, taken by compare and swap.

    look ──> enough free? ──> take each ──> all taken ──> kept by the keeper until the block ends
      ^          │ no              │ a race was lost, or the API server did not answer
      └── wait <─┴──── give back <─┘
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from headrace import slots
from headrace.api.keys import API_VERSION, CONCURRENCYLIMITS
from headrace.errors import LimitUnusable, TimedOut
from headrace.limits.demand import Demand
from headrace.limits.holding import Held, Monotonic, Taken, uptime_s
from headrace.limits.keeper import Keeper
from headrace.limits.view import Api, Lease, LimitView
from headrace.limits.ways import Wait, Way
from headrace.logs import get_run_logger
from headrace.podapi import PodApiError

RACE_PAUSE_S = 0.2
"""After a lost race, give or take half: the winner is done by then."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 10.0
"""After an API server that did not answer; doubled each time."""
LONGEST_WAIT_S = 300.0
"""For a start; the operator may have taken back what a clock that was wrong noted years ahead, or raised the rate."""
UNREADY_S = 1.0
"""Until the operator has made the Leases of a limit that was applied just now."""
OUTDATED = frozenset({404, 409})
"""A write that rests on what is no longer so is answered with one of these."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this code runs: its pod, and the namespace that holds the slots."""

    slots_namespace: str
    namespace: str
    pod: str
    pod_uid: str


def wall_clock() -> datetime:
    """The time in UTC, as Leases carry it; nothing is decided by it but rates."""
    return datetime.fromtimestamp(time.time(), UTC)


class ClusterLimits:
    """The ConcurrencyLimits of the cluster."""

    def __init__(
        self, api: Api, place: Place, *, clock: Monotonic = uptime_s, now: Callable[[], datetime] = wall_clock
    ) -> None:
        self._api = api
        self._place = place
        self._clock = clock
        self._now = now
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{place.slots_namespace}/leases"
        self._views: dict[str, LimitView] = {}
        self._attempts = threading.Lock()
        self._keeper = Keeper(api, self._path, clock=clock, now=now)

    async def acquire(self, demand: Demand, timeout_s: float | None, way: Way) -> Held:
        """As promised by Limits."""
        held = Held(self._clock)
        try:
            await self._until_done(partial(self._take_all, demand, held), f"waiting for {demand}", timeout_s, way)
        except BaseException:
            await way.call(self._give_back, held)
            raise
        self._keeper.keep(held)
        return held

    async def release(self, held: Held, way: Way) -> None:
        """As promised by Limits."""
        self._keeper.let_go(held)
        await way.call(self._give_back, held)

    async def start(self, limit: str, count: int, timeout_s: float | None, way: Way) -> None:
        """As promised by Limits."""
        what = f'waiting for the rate of limit "{limit}"'
        await self._until_done(partial(self._note_start, limit, count), what, timeout_s, way)

    async def _until_done(
        self, attempt: Callable[[], Wait | None], what: str, timeout_s: float | None, way: Way
    ) -> None:
        """Makes attempts until one needs no wait. Raises: TimedOut, LimitUnusable."""
        began_s, told, failures = self._clock(), False, 0
        while True:
            try:
                wait = await way.call(attempt)
                failures = 0
            except PodApiError as error:
                if not error.passes:
                    raise
                failures += 1
                wait = Wait(at_most_s=_jittered(min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (failures - 1))))
            waited_s = self._clock() - began_s
            if wait is None:
                if told:
                    get_run_logger().info("%s ended after %.1f s", what, waited_s)
                return
            if not told:
                get_run_logger().info("%s", what)
            told = True
            left_s = None if timeout_s is None else timeout_s - waited_s
            if left_s is not None and left_s <= 0:
                raise TimedOut(what, timeout_s or 0.0)
            await way.until(wait.notice, min((s for s in (wait.at_most_s, left_s) if s is not None), default=None))

    def _take_all(self, demand: Demand, held: Held) -> Wait | None:
        """Takes every slot or none. Raises: PodApiError, LimitUnusable."""
        with self._attempts:
            free: dict[str, list[Lease]] = {}
            for limit, count in demand.slots:
                changes, leases = self._view(limit).look()
                self._refuse_the_impossible(demand, limit, count, len(leases))
                free[limit] = [lease for lease in leases if slots.is_free(lease)]
                if len(free[limit]) < count:
                    return Wait(self._view(limit).notice(after=changes))
            try:
                if all(self._take_some(held, limit, free[limit], count) for limit, count in demand.slots):
                    return None
            except PodApiError:
                self._give_back(held)
                raise
            self._give_back(held)
            return Wait(at_most_s=_jittered(RACE_PAUSE_S))

    def _take_some(self, held: Held, limit: str, free: list[Lease], count: int) -> bool:
        """Whether that many were taken. Pods that look at the same time choose different ones, as far as may be."""
        random.shuffle(free)
        taken = 0
        for lease in free:
            taken += self._take(held, limit, lease)
            if taken == count:
                return True
        self._view(limit).doubt()
        return False

    def _take(self, held: Held, limit: str, lease: Lease) -> bool:
        """Whether the slot was still free."""
        duration_s = slots.duration_of(lease)
        place = self._place
        holder = str(slots.PodHolder(place.namespace, place.pod, place.pod_uid, uuid.uuid4().hex[:12]))
        name = lease["metadata"]["name"]
        taken = Taken(limit, name, holder, slots.transitions_of(lease) + 1, duration_s, self._clock())
        held.taken.append(taken)  # before the request: one without an answer may have taken it
        try:
            answer = self._api.patch(self._path(name), slots.taking(lease, holder, self._now(), duration_s=duration_s))
        except PodApiError as error:
            if error.status not in OUTDATED:
                raise
            held.taken.remove(taken)
            return False
        self._view(limit).note(answer)
        return True

    def _give_back(self, held: Held) -> None:
        """Frees what is held; what the API server does not answer to is owed."""
        while held.taken:
            taken = held.taken[-1]
            try:
                answer = self._api.patch(self._path(taken.lease), slots.giving_back(taken.holder, taken.token))
                self._view(taken.limit).note(answer)
            except PodApiError as error:
                if error.passes:
                    self._keeper.owe(taken)
            except BaseException:  # broken off: whether it is free is open
                self._keeper.owe(taken)
                raise
            finally:
                held.taken.remove(taken)

    def _refuse_the_impossible(self, demand: Demand, limit: str, count: int, total: int) -> None:
        """Raises: LimitUnusable: it can never be met at the limit's present size; 0 slots are a pause."""
        problem = demand.problem(limit, count, total)
        if problem is None:
            return
        spec = self._spec(limit)
        if "slots" not in spec:
            raise LimitUnusable(limit, f'it has a rate and no slots; write rate_limit("{limit}"), or set spec.slots')
        # The Leases lag behind the spec for a moment; slots that go are still there while they are held.
        problem = demand.problem(limit, count, max(total, spec["slots"]))
        if problem and spec["slots"]:
            raise LimitUnusable(limit, problem)

    def _note_start(self, limit: str, count: int) -> Wait | None:
        """Notes the starts if the rate allows them now. Raises: PodApiError, LimitUnusable."""
        lease = self._rate_lease(limit)
        rate = lease and slots.rate_of(lease)
        if not lease or not rate:
            if "rate" not in self._spec(limit):
                raise LimitUnusable(limit, f'it has slots and no rate; write concurrency("{limit}"), or set spec.rate')
            return Wait(at_most_s=_jittered(UNREADY_S))
        if count > rate.count:
            raise LimitUnusable(limit, f"{count} starts at once are asked for, and spec.rate.count is {rate.count}")
        now_ms = round(self._now().timestamp() * 1000)
        starts = slots.starts_of(lease)
        left_s = rate.seconds_until(starts, count, now_ms)
        if left_s:
            return Wait(at_most_s=min(left_s, LONGEST_WAIT_S) + _jittered(RACE_PAUSE_S))
        try:
            self._api.patch(self._path(slots.rate_name(limit)), slots.noting(lease, rate.noted(starts, count, now_ms)))
        except PodApiError as error:
            if error.status not in OUTDATED:
                raise
            return Wait(at_most_s=_jittered(RACE_PAUSE_S))
        return None

    def _rate_lease(self, limit: str) -> Lease | None:
        try:
            return self._api.get(self._path(slots.rate_name(limit)))
        except PodApiError as error:
            if error.status != 404:
                raise
            return None

    def _spec(self, limit: str) -> Mapping[str, int]:
        """What the ConcurrencyLimit says. Raises: LimitUnusable: there is none; PodApiError."""
        group = f"/apis/{API_VERSION}/{CONCURRENCYLIMITS.plural}"
        try:
            found: Mapping[str, int] = self._api.get(f"{group}/{limit}").get("spec") or {}
        except PodApiError as error:
            if error.status != 404:
                raise
            manifest = f'{{"apiVersion": "{API_VERSION}", "kind": "ConcurrencyLimit", "metadata": {{"name": "{limit}"}}, "spec": {{"slots": 5}}}}'
            raise LimitUnusable(limit, f"there is no such ConcurrencyLimit; kubectl apply {manifest}") from error
        return found

    def _view(self, limit: str) -> LimitView:
        return self._views.setdefault(limit, LimitView(self._api, self._collection, limit))

    def _path(self, lease: str) -> str:
        return f"{self._collection}/{lease}"


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
