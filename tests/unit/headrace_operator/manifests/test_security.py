"""The security context of a run's pod: `restricted` by default, and the template's where that says otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.manifests.pod import pod_manifest
from tests.builders import a_flow, a_run, a_snapshot

POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def spec(**template: Any) -> dict[str, Any]:
    flow = a_flow(podTemplate={"spec": template})
    made: dict[str, Any] = pod_manifest(a_snapshot(a_run(), flow=flow), flow, 1, default_image="x")["spec"]
    return made


def context(container: dict[str, Any]) -> Any:
    """Of the flow's container, with this template."""
    return spec(containers=[{"name": "flow", **container}])["containers"][0]["securityContext"]


def test_every_container_of_a_pod_is_restricted() -> None:
    """One that is not has the pod refused, sidecars and init containers of a template included."""
    made = spec(initContainers=[{"name": "clone"}], containers=[{"name": "proxy"}])
    assert made["securityContext"] == POD
    assert [each["securityContext"] for each in made["initContainers"] + made["containers"]] == [CONTAINER] * 3


def test_what_a_template_says_stays() -> None:
    """The API server judges it; the other defaults are filled in beside it."""
    made = spec(securityContext={"runAsUser": 1000, "seccompProfile": {"type": "Localhost"}})
    assert made["securityContext"] == {**POD, "runAsUser": 1000, "seccompProfile": {"type": "Localhost"}}
    assert context({"securityContext": {"readOnlyRootFilesystem": True}}) == {
        **CONTAINER,
        "readOnlyRootFilesystem": True,
    }


def test_whoever_asks_for_root_gets_a_pod_that_can_start() -> None:
    """Kubelets refuse runAsUser: 0 beside runAsNonRoot: true."""
    assert spec(securityContext={"runAsUser": 0})["securityContext"] == {**POD, "runAsUser": 0, "runAsNonRoot": False}
    assert context({"securityContext": {"runAsUser": 0}}) == {**CONTAINER, "runAsUser": 0, "runAsNonRoot": False}


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param({"privileged": True}, id="privileged"),
        pytest.param({"capabilities": {"add": ["SYS_ADMIN"]}}, id="SYS_ADMIN"),
    ],
)
def test_no_default_makes_an_invalid_pod_of_a_privileged_one(theirs: dict[str, Any]) -> None:
    """The API server takes neither together with allowPrivilegeEscalation: false."""
    assert context({"securityContext": theirs}) == theirs


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({"securityContext": "none"}, id="of the pod"),
        pytest.param({"containers": ["flow"]}, id="of a container"),
        pytest.param({"os": {"name": "windows"}}, id="of Windows, where these fields are refused"),
    ],
)
def test_what_cannot_have_a_context_is_left_as_it_is(template: dict[str, Any]) -> None:
    """The API server says what is wrong with it."""
    made = spec(**template)
    assert {name: made[name] for name in template} == template
    assert made.get("securityContext") in (template.get("securityContext"), POD if "containers" in template else None)
