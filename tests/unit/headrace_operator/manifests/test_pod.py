"""The pod of one attempt."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_operator.decide.snapshot import ObjectKey, ResolvedFlow, RunStatus, Snapshot
from headrace_operator.manifests.pod import pod_manifest, pod_name
from headrace_operator.observe.parse import pod_from
from tests.builders import a_deployment, a_flow, a_run, a_snapshot

IDENTITY = {
    "app.kubernetes.io/managed-by": "headrace",
    "headrace.dev/flow-run": "etl-1",
    "headrace.dev/flow": "etl",
    "headrace.dev/revision": "rev1",
    "headrace.dev/attempt": "1",
}
OWNER = {
    "apiVersion": "headrace.dev/v1alpha1",
    "kind": "FlowRun",
    "name": "etl-1",
    "uid": "run-uid",
    "controller": True,
    "blockOwnerDeletion": False,
}


def manifest(flow: ResolvedFlow, seen: Snapshot | None = None, attempt: int = 1) -> dict[str, Any]:
    return pod_manifest(seen or a_snapshot(flow=flow), flow, attempt, default_image="headrace/runtime:test")


def container(flow: ResolvedFlow, seen: Snapshot | None = None) -> dict[str, Any]:
    first: dict[str, Any] = manifest(flow, seen)["spec"]["containers"][0]
    return first


def env(flow: ResolvedFlow, seen: Snapshot | None = None) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in container(flow, seen)["env"]}


def test_the_whole_pod_of_a_plain_inline_flow() -> None:
    """No token, no service links, no more than is needed."""
    flow = a_flow(entrypoint="etl.py:main", source={"inline": {"files": {"etl.py": "def main(): ..."}}})
    seen = a_snapshot(a_run(parameters={"day": "2026-01-01", "cost": "$5"}), flow=flow)
    assert manifest(flow, seen) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "etl-1-1",
            "namespace": "team-a",
            "labels": IDENTITY,
            "finalizers": ["headrace.dev/outcome"],
            "ownerReferences": [OWNER],
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "headrace-code", "configMap": {"name": "etl-rev1"}}],
            "containers": [
                {
                    "name": "flow",
                    "image": "headrace/runtime:test",
                    "command": ["python", "-m", "headrace.pod"],
                    "env": [
                        {"name": "HEADRACE_ENTRYPOINT", "value": "etl.py:main"},
                        {"name": "HEADRACE_PARAMETERS", "value": '{"cost":"$$5","day":"2026-01-01"}'},
                        {"name": "HEADRACE_FLOW", "value": "etl"},
                        {"name": "HEADRACE_FLOW_REVISION", "value": "rev1"},
                        {"name": "HEADRACE_FLOW_RUN", "value": "etl-1"},
                        {"name": "HEADRACE_FLOW_RUN_UID", "value": "run-uid"},
                        {"name": "HEADRACE_NAMESPACE", "value": "team-a"},
                        {"name": "HEADRACE_ATTEMPT", "value": "1"},
                        {"name": "HEADRACE_CODE_DIR", "value": "/opt/headrace/code"},
                        {"name": "TRACEPARENT", "value": "00-51e7336df3917444bef3299a58e9f9f5-7551298f05e93026-01"},
                    ],
                    "volumeMounts": [{"name": "headrace-code", "mountPath": "/opt/headrace/code", "readOnly": True}],
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def test_the_code_of_a_config_map_is_where_inline_code_is() -> None:
    """The ConfigMap is that which the revision names; all else of the pod is the same."""
    inline = a_flow(entrypoint="etl.py:main", source={"inline": {"files": {"etl.py": "def main(): ..."}}})
    mapped = a_flow(entrypoint="etl.py:main", source={"configMap": {"name": "etl-code-5d9f"}})
    made, expected = manifest(mapped), manifest(inline)
    assert made["spec"]["volumes"] == [{"name": "headrace-code", "configMap": {"name": "etl-code-5d9f"}}]
    assert {**made["spec"], "volumes": []} == {**expected["spec"], "volumes": []}


def test_a_container_without_the_sdk_runs_its_own_command() -> None:
    """Its image, command and arguments; the parameters are there all the same, the entrypoint is not."""
    flow = a_flow(entrypoint=None, command=["dbt", "run"], args=["--full"], image="dbt:1", imagePullPolicy="Always")
    made = container(flow)
    assert {key: made.get(key) for key in ("image", "command", "args", "imagePullPolicy")} == {
        "image": "dbt:1",
        "command": ["dbt", "run"],
        "args": ["--full"],
        "imagePullPolicy": "Always",
    }
    assert "HEADRACE_ENTRYPOINT" not in env(flow)
    assert env(flow)["HEADRACE_PARAMETERS"] == "{}"
    assert "volumes" not in manifest(flow)["spec"]


def test_what_the_flow_asks_for_is_in_the_pod() -> None:
    """Account, secrets, deadline, resources, variables from elsewhere."""
    flow = a_flow(
        serviceAccountName="loader",
        imagePullSecrets=[{"name": "registry"}],
        timeoutSeconds=90,
        resources={"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
        envFrom=[{"secretRef": {"name": "db"}}],
    )
    spec = manifest(flow)["spec"]
    assert spec["serviceAccountName"] == "loader"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["activeDeadlineSeconds"] == 90
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}}
    assert spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "db"}}]


def test_a_deployment_overrides_what_it_names_and_is_named() -> None:
    """Timeout and resources as a whole, variables by name; the rest is the Flow's."""
    flow = a_flow(
        timeoutSeconds=90,
        resources={"limits": {"memory": "1Gi"}},
        env=[{"name": "A", "value": "flow"}, {"name": "B", "value": "flow"}],
    )
    deployment = a_deployment(
        timeoutSeconds=10,
        resources={"requests": {"cpu": "1"}},
        env=[{"name": "B", "value": "deployment"}],
        parameters={"table": "orders"},
    )
    run = a_run(scheduled_time=datetime(2026, 3, 4, 7, tzinfo=UTC))
    seen = a_snapshot(run, flow=flow, deployment=deployment)
    made = manifest(flow, seen)
    assert made["metadata"]["labels"] == {**IDENTITY, "headrace.dev/deployment": "daily"}
    assert made["spec"]["activeDeadlineSeconds"] == 10
    assert made["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {}}
    variables = env(flow, seen)
    assert (variables["A"], variables["B"]) == ("flow", "deployment")
    assert variables["HEADRACE_DEPLOYMENT"] == "daily"
    assert variables["HEADRACE_SCHEDULED_TIME"] == "2026-03-04T07:00:00Z"
    assert variables["HEADRACE_PARAMETERS"] == '{"table":"orders"}'


def test_variables_of_the_user_follow_ours_and_win_by_name() -> None:
    """So that they may refer to ours by $(HEADRACE_…); what they hold is not escaped."""
    flow = a_flow(
        env=[
            {"name": "OUT", "value": "s3://x/$(HEADRACE_FLOW_RUN)"},
            {"name": "HEADRACE_ATTEMPT", "value": "mine"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        ]
    )
    variables = container(flow)["env"]
    names = [variable["name"] for variable in variables]
    assert names.index("HEADRACE_FLOW_RUN") < names.index("OUT")
    assert names.count("HEADRACE_ATTEMPT") == 1
    assert {"name": "OUT", "value": "s3://x/$(HEADRACE_FLOW_RUN)"} in variables
    assert {"name": "HEADRACE_ATTEMPT", "value": "mine"} in variables
    assert {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}} in variables


def test_templates_have_the_last_word_the_deployments_after_the_flows() -> None:
    """On all but what the operator's bookkeeping rests on."""
    flow = a_flow(
        podTemplate={
            "metadata": {"annotations": {"team": "a"}, "labels": {"cost": "flow", "tier": "x"}},
            "spec": {"nodeSelector": {"pool": "flow"}, "containers": [{"name": "flow", "workingDir": "/w"}]},
        }
    )
    deployment = a_deployment(
        podTemplate={
            "metadata": {"labels": {"cost": "deployment"}},
            "spec": {
                "nodeSelector": {"pool": "deployment"},
                "automountServiceAccountToken": True,
                "containers": [{"name": "sidecar", "image": "proxy"}],
            },
        }
    )
    made = manifest(flow, a_snapshot(flow=flow, deployment=deployment))
    assert made["metadata"]["annotations"] == {"team": "a"}
    assert made["metadata"]["labels"] == {
        **IDENTITY,
        "headrace.dev/deployment": "daily",
        "cost": "deployment",
        "tier": "x",
    }
    assert made["spec"]["nodeSelector"] == {"pool": "deployment"}
    assert made["spec"]["automountServiceAccountToken"] is True
    assert [c["name"] for c in made["spec"]["containers"]] == ["flow", "sidecar"]
    assert made["spec"]["containers"][0]["workingDir"] == "/w"
    assert made["spec"]["containers"][0]["command"] == ["python", "-m", "headrace.pod"]


def assert_identity(made: dict[str, Any]) -> None:
    """What the operator finds its pods by, and must not lose."""
    metadata = made["metadata"]
    assert (made["apiVersion"], made["kind"]) == ("v1", "Pod")
    assert (metadata["name"], metadata["namespace"]) == ("etl-1-1", "team-a")
    assert metadata["ownerReferences"] == [OWNER]
    assert metadata["labels"].items() >= IDENTITY.items()
    assert metadata["finalizers"].count("headrace.dev/outcome") == 1


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({"kind": "Job", "apiVersion": "batch/v1"}, id="kind"),
        pytest.param({"metadata": {"name": "mine", "namespace": "theirs", "generateName": "x"}}, id="name"),
        pytest.param({"metadata": {"labels": dict.fromkeys(IDENTITY, "mine")}}, id="labels"),
        pytest.param({"metadata": {"labels": {"$patch": "replace"}}}, id="labels replaced"),
        pytest.param({"metadata": {"ownerReferences": [{"uid": "theirs"}]}}, id="owner"),
        pytest.param({"metadata": {"ownerReferences": None, "finalizers": None, "labels": None}}, id="all removed"),
        pytest.param({"metadata": {"finalizers": ["a/b", "headrace.dev/outcome"]}}, id="finalizer named"),
        pytest.param({"metadata": None}, id="no metadata"),
        pytest.param({"metadata": "mine"}, id="metadata that is a text"),
        pytest.param({"metadata": {"labels": ["a"], "finalizers": "b"}}, id="lists and texts for maps"),
        pytest.param({"$patch": "replace"}, id="everything replaced"),
        pytest.param({"spec": None}, id="no spec"),
        pytest.param({"spec": ["a"]}, id="a spec that is a list"),
    ],
)
def test_no_template_takes_a_pods_identity_away(template: dict[str, Any]) -> None:
    """Nothing is raised either: what is no pod is for the API server to refuse."""
    assert_identity(manifest(a_flow(podTemplate=template)))


def test_no_template_says_of_which_deployment_or_run_a_pod_is() -> None:
    """A run that has none has no such label: whoever selects by it would count a foreign pod."""
    template = {
        "metadata": {"labels": {"headrace.dev/deployment": "theirs", "headrace.dev/parent": "theirs", "a": "b"}}
    }
    made = manifest(a_flow(podTemplate=template))
    assert made["metadata"]["labels"] == {**IDENTITY, "a": "b"}


@pytest.mark.parametrize("policy", ["Always", "OnFailure", None])
def test_a_pod_is_never_restarted_inside(policy: str | None) -> None:
    """An attempt is a pod: a restart would not be counted."""
    assert manifest(a_flow(podTemplate={"spec": {"restartPolicy": policy}}))["spec"]["restartPolicy"] == "Never"


def test_finalizers_of_others_stay_in_front() -> None:
    """Ours is the last one, once."""
    made = manifest(a_flow(podTemplate={"metadata": {"finalizers": ["a/b"]}}))
    assert made["metadata"]["finalizers"] == ["a/b", "headrace.dev/outcome"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["$", "$$", "$(HOME)"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab$(){}é", max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text("ab$()é", max_size=4), JSON, max_size=4))
def test_parameters_come_back_from_the_pod_as_they_went_in(parameters: dict[str, Any]) -> None:
    """Dollars included, which the kubelet would read as references: every one is doubled, and stands for itself."""
    flow = a_flow()
    made = manifest(flow, a_snapshot(a_run(parameters=parameters), flow=flow))
    made["metadata"]["uid"] = "u"
    text = next(v["value"] for v in made["spec"]["containers"][0]["env"] if v["name"] == "HEADRACE_PARAMETERS")
    assert "$" not in text.replace("$$", "")
    assert json.loads(text.replace("$$", "$")) == parameters
    pod = pod_from(made)
    assert pod is not None
    assert pod.parameters == parameters
    assert (pod.revision, pod.attempt, pod.run_uid, pod.held) == ("rev1", 1, "run-uid", True)


def test_every_attempt_gets_the_parameters_that_were_accepted() -> None:
    """Though the Deployment's are others by now."""
    status = RunStatus(flow_revision="rev1", parameters={"table": "orders"})
    flow = a_flow()
    seen = a_snapshot(a_run(status=status), flow=flow, deployment=a_deployment(parameters={"table": "new"}))
    assert env(flow, seen)["HEADRACE_PARAMETERS"] == '{"table":"orders"}'


def test_a_pod_is_named_by_its_cause() -> None:
    """A second creation is a conflict and not a second pod."""
    assert pod_name("etl-1", 12) == "etl-1-12"
    assert manifest(a_flow(), attempt=2)["metadata"]["name"] == "etl-1-2"


def test_pods_of_one_flow_differ_in_what_is_their_runs_own() -> None:
    """And what was made for one of them says nothing of another, nor of a Deployment that came since."""
    template = {"spec": {"containers": [{"name": "flow", "env": [{"name": "MINE", "value": "$(HEADRACE_ATTEMPT)"}]}]}}
    flow = a_flow(podTemplate=template)
    first = manifest(flow)
    before = json.dumps(first)
    day = a_run(key=ObjectKey("team-a", "etl-2"), uid="another", parameters={"day": 2})
    second = manifest(flow, a_snapshot(day, flow=flow), attempt=3)
    deployed = manifest(flow, a_snapshot(day, flow=flow, deployment=a_deployment(timeoutSeconds=10)))
    assert (second["metadata"]["name"], second["metadata"]["ownerReferences"][0]["uid"]) == ("etl-2-3", "another")
    assert second["metadata"]["labels"] == {
        **IDENTITY,
        "headrace.dev/flow-run": "etl-2",
        "headrace.dev/attempt": "3",
    }
    told = {variable["name"]: variable["value"] for variable in second["spec"]["containers"][0]["env"]}
    assert (told["HEADRACE_PARAMETERS"], told["HEADRACE_ATTEMPT"], told["MINE"]) == (
        '{"day":2}',
        "3",
        "$(HEADRACE_ATTEMPT)",
    )
    assert deployed["spec"]["activeDeadlineSeconds"] == 10
    assert json.dumps(first) == before
    assert manifest(flow) == first
