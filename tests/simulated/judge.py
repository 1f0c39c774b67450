"""Every change of a store, kept as the audit log's reader has it, and what must not be found in them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from headrace.api.conditions import Phase
from headrace.api.keys import ATTEMPT_LABEL, FLOW_RUN_LABEL, GROUP
from headrace.slots import LIMIT_LABEL, RunHolder
from headrace_operator.wiring import LEADER_LEASE
from tests.cluster.support import audit, violations
from tests.cluster.support.audit import PodState, Request, SlotState
from tests.cluster.support.violations import FOR_EVER, Pod
from tests.simulated.store import Change, Stored

FINAL = frozenset(phase.value for phase in Phase if phase.finished)
LOOKED_AT = frozenset({"pods", "leases", "concurrencylimits", "workpools", "deployments"})


class Judge:
    """
    Watches a store from inside it: nothing is missed, and the order is the one in which writes took effect.

    Attributes:
        phases: The phase of every run that has one, by namespace and name.
        found: What was found at once, when it happened.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.requests: list[Request] = []
        self.phases: dict[tuple[str, str], str] = {}
        self.found: list[str] = []
        self.ended = 0
        self._clock = clock
        self._news = asyncio.Event()
        self._ended_uids: set[str] = set()
        self._succeeded: set[str] = set()

    async def has_seen_end(self, count: int) -> None:
        """Returns once so many runs have ended."""
        while self.ended < count:
            self._news.clear()
            await self._news.wait()

    def note(self, change: Change) -> None:
        """An observer of the store."""
        if change.kind.plural == "flowruns":
            self._note_run(change)
        elif change.kind.plural not in LOOKED_AT:
            if change.agent.startswith(audit.OPERATOR):
                self.requests.append(self._request(change))
        else:
            self._note_pod(change)
            self.requests.append(self._with_state(self._request(change), change))

    def _note_run(self, change: Change) -> None:
        if change.agent.startswith(audit.OPERATOR):
            self.requests.append(self._request(change))
        if change.after is None:
            return
        phase = (change.after.obj.get("status") or {}).get("phase")
        if change.after.uid in self._ended_uids:
            before = self.phases[change.key]
            if phase != before:
                self.found.append(f"run {'/'.join(change.key)} was {before} and became {phase}")
        elif phase in FINAL:
            self._ended_uids.add(change.after.uid)
            self.ended += 1
            self._news.set()
        if phase:
            self.phases[change.key] = phase

    def _note_pod(self, change: Change) -> None:
        if change.kind.plural != "pods" or change.after is None:
            return
        owners = change.after.obj["metadata"].get("ownerReferences") or ()
        run = next((owner["uid"] for owner in owners if owner["kind"] == "FlowRun"), "")
        if change.before is None and (run in self._succeeded or run in self._ended_uids):
            self.found.append(f"pod {'/'.join(change.key)} began though its run was over")
        if (change.after.obj.get("status") or {}).get("phase") == "Succeeded":
            self._succeeded.add(run)

    def _request(self, change: Change) -> Request:
        verb = "create" if change.before is None else "delete" if change.after is None else "patch"
        now = self._clock()
        return Request(
            order=float(change.version),
            began_s=now,
            ended_s=now,
            agent=change.agent,
            verb=verb,
            resource=change.kind.plural,
            namespace=change.key[0],
            name=change.key[1],
            code=200,
            state=None,
        )

    def _with_state(self, request: Request, change: Change) -> Request:
        stored = change.after or change.before
        assert stored is not None
        if request.resource == "deployments" and not stored.obj["apiVersion"].startswith(GROUP):
            return request
        state = audit._state(request, stored.obj, is_object=True)
        if change.after is None and isinstance(state, PodState):
            state = replace(state, has_ended=True)
        elif change.after is None and isinstance(state, SlotState):
            state = SlotState(state.uid, "", "", is_gone=True)
        elif change.after is None:
            return request
        return replace(request, state=state)


def never_twice(requests: Iterable[Request]) -> list[str]:
    """Runs of which a pod began after one had succeeded, or whose attempts do not follow each other."""
    found = []
    by_run: dict[RunHolder, list[Pod]] = {}
    for pod in violations.pods_of(requests):
        by_run.setdefault(pod.run, []).append(pod)
    for run, pods in by_run.items():
        numbers = [int(pod.labels[ATTEMPT_LABEL]) for pod in pods]
        if any(after != before + 1 for before, after in pairwise([0, *numbers])):
            found.append(f"the attempts of {run} are {numbers}")
        if any(pod.ended == FOR_EVER for pod in pods):
            found.append(f"a pod of {run} never ended")
    return found


def left_behind(leases: Mapping[tuple[str, str], Stored], pods: Iterable[Stored]) -> list[str]:
    """Slots that are held, and pods that are kept, when everything is over."""
    held = [
        f"slot {key[1]} is held by {stored.obj['spec'].get('holderIdentity')}"
        for key, stored in leases.items()
        if LIMIT_LABEL in (stored.obj["metadata"].get("labels") or {}) and stored.obj["spec"].get("holderIdentity")
    ]
    kept = [
        f"pod {stored.obj['metadata']['name']} is kept by {stored.obj['metadata']['finalizers']}"
        for stored in pods
        if stored.obj["metadata"].get("finalizers") and FLOW_RUN_LABEL in (stored.obj["metadata"].get("labels") or {})
    ]
    return held + kept


def leaders(requests: Iterable[Request]) -> Counter[str]:
    """How often each operator began to lead."""
    states = [r.state for r in requests if r.name.startswith(LEADER_LEASE) and isinstance(r.state, audit.LeaderState)]
    identities = [""] + [state.identity for state in states]
    return Counter(after for before, after in pairwise(identities) if after and after != before)
