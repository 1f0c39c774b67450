"""A status that does not say which partitions are over stops its Backfill, and nothing that it did say is lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from headrace_operator.handlers import backfill
from headrace_operator.kube.resources import BACKFILLS, DEPLOYMENTS, FLOW_RUNS
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics
from tests.builders import NAMESPACE, NOW, stamp
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import Wakes, key

SPEC = {"deploymentRef": {"name": "daily"}, "partitions": {"list": [{"name": f"p{number}"} for number in range(5)]}}
BROKEN = {
    "positions that are words": {"total": 5, "succeeded": 2, "outcomes": {"succeeded": "zero", "failed": "3"}},
    "a position in two sets": {"total": 5, "succeeded": 2, "outcomes": {"succeeded": "0-2", "failed": "2"}},
    "retries that are words": {
        "retrying": [{"attempt": 2, "notBefore": stamp(NOW), "positions": "a few"}],
        "outcomes": {"succeeded": "0"},
    },
    "a count that is a word": {"succeeded": "two", "outcomes": {"succeeded": "0-2"}},
    "a position that there is not": {"total": 5, "succeeded": 3, "outcomes": {"succeeded": "0-1,5"}},
    "a retry of a position that there is not": {
        "total": 5,
        "retrying": [{"attempt": 2, "notBefore": stamp(NOW), "positions": "5"}],
        "outcomes": {"succeeded": "0"},
    },
    "another number of partitions": {"total": 6, "succeeded": 3, "outcomes": {"succeeded": "0-2"}},
}


async def looked_at(cluster: FakeCluster) -> dict[str, Any]:
    """The status after a new operator has looked at the Backfill, twice."""
    intake = Intake(Cache(), History(), Wakes(), status_delay_s=0, autosize_delay_s=0, monotonic=lambda: 0.0)
    settings, metrics = Settings(status_delay_s=0), Metrics(CollectorRegistry())
    for resource in (DEPLOYMENTS, BACKFILLS):
        for obj in cluster.all(resource):
            intake.doors[resource].seen(obj)
    intake.history_listed()
    context: Any = SimpleNamespace(
        settings=settings, cluster=cluster, clock=lambda: NOW, intake=intake, metrics=metrics
    )
    for _ in range(2):
        await backfill.reconcile(context, key("bf"))
    found = cluster.find(BACKFILLS, NAMESPACE, "bf")
    assert found is not None
    status: dict[str, Any] = found["status"]
    return status


def an_object(name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "creationTimestamp": stamp(NOW), "generation": 1}
    return {"metadata": metadata, "spec": spec, **more}


@pytest.mark.parametrize("status", BROKEN.values(), ids=BROKEN)
async def test_it_is_told_kept_and_not_taken_for_an_empty_one(status):
    """Else the next look would find that nothing is over, and run everything once more."""
    cluster = FakeCluster()
    cluster.put(DEPLOYMENTS, an_object("daily", {"flowRef": {"name": "etl"}}))
    cluster.put(BACKFILLS, an_object("bf", SPEC, status=status))

    told = await looked_at(cluster)

    assert (told["phase"], told["reason"]) == ("Pending", "InvalidStatus")
    assert {name: told[name] for name in status} == status
    assert (await looked_at(cluster))["outcomes"] == status["outcomes"]
    assert cluster.all(FLOW_RUNS) == []


async def test_one_that_was_mended_goes_on():
    cluster = FakeCluster()
    cluster.put(DEPLOYMENTS, an_object("daily", {"flowRef": {"name": "etl"}}))
    cluster.put(BACKFILLS, an_object("bf", SPEC, status={"total": 5, "outcomes": {"succeeded": "0-3"}}))

    told = await looked_at(cluster)

    assert (told["phase"], told["succeeded"]) == ("Running", 4)
    assert [run["metadata"]["name"] for run in cluster.all(FLOW_RUNS)] == ["bf-p4"]
