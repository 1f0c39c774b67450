"""Tasks with pods of their own inside a transaction: staged in the flow's pod."""

from dataclasses import replace

import pytest

from headrace import flow, transaction
from headrace.engine.session import current_session, using
from headrace.results import open_storage
from tests.unit.headrace.engine.keeping.memory import Killed
from tests.unit.headrace.remote.cluster import Cluster, in_flows_pod
from tests.unit.headrace.runs import log_of_runs

TWICE = [f"etl-7-shifted-{number}{go}" for go in ("", "-r2") for number in (0, 1)]


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def a_flow(flows, undone, *, fails):
    """It calls a task in a pod of its own, whose hook notes itself."""
    train = flows.shifted.with_options(on_rollback=lambda txn: undone.append(txn.get("model")))

    @flow
    def main():
        with transaction() as txn:
            txn.set("model", "m-1")
            point = train(flows.Point(1, ()))
            flows.shifted(flows.Point(5, ()))  # without hooks
            if fails:
                raise fails
            return point.x

    return main


def test_a_task_that_was_rolled_back_runs_again_in_the_next_attempt(cluster, tmp_path):
    """Though its own pod had stored its result; one that was committed does not."""
    url, undone = f"file://{tmp_path}/results", []
    with in_flows_pod(cluster, url) as flows, pytest.raises(ConnectionError):
        a_flow(flows, undone, fails=ConnectionError("lost"))()
    assert undone == ["m-1"]
    for attempt in (2, 3):
        with in_flows_pod(cluster, url, attempt=attempt) as flows:
            assert a_flow(flows, undone, fails=None)() == 2
    assert cluster.ran == TWICE


class NeverCommits:
    """A storage whose process dies at the commit."""

    def __init__(self, url):
        self._storage = open_storage(url)

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def put(self, key, data):
        if "/committed-" in key:
            raise Killed
        self._storage.put(key, data)


def test_a_flow_whose_pod_died_in_the_block_lets_go_of_the_result(cluster, tmp_path):
    """The hook is called first, in the flow's pod; then the task runs again."""
    url, undone = f"file://{tmp_path}/results", []
    with (
        in_flows_pod(cluster, url) as flows,
        using(replace(current_session(), results_url=url, open_storage=NeverCommits)),
        pytest.raises(Killed),
    ):
        a_flow(flows, undone, fails=None)()
    assert undone == []
    with (
        in_flows_pod(cluster, url, attempt=2) as flows,
        using(replace(current_session(), results_url=url)),
        log_of_runs() as log,
    ):
        assert a_flow(flows, undone, fails=None)() == 2
    assert undone == ["m-1"]
    assert cluster.ran == TWICE
    assert "hook_failed" not in log.events
