"""What a flow reads, in its pod."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.decide.snapshot import ResolvedFlow
from headrace_operator.manifests.pod import pod_manifest
from tests.builders import a_deployment, a_flow, a_snapshot


def spec_of(flow: ResolvedFlow, deployment: Any = None) -> dict[str, Any]:
    seen = a_snapshot(flow=flow, deployment=deployment)
    spec: dict[str, Any] = pod_manifest(seen, flow, 1, default_image="headrace/runtime:test")["spec"]
    return spec


def told(spec: dict[str, Any]) -> dict[str, str]:
    env = spec["containers"][0]["env"]
    names = {"HEADRACE_SECRETS_DIR", "HEADRACE_VARIABLES_DIR", "HEADRACE_REDACT_ENV"}
    return {each["name"]: each["value"] for each in env if each["name"] in names}


def test_a_pod_of_a_flow_that_reads_nothing_has_nothing_of_it() -> None:
    """No volume, no variable."""
    spec = spec_of(a_flow())
    assert told(spec) == {}
    assert "volumes" not in spec
    assert "volumeMounts" not in spec["containers"][0]


def test_secrets_and_variables_are_folders() -> None:
    """One for each, readable by any user of the container, writable by none."""
    spec = spec_of(a_flow(secrets=["postgres", "token"], variables=["settings"]))
    assert spec["volumes"] == [
        {"name": "headrace-secret-0", "secret": {"secretName": "postgres", "defaultMode": 0o444}},
        {"name": "headrace-secret-1", "secret": {"secretName": "token", "defaultMode": 0o444}},
        {"name": "headrace-configmap-0", "configMap": {"name": "settings", "defaultMode": 0o444}},
    ]
    assert spec["containers"][0]["volumeMounts"] == [
        {"name": "headrace-secret-0", "mountPath": "/opt/headrace/secrets/postgres", "readOnly": True},
        {"name": "headrace-secret-1", "mountPath": "/opt/headrace/secrets/token", "readOnly": True},
        {"name": "headrace-configmap-0", "mountPath": "/opt/headrace/variables/settings", "readOnly": True},
    ]
    assert told(spec) == {
        "HEADRACE_SECRETS_DIR": "/opt/headrace/secrets",
        "HEADRACE_VARIABLES_DIR": "/opt/headrace/variables",
    }


def test_inline_code_and_volumes_of_a_template_stay() -> None:
    """What is mounted comes behind them."""
    template = {
        "spec": {
            "volumes": [{"name": "cache", "emptyDir": {}}],
            "containers": [{"name": "flow", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}, {"name": "b"}],
        }
    }
    source = {"inline": {"files": {"etl.py": "def main(): ..."}}}
    spec = spec_of(a_flow(entrypoint="etl.py:main", source=source, secrets=["db"], podTemplate=template))
    assert {volume["name"] for volume in spec["volumes"]} == {"headrace-code", "cache", "headrace-secret-0"}
    by_name = {container["name"]: container for container in spec["containers"]}
    mounted = {mount["name"] for mount in by_name["flow"]["volumeMounts"]}
    assert mounted == {"headrace-code", "cache", "headrace-secret-0"}
    assert "volumeMounts" not in by_name["b"]


SECRET_KEY = {"secretKeyRef": {"name": "db", "key": "password"}}


def test_the_process_is_told_of_every_secret_that_its_environment_holds() -> None:
    """Variables of single keys by name; whole Secrets as folders, which may be missing: the variables are missed first."""
    flow = a_flow(
        env=[{"name": "PASSWORD", "valueFrom": SECRET_KEY}, {"name": "PLAIN", "value": "x"}],
        envFrom=[{"secretRef": {"name": "s3"}}, {"configMapRef": {"name": "c"}}],
        podTemplate={"spec": {"containers": [{"name": "flow", "env": [{"name": "T", "valueFrom": SECRET_KEY}]}]}},
    )
    spec = spec_of(flow, a_deployment(env=[{"name": "TOKEN", "valueFrom": SECRET_KEY}]))
    assert set(told(spec)["HEADRACE_REDACT_ENV"].split(",")) == {"PASSWORD", "TOKEN", "T"}
    assert spec["volumes"] == [
        {"name": "headrace-secret-0", "secret": {"secretName": "s3", "defaultMode": 0o444, "optional": True}}
    ]
    assert told(spec)["HEADRACE_SECRETS_DIR"] == "/opt/headrace/secrets"


def test_a_secret_that_is_asked_for_must_be_there_though_variables_come_from_it_too() -> None:
    """It is mounted once."""
    spec = spec_of(a_flow(secrets=["s3"], envFrom=[{"secretRef": {"name": "s3"}}]))
    assert spec["volumes"] == [{"name": "headrace-secret-0", "secret": {"secretName": "s3", "defaultMode": 0o444}}]


def test_a_container_without_the_sdk_gets_what_it_asks_for_and_no_more() -> None:
    """It redacts nothing."""
    flow = a_flow(
        entrypoint=None,
        command=["dbt"],
        image="dbt:1",
        secrets=["db"],
        env=[{"name": "PASSWORD", "valueFrom": SECRET_KEY}],
        envFrom=[{"secretRef": {"name": "s3"}}],
    )
    spec = spec_of(flow)
    assert [volume["secret"]["secretName"] for volume in spec["volumes"]] == ["db"]
    assert told(spec) == {"HEADRACE_SECRETS_DIR": "/opt/headrace/secrets"}


@pytest.mark.parametrize("template", [{"spec": None}, {"spec": {"containers": None}}, {"spec": []}])
def test_a_template_that_makes_no_pod_is_left_for_the_api_server(template: dict[str, Any]) -> None:
    """It says what is wrong with it; nothing is raised here."""
    flow = a_flow(secrets=["db"], podTemplate=template)
    assert pod_manifest(a_snapshot(flow=flow), flow, 1, default_image="x")["kind"] == "Pod"
