"""
What really happened, read from the API server's audit log: who wrote what, in the order in which it took effect.

    lines ──> Request (who, what, when, how it was answered) with the State that it left behind ──> in order

Order is that of the resource versions in the answers: etcd counts all objects with one counter, so it is exact, whatever the order
of the lines. An answer without one (a deletion) stands after what was answered before it was asked, and after the last
state of its object.

A write whose sender was killed, or whose time was up, is answered as failed, and may have taken effect all the same. Of pods the next
state tells. For Leases, whose every state counts, `unanswered` finds it: the next write rests on a version, or insists on a holder, that
only it can have left behind.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from headrace.api.keys import ATTEMPT_LABEL, DEPLOYMENT_LABEL, FLOW_LABEL, FLOW_RUN_LABEL, GROUP, POOL_LABEL
from headrace.slots import LIMIT_LABEL, STARTS_ANNOTATION, holder_of, rate_name, starts_of
from headrace_operator.wiring import LEADER_LEASE

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
OPERATOR = "headrace-operator/"
"""How the user agent of an operator begins; its identity follows."""
CAPPED = frozenset({"concurrencylimits", "workpools", "deployments"})


@dataclass(frozen=True, slots=True)
class PodState:
    """A run's pod."""

    uid: str
    run_uid: str
    labels: Mapping[str, str]
    has_ended: bool
    """It runs no more and never will: final, or deleted before it was bound, or gone."""


@dataclass(frozen=True, slots=True)
class SlotState:
    """A slot of a limit."""

    uid: str
    limit: str
    holder: str
    """"" for a free one."""
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class RateState:
    """The starts that are noted for a limit, in milliseconds since 1970."""

    limit: str
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LeaderState:
    """Who leads, "" for nobody."""

    identity: str


@dataclass(frozen=True, slots=True)
class CapState:
    """What a limit, a pool or a Deployment allows; None for any number."""

    at_once: int | None
    rate: tuple[int, float] | None = None
    """Starts, and the seconds within which they may be."""


@dataclass(frozen=True, slots=True)
class LeaseWrite:
    """
    What a write would make of a Lease.

    Attributes:
        base: The version that it rests on; 0 for any.
        expected: The holder that it insists on; None for any.
        holder: The holder afterwards; None leaves it.
        starts: The starts that are noted afterwards; None leaves them.
    """

    base: float
    expected: str | None
    holder: str | None
    starts: tuple[int, ...] | None


State = PodState | SlotState | RateState | LeaderState | CapState


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request that was answered.

    Attributes:
        order: Its place among all requests; ascending in the order in which they took effect.
        began_s, ended_s: Seconds since 1970.
        state: What it left behind, if it is of a kind that is looked at; None too if it failed.
        asked: What was asked for, if it is a write to a Lease.
    """

    order: float
    began_s: float
    ended_s: float
    agent: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    state: State | None
    asked: LeaseWrite | None = None

    @property
    def took_effect(self) -> bool:
        """Whether it is a write that was answered as done."""
        return self.verb in WRITES and 200 <= self.code < 300

    @property
    def is_doubtful(self) -> bool:
        """Whether it is a write that may have taken effect, though it was answered as failed: its sender or its time was gone."""
        return self.verb in WRITES and (self.code >= 500 or self.code == 0)

    @property
    def operator(self) -> str:
        """The identity of the operator that sent it, "" for anybody else."""
        return self.agent.removeprefix(OPERATOR).split(" ")[0] if self.agent.startswith(OPERATOR) else ""


def whole_lines(audit_log: Path) -> list[str]:
    """The entries, but for one that is just being written; texts in them hold what splitlines() takes for ends."""
    return audit_log.read_text().split("\n")[:-1]


def read(audit_log: Path, *, since: int = 0) -> list[Request]:
    """The requests from byte `since` on, in the order in which they took effect; watches, which end when they like, left out."""
    with audit_log.open("rb") as lines:
        lines.seek(since)
        return ordered(lines)


def ordered(lines: Iterable[bytes]) -> list[Request]:
    """As `read`; a last line that is not whole is left out."""
    found = [request for line in lines if line.endswith(b"\n") and (request := parse(line)) is not None]
    placed = _placed(found)
    return sorted([*placed, *unanswered(placed)], key=lambda request: request.order)


def parse(line: bytes) -> Request | None:
    """The request of a line, its order 0 if its answer tells none; None for other stages and watches."""
    entry = orjson.loads(line)
    if entry["stage"] != "ResponseComplete" or entry["verb"] == "watch":
        return None
    target = entry.get("objectRef") or {}
    code = int((entry.get("responseStatus") or {}).get("code") or 0)
    answer = entry.get("responseObject") or {}
    is_object = answer.get("kind") != "Status" and "metadata" in answer and "items" not in answer
    resource = "/".join(filter(None, (target.get("resource", ""), target.get("subresource"))))
    request = Request(
        order=float((answer["metadata"].get("resourceVersion") if is_object else None) or 0),
        began_s=_seconds(entry["requestReceivedTimestamp"]),
        ended_s=_seconds(entry["stageTimestamp"]),
        agent=entry.get("userAgent", ""),
        verb=entry["verb"],
        resource=resource,
        namespace=target.get("namespace", ""),
        name=target.get("name") or (answer["metadata"].get("name", "") if is_object else ""),
        code=code,
        state=None,
    )
    if request.resource == "leases" and request.verb in WRITES:
        request = replace(request, asked=_asked(entry.get("requestObject")))
    return replace(request, state=_state(request, answer, is_object=is_object)) if request.took_effect else request


def _placed(requests: list[Request]) -> list[Request]:
    """With an order for those whose answer told none."""
    answered = sorted((r.ended_s, r.order) for r in requests if r.order)
    ended = [end for end, _ in answered]
    highest: list[float] = []
    for _, order in answered:
        highest.append(max(order, highest[-1] if highest else 0.0))
    last = {r.state.uid: r.order for r in sorted(requests, key=lambda r: r.order) if isinstance(r.state, SlotState)}
    return [r if r.order else replace(r, order=_place(r, ended, highest, last)) for r in requests]


def _place(request: Request, ended: list[float], highest: list[float], last: Mapping[str, float]) -> float:
    before = bisect_right(ended, request.began_s)
    by_time = highest[before - 1] if before else 0.0
    own = last.get(request.state.uid, 0.0) if isinstance(request.state, SlotState) else 0.0
    return max(by_time, own) + 0.5


def _state(request: Request, answer: Mapping[str, Any], *, is_object: bool) -> State | None:
    if request.resource.partition("/")[0] == "pods" and is_object:
        return _pod(answer)
    if request.resource == "leases":
        return _lease(request, answer, is_object=is_object)
    if request.resource in CAPPED and is_object and str(answer.get("apiVersion", "")).startswith(GROUP):
        return _cap(request.resource, answer["spec"])
    return None


def _pod(pod: Mapping[str, Any]) -> PodState | None:
    metadata, status = pod["metadata"], pod.get("status") or {}
    labels = metadata.get("labels") or {}
    if FLOW_RUN_LABEL not in labels or "uid" not in metadata:
        return None
    is_deleted = "deletionTimestamp" in metadata
    never_ran = is_deleted and "nodeName" not in pod["spec"]
    is_gone = is_deleted and not metadata.get("deletionGracePeriodSeconds") and not metadata.get("finalizers")
    owner = next((o["uid"] for o in metadata.get("ownerReferences") or () if o["kind"] == "FlowRun"), "")
    kept = (FLOW_RUN_LABEL, FLOW_LABEL, DEPLOYMENT_LABEL, POOL_LABEL, ATTEMPT_LABEL)
    return PodState(
        uid=metadata["uid"],
        run_uid=owner,
        labels={name: labels[name] for name in kept if name in labels},
        has_ended=never_ran or is_gone or status.get("phase") in {"Succeeded", "Failed"},
    )


def _lease(request: Request, answer: Mapping[str, Any], *, is_object: bool) -> State | None:
    if not is_object:
        uid = str((answer.get("details") or {}).get("uid", ""))
        return SlotState(uid, "", "", is_gone=True) if request.verb == "delete" and uid else None
    if request.name.startswith(LEADER_LEASE):
        return LeaderState(holder_of(answer))
    limit = (answer["metadata"].get("labels") or {}).get(LIMIT_LABEL, "")
    if not limit:
        return None
    if request.name == rate_name(limit):
        return RateState(limit, tuple(starts_of(answer)))
    return SlotState(answer["metadata"]["uid"], limit, holder_of(answer))


def _asked(body: Any) -> LeaseWrite:
    if isinstance(body, list):
        values = {(each["op"] == "test", each["path"]): each.get("value") for each in body}
        expected = values.get((True, "/spec/holderIdentity"))
        spec = values.get((False, "/spec"))
        holder = values.get((False, "/spec/holderIdentity"), None if spec is None else spec.get("holderIdentity", ""))
        base = values.get((False, "/metadata/resourceVersion"), values.get((True, "/metadata/resourceVersion")))
        return LeaseWrite(float(base or 0), expected, holder, None)
    body = body or {}
    metadata, spec = body.get("metadata") or body.get("preconditions") or {}, body.get("spec") or {}
    noted = starts_of(body) if STARTS_ANNOTATION in (metadata.get("annotations") or {}) else None
    return LeaseWrite(float(metadata.get("resourceVersion") or 0), None, spec.get("holderIdentity"), noted)


def unanswered(requests: Iterable[Request]) -> list[Request]:
    """Doubtful writes to slots and rates that took effect, as a later write shows, with the place and the state that they had."""
    by_lease: dict[tuple[str, str], list[Request]] = defaultdict(list)
    for request in sorted(requests, key=lambda request: request.order):
        if request.asked is not None and (request.is_doubtful or isinstance(request.state, SlotState | RateState)):
            by_lease[request.namespace, request.name].append(request)
    return [found for history in by_lease.values() for found in _unanswered(history)]


def _unanswered(history: Sequence[Request]) -> Iterator[Request]:
    doubtful = [request for request in history if request.is_doubtful]
    last: Request | None = None
    for request in history:
        if request.is_doubtful:
            continue
        while last is not None and _misses(request, last) and (found := _next(doubtful, last, request)) is not None:
            doubtful.remove(found)
            last = _as_done(found, last, request, [each for each in doubtful if each.began_s < request.ended_s])
            yield last
        last = request


def _misses(request: Request, last: Request) -> bool:
    """Whether the Lease was another one than `last` left behind when the request came."""
    asked = request.asked
    if asked is None or last.state is None:
        return False
    holder = last.state.holder if isinstance(last.state, SlotState) else asked.expected
    return asked.base > last.order or asked.expected not in {None, holder}


def _next(doubtful: Sequence[Request], last: Request, before: Request) -> Request | None:
    """The write that could be carried out after `last`."""
    holder = last.state.holder if isinstance(last.state, SlotState) else None
    for each in doubtful:
        asked = each.asked
        if asked is None or each.began_s > before.ended_s:
            continue
        fits = asked.base == last.order if asked.base else each.ended_s >= last.began_s
        if fits and asked.expected in {None, holder}:
            return each
    return None


def _as_done(request: Request, last: Request, before: Request, others: Sequence[Request]) -> Request:
    """With the version that somebody rested on afterwards; without such, by its time."""
    bases = [each.asked.base for each in (*others, before) if each.asked is not None]
    version = min((base for base in bases if base > last.order), default=0.0)
    order = version or max(last.order + 0.25, min(request.order, before.order - 0.25))
    asked, state = request.asked, last.state
    if asked is not None and isinstance(state, SlotState) and asked.holder is not None:
        state = replace(state, holder=asked.holder)
    if asked is not None and isinstance(state, RateState) and asked.starts is not None:
        state = replace(state, starts=asked.starts)
    return replace(request, order=order, code=200, state=state)


def _cap(resource: str, spec: Mapping[str, Any]) -> CapState:
    if resource == "deployments":
        return CapState((spec.get("concurrency") or {}).get("limit"))
    if resource == "workpools":
        return CapState((spec.get("capacity") or {}).get("runs"))
    rate = spec.get("rate")
    return CapState(spec.get("slots"), (rate["count"], float(rate["perSeconds"])) if rate else None)


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
