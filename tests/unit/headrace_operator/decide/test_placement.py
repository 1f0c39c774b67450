"""Which WorkPools take a run, in which order, and when a run leaves one."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from headrace.api.common import PoolChoice
from headrace.api.conditions import Reason
from headrace.api.workpool import WorkPoolSpec
from headrace_operator.decide.placement import (
    Candidates,
    Pool,
    Tenant,
    candidates,
    fallen_over_from,
    falls_over,
    placement_of,
    pool_of,
    price_per_hour,
    was_lost_on_spot,
)
from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.snapshot import Attempt, Blocked, Placement
from tests.builders import NOW, an_attempt

SMALL = {"maxPodResources": {"cpu": "2", "memory": "8Gi"}}
LARGE = {"maxPodResources": {"cpu": "16", "memory": "64Gi"}}
GPU = {"maxPodResources": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}}
TEAM_A = Tenant("team-a", {"team": "a"})
PLAIN = {"cpu": "1", "memory": "1Gi"}


def a_pool(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Pool:
    return pool_of(name, labels or {}, WorkPoolSpec.model_validate(spec))


def found(pools: list[Pool], requests: dict[str, str] | None = None, choice: Any = None, **rest: Any) -> Candidates:
    allowed = PoolChoice.model_validate(choice) if choice else None
    return candidates(pools, allowed, TEAM_A, requests=amounts_of(PLAIN if requests is None else requests), **rest)


NODES = [
    a_pool("small", **SMALL, pricing={"perHour": 0.1}),
    a_pool("large", **LARGE, pricing={"perHour": 0.9}),
    a_pool("gpu", **GPU, pricing={"perHour": 3}),
]
SPOT = a_pool("spot", **SMALL, spot=True, pricing={"perHour": 0.03})
ONLY_B = a_pool("of-b", namespaces={"matchLabels": {"team": "b"}})
UNREADABLE = pool_of("broken", {}, None)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param({"pools": []}, None, id="without pools the scheduler places pods"),
        pytest.param({"pools": NODES}, ("small", "large", "gpu"), id="the cheapest first"),
        pytest.param({"pools": [*NODES, SPOT]}, ("spot", "small", "large", "gpu"), id="spot nodes are cheap"),
        pytest.param(
            {"pools": [*NODES, SPOT], "lost_on_spot": True},
            ("small", "large", "gpu", "spot"),
            id="who lost a spot node prefers others",
        ),
        pytest.param({"pools": NODES, "requests": {"memory": "16Gi"}}, ("large", "gpu"), id="what is too small is out"),
        pytest.param({"pools": NODES, "requests": {"memory": "8Gi"}}, ("small", "large", "gpu"), id="a tight fit fits"),
        pytest.param({"pools": NODES, "requests": {"nvidia.com/gpu": "1"}}, ("gpu",), id="a GPU is where it is named"),
        pytest.param(
            {"pools": [a_pool("any"), *NODES], "requests": {"nvidia.com/gpu": "1"}},
            ("gpu",),
            id="a pool without maxPodResources has no GPU",
        ),
        pytest.param(
            {"pools": [a_pool("any"), *NODES], "requests": {"memory": "500Gi", "ephemeral-storage": "1Ti"}},
            ("any",),
            id="a pool without maxPodResources takes any memory",
        ),
        pytest.param(
            {"pools": [a_pool("b"), a_pool("a"), *NODES]},
            ("small", "large", "gpu", "a", "b"),
            id="without a price last, and by name",
        ),
        pytest.param(
            {"pools": NODES, "requests": {}},
            ("small", "large", "gpu"),
            id="who asks for nothing gets the cheapest node",
        ),
        pytest.param({"pools": NODES, "choice": {"names": ["gpu", "large"]}}, ("large", "gpu"), id="names allow"),
        pytest.param(
            {
                "pools": [a_pool("x", {"tier": "batch"}), a_pool("y", {"tier": "web"})],
                "choice": {"selector": {"matchLabels": {"tier": "batch"}}},
            },
            ("x",),
            id="labels allow",
        ),
        pytest.param(
            {"pools": [*NODES, SPOT], "choice": {"spot": "Forbidden"}},
            ("small", "large", "gpu"),
            id="spot is forbidden",
        ),
        pytest.param(
            {"pools": [ONLY_B, a_pool("of-a", namespaces={"matchLabels": {"team": "a"}})]},
            ("of-a",),
            id="a pool of another team's namespaces is out",
        ),
        pytest.param(
            {"pools": NODES, "avoided": frozenset({"small"})}, ("large", "gpu"), id="who fell over goes elsewhere"
        ),
        pytest.param(
            {"pools": NODES[:1], "avoided": frozenset({"small"})},
            ("small",),
            id="who fell over from every pool begins anew",
        ),
        pytest.param({"pools": [UNREADABLE, *NODES]}, ("small", "large", "gpu"), id="nothing fits an unreadable pool"),
        pytest.param(
            {"pools": [a_pool("capped", capacity={"resources": {"memory": "512Mi"}}), a_pool("free")]},
            ("free",),
            id="what is above the pool's whole capacity will never fit",
        ),
        pytest.param(
            {"pools": [a_pool("huge", maxPodResources={"cpu": "1e99999"}), a_pool("free")]},
            ("free",),
            id="an amount that is none makes its own pool unreadable, and no other",
        ),
    ],
)
def test_the_pools_for_a_run(case: dict[str, Any], expected: tuple[str, ...] | None) -> None:
    """Allowed, large enough, by price."""
    assert found(**case) == Candidates(expected)


AND_THEN = "change pools of the Flow or Deployment (there are: {}), or ask who runs the cluster"
TOO_LARGE = "lower spec.resources, allow a larger WorkPool in pools, or add one"


@pytest.mark.parametrize(
    ("case", "reason", "message"),
    [
        pytest.param(
            {"pools": NODES[:1], "choice": {"names": ["tpu"]}},
            Reason.POOL_NOT_FOUND,
            'there is no WorkPool "tpu"; ' + AND_THEN.format('"small"'),
            id="a name that is not there",
        ),
        pytest.param(
            {"pools": NODES[:1], "choice": {"selector": {"matchLabels": {"tier": "x"}}}},
            Reason.POOL_NOT_FOUND,
            "no WorkPool has the labels that pools.selector asks for; " + AND_THEN.format('"small"'),
            id="labels that no pool has",
        ),
        pytest.param(
            {"pools": [SPOT, ONLY_B], "choice": {"spot": "Forbidden"}},
            Reason.POOL_NOT_FOUND,
            'WorkPool "of-b" does not serve namespace team-a (spec.namespaces), '
            'WorkPool "spot" has spot nodes, which pools.spot forbids; ' + AND_THEN.format('"of-b", "spot"'),
            id="each pool's own reason",
        ),
        pytest.param(
            {"pools": [*NODES, UNREADABLE], "requests": {"memory": "128Gi"}},
            Reason.NO_POOL_FITS,
            'WorkPool "broken" cannot be read: see its condition Ready, '
            'WorkPool "gpu" takes pods of memory 32Gi at most, 128Gi asked, '
            'WorkPool "large" takes pods of memory 64Gi at most, 128Gi asked, '
            'WorkPool "small" takes pods of memory 8Gi at most, 128Gi asked; ' + TOO_LARGE,
            id="what is asked and what is offered",
        ),
        pytest.param(
            {"pools": NODES[:1], "requests": {"nvidia.com/gpu": "2"}},
            Reason.NO_POOL_FITS,
            f'WorkPool "small" has no nvidia.com/gpu, 2 asked; {TOO_LARGE}',
            id="a resource that is not there",
        ),
        pytest.param(
            {"pools": [a_pool("capped", capacity={"resources": {"memory": "512Mi"}})]},
            Reason.NO_POOL_FITS,
            f'WorkPool "capped" has memory 512Mi for all its pods together, 1Gi asked; {TOO_LARGE}',
            id="more than the whole pool may hold",
        ),
    ],
)
def test_why_no_pool_takes_a_run(case: dict[str, Any], reason: Reason, message: str) -> None:
    """The message names the pools and says what to do."""
    assert found(**case) == Candidates((), Blocked(reason, message))


def test_a_message_names_five_pools_at_most() -> None:
    """A cluster may have many."""
    many = [a_pool(f"p{number}", **SMALL) for number in range(8)]
    blocked = found(many, {"cpu": "4"}).problem
    assert blocked is not None
    assert blocked.message.count("WorkPool") == 5 + 1  # the last one is what to do
    assert ", and 3 more; " in blocked.message


@pytest.mark.parametrize(
    ("pool", "requests", "price"),
    [
        pytest.param(a_pool("p"), PLAIN, None, id="without a price it is unknown"),
        pytest.param(a_pool("p", **SMALL, pricing={"perHour": 1}), PLAIN, "0.5", id="the largest share of a node"),
        pytest.param(a_pool("p", **SMALL, pricing={"perHour": 1}), {"memory": "6Gi"}, "0.75", id="memory may be it"),
        pytest.param(
            a_pool("p", pricing={"cpuHour": 0.03, "memoryGiBHour": 0.005, "gpuHour": 2}),
            {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"},
            "2.08",
            id="by resource it adds up",
        ),
        pytest.param(a_pool("p", pricing={"cpuHour": 1}), {"memory": "4Gi"}, "0", id="what has no price is free"),
    ],
)
def test_what_a_run_costs_in_an_hour(pool: Pool, requests: dict[str, str], price: str | None) -> None:
    """In the pool's currency, exactly."""
    assert price_per_hour(pool, amounts_of(requests)) == (None if price is None else Decimal(price))


def unavailable(number: int, pool: str) -> Attempt:
    return an_attempt(number, pool=pool, started_at=None, reason="PoolUnavailable", finished_at=NOW)


RAN = an_attempt(2, pool="b", reason="OOMKilled", finished_at=NOW)


@pytest.mark.parametrize(
    ("attempts", "pools"),
    [
        pytest.param([], set(), id="a new run has tried nothing"),
        pytest.param([unavailable(1, "a"), unavailable(2, "b")], {"a", "b"}, id="every pool since the start"),
        pytest.param([unavailable(1, "a"), RAN, unavailable(3, "c")], {"c"}, id="an attempt that ran wipes the slate"),
    ],
)
def test_pools_that_had_no_node(attempts: list[Attempt], pools: set[str]) -> None:
    """Each pool is tried once between two attempts that ran."""
    assert fallen_over_from(attempts) == pools


@pytest.mark.parametrize(
    ("attempt", "lost"),
    [
        pytest.param(an_attempt(pool="spot", reason="NodeShutdown"), True, id="its spot node went"),
        pytest.param(an_attempt(pool="large", reason="NodeShutdown"), False, id="a node of another kind went"),
        pytest.param(an_attempt(pool="spot", reason="FlowFailed"), False, id="the flow failed there"),
    ],
)
def test_a_run_remembers_a_reclaimed_node(attempt: Attempt, lost: bool) -> None:
    """From the attempts in its status."""
    assert was_lost_on_spot([attempt], ["spot"]) is lost


CREATED = NOW + timedelta(seconds=7)


def test_an_unschedulable_pod_leaves_its_pool_when_its_time_is_over() -> None:
    """The message names both pools and the scheduler's reason."""
    placement = placement_of(a_pool("small", scheduleTimeoutSeconds=60), Candidates(("small", "large", "gpu")), [])
    assert placement == Placement("small", 60.0, ("large", "gpu"))
    fall_over = falls_over(placement, created=CREATED, refused="no node takes it")
    assert fall_over is not None
    assert fall_over.due == CREATED + timedelta(seconds=60)
    assert fall_over.message == (
        'WorkPool "small" had no node for it within 60 s (no node takes it); the next attempt goes to "large"'
    )


@pytest.mark.parametrize(
    ("pool", "others", "attempts"),
    [
        pytest.param(None, ("large",), [], id="it is in no pool"),
        pytest.param(UNREADABLE, ("large",), [], id="its pool cannot be read any more"),
        pytest.param(NODES[0], ("small",), [], id="no other pool fits"),
        pytest.param(NODES[0], None, [], id="all pools were deleted"),
        pytest.param(NODES[0], ("large",), [unavailable(1, "large")], id="the others were tried"),
    ],
)
def test_an_unschedulable_pod_waits_on_where_it_has_nowhere_to_go(
    pool: Pool | None, others: tuple[str, ...] | None, attempts: list[Attempt]
) -> None:
    """A pod that waits keeps its chance of a node; one that is moved about does not."""
    assert falls_over(placement_of(pool, Candidates(others), attempts), created=CREATED, refused="no") is None
