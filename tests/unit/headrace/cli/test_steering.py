"""Runs, Deployments and Backfills that are cancelled, held and let go."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api import keys
from headrace.cli.backfill import failed_again
from headrace.cli.cluster import ClusterRefusal
from headrace.cli.exits import NOT_FOUND, status_of
from headrace.cli.references import Reference, reference
from headrace.cli.run import Order, is_local, launched
from headrace.cli.steering import cancelled, held
from headrace.errors import UsageError
from headrace.kubeapi.errors import Conflict, NotServed
from tests.unit.headrace.cli.memory_api import ROOT, MemoryApi, a_deployment, a_run
from tests.unit.headrace.cli.test_start import NOW

RUN = Reference(keys.FLOWRUNS, "r")
NIGHTLY = Reference(keys.DEPLOYMENTS, "daily")


def spec_of(api: MemoryApi, plural: str, name: str) -> dict[str, Any]:
    return api.objects[f"{ROOT}/namespaces/team-a/{plural}/{name}"]["spec"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("r", RUN),
        ("run/r", RUN),
        ("fr/r", RUN),
        ("flowruns/r", RUN),
        ("deployment/daily", NIGHTLY),
        ("fdep/daily", NIGHTLY),
        ("Deployments.headrace.dev/daily", NIGHTLY),
    ],
)
def test_objects_as_people_name_them(text: str, meant: Reference) -> None:
    assert reference(text, (keys.FLOWRUNS, keys.DEPLOYMENTS)) == meant


@pytest.mark.parametrize("text", ["pool/r", "run/", "/r", ""])
def test_a_name_of_something_else_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="expected a name, or flowrun/NAME or deployment/NAME"):
        reference(text, (keys.FLOWRUNS, keys.DEPLOYMENTS))


async def test_a_run_is_cancelled_once() -> None:
    api = MemoryApi(a_run("r", "Running"))
    assert await cancelled(api, "team-a", RUN) == "flowrun/r: will be cancelled; it was Running"
    assert spec_of(api, "flowruns", "r")["cancel"] is True
    assert "already" in await cancelled(api, "team-a", RUN)
    assert sum(line.startswith("PATCH") for line in api.asked) == 1


async def test_a_run_that_ended_is_not_cancelled_and_not_held() -> None:
    api = MemoryApi(a_run("r", "Failed"))
    with pytest.raises(ClusterRefusal, match="it has ended already: it is Failed"):
        await cancelled(api, "team-a", RUN)
    with pytest.raises(ClusterRefusal, match="headrace retry r runs it again"):
        await held(api, "team-a", RUN, suspend=True)
    assert not [line for line in api.asked if line.startswith("PATCH")]


async def test_what_is_not_there_has_a_status_of_its_own() -> None:
    with pytest.raises(ClusterRefusal, match="there is no such FlowRun in namespace team-a; headrace list") as caught:
        await cancelled(MemoryApi(), "team-a", RUN)
    assert status_of(caught.value) == NOT_FOUND


async def test_a_deployment_is_held_and_let_go() -> None:
    api = MemoryApi(a_deployment())
    assert "suspended" in await held(api, "team-a", NIGHTLY, suspend=True)
    assert "is suspended already" in await held(api, "team-a", NIGHTLY, suspend=True)
    assert "resumed" in await held(api, "team-a", NIGHTLY, suspend=False)
    assert spec_of(api, "deployments", "daily")["suspend"] is False


async def test_what_waits_for_something_else_says_what_to_type() -> None:
    """To resume it would change nothing."""
    asking = a_run("r", "Paused", status={"pause": {"kind": "Approval", "name": "p"}})
    with pytest.raises(ClusterRefusal, match="headrace approve r"):
        await held(MemoryApi(asking), "team-a", RUN, suspend=False)
    with pytest.raises(ClusterRefusal, match="headrace circuit close daily"):
        await held(MemoryApi(a_deployment(status={"circuit": {"state": "Open"}})), "team-a", NIGHTLY, suspend=False)


@pytest.mark.parametrize(
    ("target", "local"),
    [("etl.py:main", True), ("etl:main", True), ("etl.py", True), ("etl", False), ("flow/etl", False)],
)
def test_files_are_told_from_names(target: str, local: bool) -> None:
    assert is_local(target) is local


def order(**given: Any) -> Order:
    return Order(**{"typed": {}, "file": {}, "key": None, "priority": None, **given})


def a_flow(name: str = "etl") -> dict[str, Any]:
    schema = {"properties": {"version": {"type": "string"}}}
    return {
        "kind": "Flow",
        "metadata": {"name": name, "namespace": "team-a"},
        "spec": {"parameters": {"schema": schema}},
    }


async def test_a_name_is_a_deployment_or_else_a_flow() -> None:
    api = MemoryApi(a_deployment("both"), a_flow("both"), a_flow("etl"))
    first, _ = await launched(api, "team-a", "both", order(), now=NOW)
    second, _ = await launched(api, "team-a", "etl", order(typed={"version": "1.2"}, priority=5), now=NOW)
    assert spec_of(api, "flowruns", first)["deploymentRef"] == {"name": "both"}
    assert spec_of(api, "flowruns", second) == {
        "flowRef": {"name": "etl"},
        "parameters": {"version": "1.2"},
        "priority": 5,
    }


async def test_a_flow_with_a_key_is_started_once() -> None:
    api = MemoryApi(a_flow())
    first = await launched(api, "team-a", "flow/etl", order(key="alert-7"), now=NOW)
    second = await launched(api, "team-a", "flow/etl", order(key="alert-7"), now=NOW)
    assert (first[0], second) == (second[0], (first[0], f"already started as {first[0]}"))


async def test_a_name_that_nothing_has_says_where_to_look() -> None:
    with pytest.raises(ClusterRefusal, match="neither a Deployment nor a Flow") as caught:
        await launched(MemoryApi(), "team-a", "nobody", order(), now=NOW)
    assert status_of(caught.value) == NOT_FOUND


async def test_a_cluster_without_headrace_says_so() -> None:
    api = MemoryApi()
    path = "/apis/headrace.dev/v1alpha1/namespaces/team-a/deployments/nightly"
    api.refuse["GET"] = [NotServed(404, "Unknown", "404 page not found", request=f"GET {path}")]
    with pytest.raises(ClusterRefusal, match="cannot run nightly: headrace's definitions are not installed") as caught:
        await launched(api, "team-a", "nightly", order(), now=NOW)
    assert status_of(caught.value) == NOT_FOUND


def a_backfill(failed: int, goes: int = 0) -> dict[str, Any]:
    return {
        "kind": "Backfill",
        "metadata": {"name": "q1", "namespace": "team-a", "resourceVersion": "1"},
        "spec": {"deploymentRef": {"name": "daily"}, "rerunFailed": goes},
        "status": {"phase": "Failed", "failed": failed},
    }


async def test_what_failed_runs_once_more() -> None:
    api = MemoryApi(a_backfill(3, goes=1))
    assert await failed_again(api, "team-a", "q1") == "backfill/q1: 3 partitions that failed run once more"
    assert spec_of(api, "backfills", "q1")["rerunFailed"] == 2


async def test_a_status_that_changed_meanwhile_is_no_hindrance() -> None:
    """The write is tried again with what is true now."""
    api = MemoryApi(a_backfill(1))
    api.refuse["PATCH"] = [Conflict(409, "Conflict", "")]
    assert "1 partition that failed run once more" in await failed_again(api, "team-a", "q1")
    assert spec_of(api, "backfills", "q1")["rerunFailed"] == 1


async def test_two_who_ask_at_once_get_one_go() -> None:
    """The second one finds what the first one has written."""

    class Overtaken(MemoryApi):
        async def patch(self, path: str, body: Any) -> dict[str, Any]:
            await super().patch(path, body)
            raise Conflict(409, "Conflict", "")

    api = Overtaken(a_backfill(1))
    assert "somebody else has just asked for it" in await failed_again(api, "team-a", "q1")
    assert spec_of(api, "backfills", "q1")["rerunFailed"] == 1


async def test_nothing_failed_is_nothing_to_do() -> None:
    api = MemoryApi(a_backfill(0))
    assert "no partition has failed" in await failed_again(api, "team-a", "q1")
    assert not [line for line in api.asked if line.startswith("PATCH")]
