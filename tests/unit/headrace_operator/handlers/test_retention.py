"""How long finished runs are kept that have no Deployment, from end to end against a cluster in memory."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from headrace.kubeapi.errors import Unavailable
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers import retention
from headrace_operator.handlers.retention import DELETED_AT_ONCE
from headrace_operator.kube.resources import DEPLOYMENTS, FLOW_RUNS
from headrace_operator.observe.history import Owner
from headrace_operator.observe.parse import run_from
from tests.builders import NAMESPACE, NOW, stamp
from tests.fake_cluster import names
from tests.unit.headrace_operator.handlers.test_worker import Operator
from tests.unit.headrace_operator.observe.objects import key

HOUR_S = 3600


def finished_run(operator: Operator, name: str, **spec: Any) -> None:
    """A run that had ended before the operator began, and that nothing owns: somebody made it by hand, or with `headrace start`."""
    told = {"phase": "Succeeded", "reason": "Succeeded", "finishedAt": stamp(NOW)}
    obj = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec, "status": told}
    stored = operator.cluster.put(FLOW_RUNS, obj)
    operator.intake.finished_run_listed(run_from(stored), stored)


def runs(operator: Operator) -> list[str]:
    return sorted(names(operator.cluster.all(FLOW_RUNS)))


async def later(operator: Operator, seconds: float) -> None:
    operator.now += timedelta(seconds=seconds)
    await operator.what_is_delayed()


@pytest.fixture
async def operator() -> Any:
    """One that has heard of no Deployment yet, nor of runs that ended before it began."""
    made = Operator()
    made.intake.history.is_complete = False
    yield made
    made.queue.close()


async def test_finished_runs_without_a_deployment_are_deleted_after_their_time(operator: Operator) -> None:
    """Those that never named one, and those that name one that was deleted while no operator worked."""
    finished_run(operator, "plain", flowRef={"name": "etl"})
    finished_run(operator, "left", deploymentRef={"name": "gone"})
    operator.intake.history_listed()
    await later(operator, operator.context.settings.orphan_ttl_s - 1)
    assert runs(operator) == ["left", "plain"]
    await later(operator, 1)
    assert runs(operator) == []


async def test_what_a_deployment_that_is_deleted_leaves_behind_is_deleted_after_that_time(operator: Operator) -> None:
    """Its own rules end with it, and nothing owns runs that it did not make."""
    operator.apply(DEPLOYMENTS, "daily", {"flowRef": {"name": "etl"}, "history": {"succeeded": 5}})
    finished_run(operator, "by-hand", deploymentRef={"name": "daily"})
    operator.intake.history_listed()
    await later(operator, operator.context.settings.orphan_ttl_s + HOUR_S)
    assert runs(operator) == ["by-hand"]
    operator.intake.deployment_gone(key("daily"), operator.intake.cache.deployments[key("daily")].uid)
    await operator.rests()
    assert runs(operator) == []


async def test_runs_of_a_deployment_that_cannot_be_read_stay(operator: Operator) -> None:
    """It is there, and may ask for more when it is mended."""
    operator.apply(DEPLOYMENTS, "daily", {"flowRef": {"name": "etl"}, "history": {"ttlSeconds": "soon"}})
    finished_run(operator, "by-hand", deploymentRef={"name": "daily"})
    operator.intake.history_listed()
    await later(operator, operator.context.settings.orphan_ttl_s + HOUR_S)
    assert runs(operator) == ["by-hand"]


class TestManyAtOnce:
    """More runs are due than are deleted at a time."""

    COUNT = 2 * DELETED_AT_ONCE + 1

    @pytest.fixture
    def full(self, operator: Operator) -> Operator:
        for number in range(self.COUNT):
            finished_run(operator, f"plain-{number:02}", flowRef={"name": "etl"})
        operator.intake.history_listed()
        operator.now += timedelta(seconds=operator.context.settings.orphan_ttl_s)
        return operator

    async def test_some_are_under_way_together(self, full: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not one by one, and not all of them: whoever launches runs waits for the same API server."""
        under_way, most, delete = 0, 0, full.cluster.delete

        async def slow(*arguments: Any, **options: Any) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(10):
                await asyncio.sleep(0)
            await delete(*arguments, **options)
            under_way -= 1

        monkeypatch.setattr(full.cluster, "delete", slow)
        await later(full, 0)
        assert (most, runs(full)) == (DELETED_AT_ONCE, [])

    async def test_one_that_fails_keeps_none_beside_it(self, full: Operator) -> None:
        """It is tried again with what is left."""
        full.cluster.fail_next("delete", FLOW_RUNS, Unavailable(503, "ServiceUnavailable", "etcd"))
        with pytest.raises(Unavailable):
            await retention.reconcile(full.context, ObjectKey(NAMESPACE, ""))
        assert len(runs(full)) == self.COUNT - DELETED_AT_ONCE + 1
        assert len(full.intake.history.of(Owner(NAMESPACE, None))) == len(runs(full))

        await later(full, 0)
        assert runs(full) == []
