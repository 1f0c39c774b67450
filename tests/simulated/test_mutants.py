"""Operators that are broken on purpose: the judge finds out each of them, so that its silence means something."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.leadership import NEVER_S, Leadership
from headrace_operator.wiring import Operator
from tests.simulated.faults import Faults
from tests.simulated.suite import Mutation, Trial, tried
from tests.simulated.trials import TRIALS

RUNS = 100


class Unfenced(Leadership):
    """Takes itself for the leader until it is told otherwise."""

    @property
    def leads(self) -> bool:
        return self._leads_until_s > NEVER_S


def ignores_its_lease(operator: Operator) -> None:
    operator.leadership.__class__ = Unfenced


def takes_no_slots(operator: Operator) -> None:
    async def nothing(*_: Any) -> None:
        return

    operator.context.applier._take_slots = nothing  # type: ignore[method-assign, assignment]


def gives_slots_back_at_once(operator: Operator) -> None:
    applier = operator.context.applier
    perform = applier.perform

    async def and_free(seen: Any, decision: Any, now: Any) -> None:
        await perform(seen, decision, now)
        await applier.give_back(seen)

    applier.perform = and_free  # type: ignore[method-assign]


def counts_one_run_too_few_of_deployments(operator: Operator) -> None:
    board = operator.context.board
    tell = board.set_deployment

    def told(key: Any, allowed: int | None, **why: Any) -> None:
        tell(key, None if allowed is None else allowed + 1, **why)

    board.set_deployment = told  # type: ignore[method-assign, assignment]


def knows_no_pool_to_be_full(operator: Operator) -> None:
    board = operator.context.board
    tell = board.set_pool

    def told(name: str, terms: Any) -> None:
        tell(name, type(terms)(None, terms.resources, terms.preempts))

    board.set_pool = told  # type: ignore[method-assign]


def names_pods_by_chance(operator: Operator) -> None:
    """A creation whose answer is lost makes a second pod."""
    applier = operator.context.applier
    made, count = applier._manifest, iter(range(10**6))

    def manifest(*arguments: Any) -> dict[str, Any]:
        pod: dict[str, Any] = made(*arguments)
        pod["metadata"]["name"] += f"-{next(count)}"
        return pod

    applier._manifest = manifest  # type: ignore[method-assign, assignment]


def forgets_finalizers(operator: Operator) -> None:
    applier = operator.context.applier
    act = applier._act_on_pod

    async def but_release(namespace: str, action: Any) -> None:
        if type(action).__name__ != "ReleasePod":
            await act(namespace, action)

    applier._act_on_pod = but_release  # type: ignore[method-assign]


UNHEARD_OF = Faults(unanswered=0.3, watch_life_s=0.5, watch_end="stalled")
"""Neither an answer nor an event tells of a pod."""
STOPPED = TRIALS["leaders stopped while they write"]
MUTANTS: list[tuple[Mutation, Trial, str]] = [
    (ignores_its_lease, STOPPED, "deposed"),
    (takes_no_slots, Trial(), "pods without slots"),
    (gives_slots_back_at_once, Trial(), "pods without slots"),
    (counts_one_run_too_few_of_deployments, Trial(), "deployments"),
    (knows_no_pool_to_be_full, Trial(), "pools"),
    (names_pods_by_chance, Trial(UNHEARD_OF), "two pods at once"),
    (forgets_finalizers, Trial(), "left behind"),
]


@pytest.mark.parametrize(("mutation", "trial", "what"), MUTANTS, ids=[mutant[0].__name__ for mutant in MUTANTS])
def test_an_operator_is_found_out_that(mutation: Mutation, trial: Trial, what: str) -> None:
    """Among all that is found is what the mutant does wrong."""
    assert what in tried(trial, RUNS, mutation=mutation).found
