"""Which pod and port `headrace dashboard` leads to, and what it tells of the one that it starts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from headrace.cli import dashboard
from headrace.cli.cluster import ClusterRefusal
from headrace.cli.dashboard import a_pod
from headrace.cli.forwarding import Target
from tests.unit.headrace.cli.memory_api import MemoryApi

SERVICE: dict[str, Any] = {
    "metadata": {"name": "headrace-dashboard", "namespace": "ops"},
    "spec": {"selector": {"app": "dashboard"}, "ports": [{"port": 80, "targetPort": "http"}]},
}


class Pods(MemoryApi):
    """An API that lists these pods, whatever is asked."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        super().__init__()
        self.listed = list(pods)

    async def pages(self, path: str, params: Any = None) -> Any:
        assert (path, params) == ("/api/v1/namespaces/ops/pods", {"labelSelector": "app=dashboard"})
        yield {"items": self.listed}


def a_pod_object(name: str, *, ready: str = "True", port: str = "http", **metadata: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, **metadata},
        "spec": {
            "containers": [{"ports": [{"name": "metrics", "containerPort": 9}, {"name": port, "containerPort": 8088}]}]
        },
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def found(service: dict[str, Any], *pods: dict[str, Any]) -> Target:
    return asyncio.run(a_pod(Pods(*pods), service))  # type: ignore[arg-type]


def test_a_pod_that_is_ready_and_stays_is_taken() -> None:
    pods = (a_pod_object("a", ready="False"), a_pod_object("b", deletionTimestamp="now"), a_pod_object("c"))
    assert found(SERVICE, *pods) == Target("ops", "c", 8088)


def test_without_one_it_says_what_to_do() -> None:
    with pytest.raises(ClusterRefusal, match="kubectl get pods -n ops shows them, and headrace dashboard --local"):
        found(SERVICE, a_pod_object("a", ready="False"))


@pytest.mark.parametrize(("ports", "port"), [({"port": 80, "targetPort": 8000}, 8000), ({"port": 8089}, 8089)])
def test_a_port_may_be_a_number(ports: dict[str, int], port: int) -> None:
    service = {**SERVICE, "spec": {**SERVICE["spec"], "ports": [ports]}}
    assert found(service, a_pod_object("a")).port == port


def test_a_port_that_no_container_has_is_told() -> None:
    with pytest.raises(ClusterRefusal, match='no port that is named "http"'):
        found(SERVICE, a_pod_object("a", port="web"))


def test_the_address_goes_to_standard_output_and_warnings_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    """So that `open $(headrace dashboard …)` of a script reads one line."""
    for facts in (
        {"event": "authentication_switched_off", "level": "warning"},
        {"event": "dashboard_started", "level": "info", "port": 8091},
        {"event": "action_performed", "level": "info"},
        {"event": "watch_interrupted", "level": "warning", "kind": "flowruns", "time": "now"},
    ):
        dashboard._told(json.dumps(facts), "team-a", opens=False)
    out, err = capsys.readouterr()
    assert out == "http://localhost:8091\n"
    assert err == (
        "shows namespace team-a with your own rights, to this machine alone, until Ctrl-C\n"
        "watch_interrupted kind=flowruns\n"
    )


def test_the_usual_port_is_taken_unless_somebody_has_it() -> None:
    import socket  # noqa: PLC0415 - of this test

    with socket.socket() as taken:
        try:
            taken.bind((dashboard.LOOPBACK, dashboard.USUAL_PORT))
            taken.listen()
        except OSError:
            pass  # somebody has it already, which is the case that is tested
        assert dashboard._chosen(None) == 0
    assert dashboard._chosen(9000) == 9000
