"""What all engines of a process share is told of no engine that is gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from headrace.api.backfill import BackfillStatus
from headrace.api.budget import BudgetPeriod, PeriodBudget, Spent
from headrace.api.concurrencylimit import ConcurrencyLimitSpec
from headrace.api.keys import API_VERSION
from headrace.api.workpool import NodeCount
from headrace.kubeapi.config import Connection
from headrace_operator.decide.concurrency_limit import LimitSnapshot
from headrace_operator.decide.sharding import Share
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.decide.work_pool import PoolSnapshot
from headrace_operator.engine import Engine
from headrace_operator.kube.resources import BACKFILLS, CLUSTER_SCOPED, CONCURRENCY_LIMITS, DEPLOYMENTS, WORK_POOLS
from headrace_operator.settings import Settings
from headrace_operator.sharding.operator import ShardedOperator
from headrace_operator.wiring import Operator, Workshop, all_watched
from tests.builders import NOW

POOL = PoolSnapshot(
    "small",
    generation=1,
    spec=None,
    problem=None,
    conditions=(),
    active=1,
    requested=(),
    queued=1,
    nodes=NodeCount(total=1, ready=1),
)
LIMIT = LimitSnapshot(
    "db",
    exists=True,
    generation=1,
    spec=ConcurrencyLimitSpec(slots=2),
    problem=None,
    conditions=(),
    slots=(),
    rate=None,
    waiting=1,
    over=frozenset(),
)
BUDGET = PeriodBudget(amount="10", period=BudgetPeriod.MONTH)
SPENT = Spent(since=NOW, until=NOW + timedelta(days=31), amount="4", currency="USD", settled="4")
NOWHERE = Connection("http://127.0.0.1:1", "default", ssl=False, authorization=lambda: None)


def an_object(name: str, namespace: str = "", **spec: Any) -> dict[str, Any]:
    where = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": API_VERSION,
        "metadata": {"name": name, **where, "uid": f"uid-{name}", "resourceVersion": "1", "generation": 1},
        "spec": spec,
    }


def told_of(registry: CollectorRegistry) -> set[str]:
    """Names that any metric has as a label."""
    named = {"backfill", "deployment", "pool", "limit"}
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {value for sample in samples for label, value in sample.labels.items() if label in named}


def tell(engine: Engine) -> None:
    """As the reconciles of its objects do."""
    metrics = engine.context.metrics
    metrics.circuit(ObjectKey("team", "nightly"), is_open=True)
    metrics.budgets.told(ObjectKey("team", "monthly"), BUDGET, SPENT)
    metrics.backfills.told(ObjectKey("team", "q1"), BackfillStatus(total=3, pending=3))
    if engine.share.keeps_cluster:
        metrics.pools.told(POOL)
        metrics.limits.told(LIMIT)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.mark.parametrize(
    ("shard", "left"),
    [
        pytest.param(0, set(), id="the first shard looks after pools and limits too"),
        pytest.param(1, {"small", "db"}, id="another one's pools and limits are the first one's"),
    ],
)
async def test_a_shard_that_is_given_away_is_told_of_no_more(
    registry: CollectorRegistry, shard: int, left: set[str]
) -> None:
    """Else each replica would show, for ever, how a Backfill was when it let go of it."""
    shop = Workshop(Settings(shards=2), NOWHERE, registry=registry)
    first, given = (shop.engine(lambda: None, shop.unanswered(1.0), share=Share(index, 2)) for index in (0, shard))
    for resource, obj in (
        (DEPLOYMENTS, an_object("nightly", "team", flowRef={"name": "etl"})),
        (DEPLOYMENTS, an_object("monthly", "team", flowRef={"name": "etl"})),
        (BACKFILLS, an_object("q1", "team", deploymentRef={"name": "nightly"}, partitions={"list": [{"name": "a"}]})),
        (WORK_POOLS, an_object("small")),
        (CONCURRENCY_LIMITS, an_object("db", slots=2)),
    ):
        given.feeds[resource].seen(obj)
    tell(first)
    tell(given)
    assert told_of(registry) == {"nightly", "monthly", "q1", "small", "db"}
    shop.drop(given)
    assert told_of(registry) == left
    await shop.close()


@pytest.mark.parametrize(
    ("kind", "settings", "serves", "wanted"),
    [
        pytest.param(Operator, Settings(), "", 1, id="one that leads"),
        pytest.param(Operator, Settings(namespace="team-a"), "team-a", 1, id="of one namespace"),
        pytest.param(ShardedOperator, Settings(shards=8), "", 8, id="of many that share"),
    ],
)
async def test_a_replica_that_stands_by_tells_what_is_to_be_held(
    registry: CollectorRegistry, kind: type[Operator | ShardedOperator], settings: Settings, serves: str, wanted: int
) -> None:
    """Else nobody could tell that a shard is held by none."""
    operator = kind(settings, NOWHERE, registry=registry)
    told = [registry.get_sample_value(name, {"serves": serves}) for name in ("headrace_shards", "headrace_shards_held")]
    assert told == [wanted, 0]
    await operator.close()


def test_objects_of_the_cluster_are_watched_unless_they_are_ignored() -> None:
    """What is ignored needs no right; the rest is watched in the one namespace."""
    watched = {each.resource for each in all_watched(Settings(namespace="team-a"))}
    settings = Settings(namespace="team-a", operator_namespace="team-a", cluster_objects="ignore")
    paths = [each.path for each in all_watched(settings)]
    assert {each.resource for each in all_watched(settings)} == watched - CLUSTER_SCOPED
    assert all("/namespaces/team-a/" in path for path in paths)
