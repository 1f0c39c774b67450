"""
Which run has an idempotency key: of all runs of a Deployment (or of a Flow, without one) with the same key, one.

The run that has already begun, or ended, has it; else the oldest. Whom it was found for keeps it, so that two runs
cannot give way to each other. A run that was skipped has no key: it did nothing. Nothing of this is stored: after a
restart it is found anew from the runs that exist, finished ones included, and leads to the same run, as one that has
begun goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from headrace.api.conditions import Phase
from headrace_operator.decide.snapshot import ObjectKey, Run


@dataclass(frozen=True, slots=True)
class Claimant:
    """A run with a key."""

    run: ObjectKey
    uid: str
    created: datetime
    finished: bool


class _Scope(NamedTuple):
    """What the runs that count as one have in common."""

    namespace: str
    deployment: str | None
    flow: str | None
    key: str


class Claims:
    """Claimants by key; each look-up is one step, whatever the number of runs."""

    def __init__(self) -> None:
        self._claimants: dict[_Scope, dict[str, Claimant]] = {}
        self._scopes: dict[str, _Scope] = {}
        self._holders: dict[_Scope, str] = {}

    def put(self, run: Run) -> None:
        """Take note of a run, finished or not; one without a key is none of ours."""
        if run.idempotency_key is None:
            return
        if run.status.phase is Phase.SKIPPED:
            self.drop(run.uid)
            return
        scope = _Scope(run.key.namespace, run.deployment_ref, run.flow_ref, run.idempotency_key)
        if self._scopes.get(run.uid) != scope:
            self.drop(run.uid)
        self._scopes[run.uid] = scope
        self._claimants.setdefault(scope, {})[run.uid] = Claimant(run.key, run.uid, run.created, run.finished)

    def drop(self, uid: str) -> None:
        """The run is confirmed to be gone."""
        scope = self._scopes.pop(uid, None)
        if scope is None:
            return
        claimants = self._claimants[scope]
        del claimants[uid]
        if self._holders.get(scope) == uid:
            del self._holders[scope]
        if not claimants:
            del self._claimants[scope]

    def holder(self, run: Run, has_begun: Callable[[Claimant], bool]) -> Claimant | None:
        """
        The run that has this run's key, which may be itself; None if the run has no key.

        Args:
            has_begun: Whether a run's pod exists, existed or is being made. Asked only if nobody has the key yet.
        """
        scope = self._scopes.get(run.uid)
        if scope is None:
            return None
        claimants = self._claimants[scope]
        if scope not in self._holders:
            first = min(
                claimants.values(),
                key=lambda each: (not each.finished, not has_begun(each), each.created, each.uid),
            )
            self._holders[scope] = first.uid
        return claimants[self._holders[scope]]
