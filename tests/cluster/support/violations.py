"""
What must never happen, looked for in what the API server wrote down. Each function returns sentences; none means fine.

Nothing here asks the operator: pods begin when they are created and end when their node says so, slots are held while their
Lease names somebody.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from headrace.api.keys import DEPLOYMENT_LABEL, FLOW_RUN_LABEL, POOL_LABEL
from headrace.slots import RunHolder
from headrace_operator.wiring import LEADER_LEASE
from tests.cluster.support.audit import CapState, LeaderState, PodState, RateState, Request, SlotState

ON_THE_WAY_OUT_S = 0.5
"""With the proxy's delay."""
FOR_EVER = float("inf")
NOTED_LATE_S = 10.0
"""A start is noted for the time at which it is asked for, give or take the write's own time."""


@dataclass(frozen=True, slots=True)
class Pod:
    """
    The life of one pod.

    Attributes:
        began, ended: Places in the order of requests; FOR_EVER for one that never ended.
    """

    uid: str
    run: RunHolder
    labels: Mapping[str, str]
    began: float
    began_at_s: float
    ended: float

    def __str__(self) -> str:
        return f"pod {self.uid} of run {self.run.namespace}/{self.run.name}"


@dataclass(frozen=True, slots=True)
class Change:
    """
    Something that counts begins (`by` is 1) or ends (-1).

    Attributes:
        order: Its place among all requests.
        at_s: When the request was answered, in seconds since 1970.
    """

    order: float
    at_s: float
    of: Hashable
    by: int
    who: str


@dataclass(frozen=True, slots=True)
class Waking:
    """An operator that was stopped went on, in seconds since 1970."""

    identity: str
    at_s: float

    def lets_out(self, request: Request) -> bool:
        """Whether this may be one of the requests that were on their way out when it was stopped."""
        return request.operator == self.identity and self.at_s <= request.began_s <= self.at_s + ON_THE_WAY_OUT_S


Needs = Callable[[Pod], Mapping[str, int]]
"""How many slots of which limits a pod's run must hold."""


def pods_of(requests: Iterable[Request]) -> list[Pod]:
    """Every pod of a run, in the order of their creation."""
    states: dict[str, list[tuple[Request, PodState]]] = defaultdict(list)
    for request in requests:
        if isinstance(request.state, PodState):
            states[request.state.uid].append((request, request.state))
    return sorted((_life(seen) for seen in states.values()), key=lambda pod: pod.began)


def _ends(pods: Iterable[Pod]) -> dict[RunHolder, float]:
    """The place at which the last pod of each run had ended."""
    over: dict[RunHolder, float] = {}
    for pod in pods:
        over[pod.run] = max(over.get(pod.run, 0.0), pod.ended)
    return over


def _life(seen: Sequence[tuple[Request, PodState]]) -> Pod:
    first, state = seen[0]
    name = state.labels[FLOW_RUN_LABEL]
    return Pod(
        uid=state.uid,
        run=RunHolder(first.namespace, name, state.run_uid),
        labels=state.labels,
        began=first.order,
        began_at_s=first.ended_s,
        ended=next((request.order for request, state in seen if state.has_ended), FOR_EVER),
    )


def two_pods_at_once(requests: Iterable[Request]) -> list[str]:
    """Runs of which a pod began before the last one had ended."""
    by_run: dict[RunHolder, list[Pod]] = defaultdict(list)
    for pod in pods_of(requests):
        by_run[pod.run].append(pod)
    found = []
    for pods in by_run.values():
        ended = 0.0
        for before, after in pairwise(pods):
            ended = max(ended, before.ended)
            if after.began < ended:
                found.append(f"{after} began at {after.began:.1f}, before {before} had ended")
    return found


def too_many_slots(requests: Sequence[Request], *, grace_s: float) -> list[str]:
    """
    Slots that were taken beyond a limit's size, or taken from their holder, unless that is a run whose pods have ended.

    A slot that is deleted is given back; whether that was too early, `pods_without_slots` tells.

    Args:
        grace_s: Seconds that a smaller size may take to be acted on. Slots that are held then may be held on.
    """
    found, changes = [], []
    last: dict[str, SlotState] = {}
    ended = {str(run): end for run, end in _ends(pods_of(requests)).items()}
    for request in requests:
        if not isinstance(request.state, SlotState):
            continue
        before, after = last.get(request.state.uid), request.state
        limit, held = (before.limit, before.holder) if before else (after.limit, "")
        what = f"{request.name} of {limit} at {request.order:.1f}"
        if held and after.holder not in {"", held} and ended.get(held, FOR_EVER) > request.order:
            found.append(f"slot {what} was taken from {held} by {after.holder}")
        if held != after.holder:
            sides = ((-1, held), (1, after.holder))
            changes += [Change(request.order, request.ended_s, limit, by, who) for by, who in sides if who]
        last[request.state.uid] = after
    return found + _exceeded("limit", changes, _caps(requests, "concurrencylimits"), grace_s)


def pods_without_slots(requests: Sequence[Request], needs: Needs) -> list[str]:
    """Pods that lived while their run did not hold every slot that it needs, from before they began until they had ended."""
    held = _held_by_runs(requests)
    found = []
    for pod in pods_of(requests):
        for limit, slots in needs(pod).items():
            least = held[(str(pod.run), limit)].least(pod.began, pod.ended)
            if least < slots:
                found.append(f"{pod} lived while its run held {least} of {slots} slots of {limit}")
    return found


class Held:
    """How many slots of one limit one run held, over time."""

    def __init__(self) -> None:
        self._orders: list[float] = [0.0]
        self._counts: list[int] = [0]

    def change(self, order: float, by: int) -> None:
        """One more or less from here on; in ascending order."""
        self._orders.append(order)
        self._counts.append(self._counts[-1] + by)

    def least(self, began: float, ended: float) -> int:
        """The fewest between two places."""
        first = bisect_right(self._orders, began) - 1
        return min(self._counts[first : max(first + 1, bisect_left(self._orders, ended))])


def _held_by_runs(requests: Iterable[Request]) -> Mapping[tuple[str, str], Held]:
    held: dict[tuple[str, str], Held] = defaultdict(Held)
    last: dict[str, SlotState] = {}
    for request in requests:
        after = request.state
        if not isinstance(after, SlotState):
            continue
        before = last.get(after.uid)
        last[after.uid] = after
        if before is not None and before.holder == after.holder:
            continue
        if before is not None and before.holder:
            held[before.holder, before.limit].change(request.order, -1)
        if after.holder:
            held[after.holder, after.limit].change(request.order, 1)
    return held


def too_many_runs_of_deployments(requests: Sequence[Request], *, grace_s: float) -> list[str]:
    """Runs that began while their Deployment had its number of active ones; active is from the first pod to the end of the last."""

    def deployment(pod: Pod) -> Hashable:
        name = pod.labels.get(DEPLOYMENT_LABEL)
        return (pod.run.namespace, name) if name else None

    return _exceeded("deployment", _active(requests, deployment), _caps(requests, "deployments"), grace_s)


def too_many_runs_of_namespaces(requests: Sequence[Request], quotas: Mapping[str, int]) -> list[str]:
    """Runs that began while their namespace had its quota of active ones; `quotas` by namespace, the same all the time."""
    caps: dict[Hashable, list[tuple[float, int | None]]] = {name: [(0.0, quota)] for name, quota in quotas.items()}
    return _exceeded("namespace", _active(requests, lambda pod: pod.run.namespace), caps, 0.0)


def _active(requests: Sequence[Request], of: Callable[[Pod], Hashable]) -> list[Change]:
    """Beginnings and ends of runs, counted where `of` says; not counted where it says None."""
    first: dict[RunHolder, Pod] = {}
    pods = pods_of(requests)
    for pod in pods:
        first.setdefault(pod.run, pod)
    over = _ends(pods)
    counted = [(run, pod, of(pod)) for run, pod in first.items() if of(pod) is not None]
    begun = [Change(pod.began, pod.began_at_s, where, 1, str(run)) for run, pod, where in counted]
    ended = [Change(over[run], 0.0, where, -1, str(run)) for run, _, where in counted]
    return begun + ended


def too_many_runs_in_pools(requests: Sequence[Request], *, grace_s: float) -> list[str]:
    """Pods that began in a pool that was full."""
    changes = []
    for pod in pods_of(requests):
        if POOL_LABEL in pod.labels:
            key = ("", pod.labels[POOL_LABEL])
            changes.append(Change(pod.began, pod.began_at_s, key, 1, str(pod)))
            changes.append(Change(pod.ended, 0.0, key, -1, str(pod)))
    return _exceeded("pool", changes, _caps(requests, "workpools"), grace_s)


def too_many_starts(requests: Sequence[Request], rated: Callable[[Pod], Iterable[str]]) -> list[str]:
    """
    Starts beyond a limit's rate: noted too close to each other, noted for another time, or not noted at all.

    Args:
        rated: The limits of whose rate a pod's run needs a start, one for all its pods.
    """
    noted = _noted_starts(requests)
    found = [line for limit, starts in noted.items() for line in _too_close(limit, starts, _rates(requests, limit))]
    for limit, starts in noted.items():
        for request, start in starts:
            if not request.began_s - NOTED_LATE_S <= start / 1000 <= request.ended_s + NOTED_LATE_S:
                found.append(f"limit {limit}: a start was noted for {start} by a write at {request.began_s:.3f}")
    return found + _not_noted(requests, rated, noted)


Noted = Mapping[str, Sequence[tuple[Request, int]]]


def _noted_starts(requests: Iterable[Request]) -> Noted:
    last: dict[str, tuple[int, ...]] = {}
    noted: dict[str, list[tuple[Request, int]]] = defaultdict(list)
    for request in requests:
        if isinstance(request.state, RateState):
            limit, starts = request.state.limit, request.state.starts
            new = Counter(starts) - Counter(last.get(limit, ()))
            noted[limit].extend((request, start) for start in sorted(new.elements()))
            last[limit] = starts
    return noted


def _rates(requests: Iterable[Request], limit: str) -> list[tuple[int, float]]:
    states = (r.state for r in requests if r.resource == "concurrencylimits" and r.name == limit)
    return [state.rate for state in states if isinstance(state, CapState) and state.rate]


def _too_close(limit: str, starts: Sequence[tuple[Request, int]], rates: Sequence[tuple[int, float]]) -> list[str]:
    if not rates:
        return []
    count, per_s = max(rates, key=lambda rate: rate[0] / rate[1])
    times = sorted(start for _, start in starts)
    return [
        f"limit {limit}: {count + 1} starts within {(late - early) / 1000:g} s from {early}, not {count} in {per_s:g} s"
        for early, late in zip(times, times[count:], strict=False)
        if late - early < per_s * 1000
    ]


def _not_noted(requests: Sequence[Request], rated: Callable[[Pod], Iterable[str]], noted: Noted) -> list[str]:
    begun: dict[str, dict[RunHolder, Pod]] = defaultdict(dict)
    for pod in pods_of(requests):
        for limit in rated(pod):
            begun[limit].setdefault(pod.run, pod)
    found = []
    for limit, pods in begun.items():
        orders = sorted(request.order for request, _ in noted.get(limit, ()))
        for number, pod in enumerate(pods.values(), start=1):
            if bisect_left(orders, pod.began) < number:
                found.append(f"limit {limit}: {pod} is start {number}, and fewer had been noted")
    return found


def written_while_deposed(requests: Iterable[Request], wakings: Iterable[Waking] = ()) -> list[str]:
    """
    Writes of operators that did not lead.

    Args:
        wakings: When operators that had been stopped went on. A request that was on its way out of a process when that was
            stopped leaves with its waking, and no check inside the process can hold it back; it does not count.
    """
    leader = ""
    found = []
    woken = list(wakings)
    for request in requests:
        if isinstance(request.state, LeaderState):
            leader = request.state.identity
        is_its_word = request.resource == "leases" and request.name.startswith(LEADER_LEASE)
        if not request.operator or not request.took_effect or is_its_word or request.operator == leader:
            continue
        if not any(waking.lets_out(request) for waking in woken):
            what = f"{request.verb} {request.resource} {request.namespace}/{request.name}"
            found.append(f"{request.operator} wrote at {request.order:.1f} while {leader or 'nobody'} led: {what}")
    return found


def _caps(requests: Iterable[Request], resource: str) -> Mapping[Hashable, list[tuple[float, int | None]]]:
    caps: dict[Hashable, list[tuple[float, int | None]]] = defaultdict(list)
    for request in requests:
        if request.resource == resource and isinstance(request.state, CapState):
            key = request.name if resource == "concurrencylimits" else (request.namespace, request.name)
            caps[key].append((request.began_s, request.state.at_once))
    return caps


def _exceeded(
    what: str,
    changes: Iterable[Change],
    caps: Mapping[Hashable, list[tuple[float, int | None]]],
    grace_s: float,
) -> list[str]:
    active: Counter[Hashable] = Counter()
    found = []
    for change in sorted(changes, key=lambda change: (change.order, change.by)):
        active[change.of] += change.by
        cap = _cap_at(caps.get(change.of, ()), change.at_s, grace_s)
        if change.by > 0 and cap is not None and active[change.of] > cap:
            found.append(
                f"{what} {change.of}: {change.who} is number {active[change.of]} of {cap}, at {change.order:.1f}"
            )
    return found


def _cap_at(caps: Sequence[tuple[float, int | None]], at_s: float, grace_s: float) -> int | None:
    """The largest that held within the grace; None for none."""
    current = [cap for since_s, cap in caps if since_s <= at_s]
    recent = [cap for (_, cap), (until_s, _) in pairwise(caps) if at_s - grace_s <= until_s <= at_s]
    allowed = [*current[-1:], *recent]
    return None if not allowed or None in allowed else max(cap for cap in allowed if cap is not None)
