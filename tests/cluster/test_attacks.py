"""Attacks, with real tokens on a real API server: each is refused, and the audit log tells who tried (docs/security.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import JSON_PATCH, MERGE_PATCH, KubeClient
from headrace.kubeapi.errors import Unavailable
from tests.cluster.support.deeds import install_audit
from tests.cluster.support.signin import FORBIDDEN, Signed, an_account, audited, signed_in
from tests.cluster.support.waiting import eventually

GROUP = "headrace.dev"
RUNNER = (GROUP, ["flowruns"], ["create", "get", "watch", "patch"])
"""What docs/composition.md and docs/remote-tasks.md tell people to give to a flow."""
KINDS = ["flows", "deployments", "flowruns", "backfills", "automations"]
EDITOR = (GROUP, KINDS, ["get", "list", "watch", "create", "update", "patch", "delete"])
"""As the chart's role headrace-edit, without what Kubernetes' own `edit` adds."""
SECRETS = [f"vault-{index}" for index in range(8)]
"""As many as may be named by who may not read all."""
FLOW = {"entrypoint": "etl.py:main", "source": {"image": {}}}
TASK = {"name": "train", "function": "etl.py:train", "input": "file:///in", "output": "file:///out"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A namespace with two runs, a run that the first has started, and people around them."""

    admin: KubeClient
    namespace: str
    uid: str
    """Of the first run."""
    run: Signed
    """The first run's pod."""
    person: Signed
    """May edit all that is headrace's, and nothing else."""
    audit_log: Path
    plane: Plane

    def path(self, plural: str, name: str = "") -> str:
        return "/".join(filter(None, (f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}", name)))

    def core(self, plural: str, name: str = "") -> str:
        return "/".join(filter(None, (f"/api/v1/namespaces/{self.namespace}/{plural}", name)))


@pytest.fixture
async def scene(client: KubeClient, control_plane: Plane, namespace: str, audit_log: Path) -> AsyncIterator[Scene]:
    await an_account(client, namespace, "runner", RUNNER)
    await an_account(client, namespace, "person", EDITOR)
    await labelled(client, namespace, {"headrace.dev/pod-policy": "Baseline"})
    runs = f"/apis/{API_VERSION}/namespaces/{namespace}/flowruns"
    mine = await client.create(runs, a_run("mine"))
    await client.create(runs, a_run("other"))
    uid = mine["metadata"]["uid"]
    async with (
        signed_in(client, control_plane, namespace, "runner", pod="mine-1") as run,
        signed_in(client, control_plane, namespace, "person") as person,
    ):
        made = Scene(client, namespace, uid, run, person, audit_log, control_plane)
        await in_force(made)
        await run.client.create(runs, a_run("mine-child", startedBy=started_by(uid)))
        yield made


def a_run(name: str, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": API_VERSION, "kind": "FlowRun", "metadata": {"name": name, **(metadata or {})}}
    return {**body, "spec": {"flowRef": {"name": "etl"}, **spec}}


def an_object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def started_by(uid: str, name: str = "mine") -> dict[str, Any]:
    return {"name": name, "uid": uid, "root": name}


def owned_by(uid: str, name: str = "mine") -> dict[str, Any]:
    return {"ownerReferences": [{"apiVersion": API_VERSION, "kind": "FlowRun", "name": name, "uid": uid}]}


async def labelled(client: KubeClient, namespace: str, labels: dict[str, str]) -> None:
    await client.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})


async def in_force(scene: Scene) -> None:
    """The API server takes a moment to know new policies and labels; nothing is kept of these requests."""
    body = an_object("Flow", "probe", {**FLOW, "serviceAccountName": "runner"})

    forged = a_run("probe", startedBy=started_by("x"))
    asked = scene.person.would_be_refused
    await eventually(lambda: asked(scene.path("flowruns"), forged), within_s=60, what="the policy of runs is in force")
    await eventually(lambda: asked(scene.path("flows"), body), within_s=60, what="the policy of templates is in force")


RunAttack = tuple[str, str, Any, str]
RUN_ATTACKS: dict[str, RunAttack] = {
    "cancels another run": ("PATCH", "flowruns/other", {"spec": {"cancel": True}}, "which its run has not started"),
    "holds another run": ("PATCH", "flowruns/other", {"spec": {"suspend": True}}, "which its run has not started"),
    "approves its own pause": (
        "PATCH",
        "flowruns/mine",
        {"spec": {"answers": [{"name": "release", "decision": "Approve"}]}},
        "which its run has not started",
    ),
    "approves a pause of a run that it has started": (
        "PATCH",
        "flowruns/mine-child",
        {"spec": {"answers": [{"name": "release", "decision": "Approve"}]}},
        "nothing but spec.cancel",
    ),
    "goes before others": ("PATCH", "flowruns/mine-child", {"spec": {"priority": 9}}, "nothing but spec.cancel"),
    "keeps a run from being deleted": (
        "PATCH",
        "flowruns/mine-child",
        {"metadata": {"finalizers": ["example.com/stay"]}},
        "nothing but spec.cancel",
    ),
    "ties its child to another run": (
        "PATCH",
        "flowruns/mine-child",
        {"metadata": owned_by("another", "other")},
        "nothing but spec.cancel",
    ),
    "forges its own status": ("PATCH", "flowruns/mine/status", {"status": {"phase": "Succeeded"}}, "cannot patch"),
    "deletes a run": ("DELETE", "flowruns/other", None, "cannot delete"),
    "starts a run under no name": ("POST", "flowruns", a_run("new"), "may create no FlowRun but those"),
    "starts a run in another's name": (
        "POST",
        "flowruns",
        a_run("new", startedBy=started_by("u", "other")),
        "only the pod of FlowRun other may start runs in its name",
    ),
    "calls a task of another run": (
        "POST",
        "flowruns",
        a_run("new", task={**TASK, "parent": {"name": "other", "uid": "u"}}),
        "only the pod of FlowRun other may call its tasks",
    ),
    "changes a Flow": ("PATCH", "flows/etl", {"spec": {"image": "theirs"}}, "cannot patch"),
}


@pytest.mark.parametrize("attack", RUN_ATTACKS.values(), ids=RUN_ATTACKS)
async def test_a_runs_token_changes_nothing_that_is_not_its_own(scene: Scene, attack: RunAttack) -> None:
    """By RBAC where its Role ends, and by policy within it."""
    method, path, body, says = attack
    kind = {"content_type": MERGE_PATCH} if method == "PATCH" else {}
    error = await scene.run.refused(method, scene.path(path), body, **kind)
    assert error.status == FORBIDDEN, error
    assert says in error.message
    assert audited(scene.audit_log, scene.run.user)


async def test_a_runs_token_reads_and_writes_nothing_else(scene: Scene, client: KubeClient) -> None:
    """Limits, Secrets, tokens of other accounts, pods, and all of another namespace."""
    tries = [
        ("GET", scene.core("secrets"), None),
        ("POST", scene.core("serviceaccounts", "person") + "/token", {"spec": {}}),
        ("DELETE", scene.core("pods", "mine-1"), None),
        ("GET", f"/apis/{API_VERSION}/namespaces/default/flowruns", None),
        ("POST", f"/apis/{API_VERSION}/namespaces/default/flowruns", a_run("new", startedBy=started_by(scene.uid))),
        ("POST", f"/apis/{API_VERSION}/concurrencylimits", an_object("ConcurrencyLimit", "all", {"slots": 1})),
        ("POST", f"/apis/{API_VERSION}/workpools", an_object("WorkPool", "mine", {})),
    ]
    for method, path, body in tries:
        assert (await scene.run.refused(method, path, body)).status == FORBIDDEN, path
    assert len(audited(scene.audit_log, scene.run.user)) == len(tries)


async def test_a_run_does_what_it_is_for(scene: Scene) -> None:
    """Else the refusals above would prove nothing: it starts runs, calls its tasks, and cancels both."""
    parent = {"name": "mine", "uid": scene.uid}
    task = a_run("mine-train-0", owned_by(scene.uid), task={**TASK, "parent": parent})
    await scene.run.client.create(scene.path("flowruns"), task)
    for name in ("mine-train-0", "mine-child"):
        patched = await scene.run.client.patch(scene.path("flowruns", name), {"spec": {"cancel": True}})
        assert patched["spec"]["cancel"] is True


async def test_what_is_noted_of_a_run_keeps_no_other_run_from_its_work(own_plane: Plane, admin: KubeClient) -> None:
    """The note of who cancelled it is written within the request, and looks like a change by the pod."""
    runs = f"/apis/{API_VERSION}/namespaces/default/flowruns"
    if not await install_audit(admin):
        pytest.skip("this API server has no MutatingAdmissionPolicies")
    mine = await admin.create(runs, a_run("mine"))

    async def is_noted() -> bool:
        """The API server takes a moment, in which it may refuse, to know new policies."""
        try:
            probe = await admin.request("POST", runs, body=a_run("probe"), params={"dryRun": "All"})
        except Unavailable:
            return False
        return "headrace.dev/audit" in probe["metadata"].get("annotations", {})

    await eventually(is_noted, within_s=60, what="the notes are in force")
    await an_account(admin, "default", "runner", RUNNER)
    async with signed_in(admin, own_plane, "default", "runner", pod="mine-1") as run:
        child = await run.client.create(runs, a_run("child", startedBy=started_by(mine["metadata"]["uid"])))
        cancelled = await run.client.patch(f"{runs}/child", {"spec": {"cancel": True}})
        assert "from pod mine-1" in child["metadata"]["annotations"]["headrace.dev/audit"]
        assert "cancelled from pod mine-1" in cancelled["metadata"]["annotations"]["headrace.dev/audit"]
        for note in ("2026-01-01T00:00:00Z nobody created", None):
            body = {"metadata": {"annotations": {"headrace.dev/audit": note}}, "spec": {"cancel": True}}
            patched = await run.client.patch(f"{runs}/child", body)
            assert patched["metadata"]["annotations"] == cancelled["metadata"]["annotations"]
        error = await run.refused(
            "PATCH", f"{runs}/child", {"metadata": {"annotations": {"a": "b"}}}, content_type=MERGE_PATCH
        )
        assert "nothing but spec.cancel" in error.message


FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "a task, which no quota counts": (
        a_run("new", task={**TASK, "parent": {"name": "mine", "uid": "u"}}),
        "only the pod of FlowRun mine may call its tasks",
    ),
    "who has started it": (a_run("new", startedBy=started_by("u")), "only the pod of FlowRun mine may start runs"),
    "whose it is": (a_run("new", owned_by("u")), "who owns a FlowRun is for the operator to say"),
    "which schedule it is of": (
        a_run("new", {"labels": {"headrace.dev/schedule": "daily"}}),
        "tell where a run comes from",
    ),
    "whose task it is": (a_run("new", {"labels": {"headrace.dev/parent": "mine"}}), "tell where a run comes from"),
}


@pytest.mark.parametrize(("body", "says"), FORGERIES.values(), ids=FORGERIES)
async def test_nobody_forges_where_a_run_comes_from(scene: Scene, body: dict[str, Any], says: str) -> None:
    """The right to edit FlowRuns is not enough."""
    error = await scene.person.refused("POST", scene.path("flowruns"), body)
    assert (error.status, says in error.message) == (FORBIDDEN, True), error
    assert ("create", "flowruns", "new") in audited(scene.audit_log, scene.person.user)


async def test_nobody_changes_where_a_run_comes_from(scene: Scene) -> None:
    """Not after its creation either."""
    for metadata in (owned_by("u"), {"labels": {"headrace.dev/parent": "other"}}):
        error = await scene.person.refused(
            "PATCH", scene.path("flowruns", "other"), {"metadata": metadata}, content_type=MERGE_PATCH
        )
        assert error.status == FORBIDDEN, error


async def test_nobody_but_the_operator_says_how_a_run_ended(scene: Scene) -> None:
    """The subresource is refused; in the object itself a status is not even read."""
    forged = {"status": {"phase": "Succeeded", "reason": "Forged"}}
    path = scene.path("flowruns", "other")
    error = await scene.person.refused("PATCH", f"{path}/status", forged, content_type=MERGE_PATCH)
    assert error.status == FORBIDDEN
    patched = await scene.person.client.patch(path, {**forged, "spec": {"priority": 3}})
    assert patched["spec"]["priority"] == 3
    assert "status" not in patched
    assert ("patch", "flowruns/status", "other") in audited(scene.audit_log, scene.person.user)


async def test_who_may_edit_pods_cannot_lose_or_forge_an_outcome(scene: Scene, client: KubeClient) -> None:
    """The finalizer, the labels and the owner of a run's pod stay, and no pod poses as an attempt."""
    metadata = {
        "name": "other-1",
        "labels": {"headrace.dev/flow-run": "other"},
        "finalizers": ["headrace.dev/outcome"],
        **owned_by("other-uid", "other"),
    }
    spec = {"nodeSelector": {"nowhere": "yes"}, "containers": [{"name": "flow", "image": "none"}]}
    await client.create(scene.core("pods"), {"metadata": metadata, "spec": spec})
    await an_account(client, scene.namespace, "ops", ("", ["pods"], ["get", "create", "patch", "delete"]))
    async with signed_in(client, scene.plane, scene.namespace, "ops") as ops:
        forged = {"metadata": {**metadata, "name": "other-2"}, "spec": spec}
        path = scene.core("pods", "other-1")
        changes = ({"finalizers": None}, {"labels": {"headrace.dev/flow-run": "mine"}}, {"ownerReferences": None})
        taking_off = [{"op": "remove", "path": "/metadata/finalizers/0"}]
        answers = [
            await ops.refused("POST", scene.core("pods"), forged),
            await ops.refused("PATCH", path, taking_off, content_type=JSON_PATCH),
            *[await ops.refused("PATCH", path, {"metadata": each}, content_type=MERGE_PATCH) for each in changes],
        ]
        assert [answer.status for answer in answers] == [FORBIDDEN] * 5, answers
        assert len(audited(scene.audit_log, ops.user)) == len(answers)
        annotated = await ops.client.patch(scene.core("pods", "other-1"), {"metadata": {"annotations": {"a": "b"}}})
        assert annotated["metadata"]["annotations"] == {"a": "b"}
    freed = await client.patch(scene.core("pods", "other-1"), {"metadata": {"finalizers": None}})
    assert "finalizers" not in freed["metadata"]


def template(**spec: Any) -> dict[str, Any]:
    return {**FLOW, "podTemplate": {"spec": spec}}


def container(**fields: Any) -> dict[str, Any]:
    return template(containers=[{"name": "flow", **fields}])


TEMPLATES: dict[str, tuple[dict[str, Any], str]] = {
    "another's ServiceAccount": ({**FLOW, "serviceAccountName": "runner"}, "may not use ServiceAccount runner"),
    "it in the template": (template(serviceAccountName="runner"), "may not use ServiceAccount runner"),
    "it by its old name": (template(serviceAccount="runner"), "may not use ServiceAccount runner"),
    "a Secret": ({**FLOW, "secrets": ["vault"]}, "name a Secret that you may not read"),
    "a Secret in the environment": (
        {**FLOW, "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "a"}}}]},
        "name a Secret that you may not read",
    ),
    "all of a Secret": ({**FLOW, "envFrom": [{"secretRef": {"name": "vault"}}]}, "name a Secret"),
    "a Secret for a sidecar": (
        template(containers=[{"name": "b", "envFrom": [{"secretRef": {"name": "vault"}}]}]),
        "name a Secret",
    ),
    "a Secret as a volume": (template(volumes=[{"name": "v", "secret": {"secretName": "vault"}}]), "name a Secret"),
    "a Secret among other sources": (
        template(volumes=[{"name": "v", "projected": {"sources": [{"secret": {"name": "vault"}}]}}]),
        "name a Secret",
    ),
    "a Secret for a driver": (
        template(volumes=[{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "vault"}}}]),
        "name a Secret",
    ),
    "a Secret for a share": (
        template(volumes=[{"name": "v", "azureFile": {"secretName": "vault", "shareName": "s"}}]),
        "name a Secret",
    ),
    "a Secret for a disk": (
        template(volumes=[{"name": "v", "iscsi": {"secretRef": {"name": "vault"}}}]),
        "name a Secret",
    ),
    "a label of SELinux": (container(securityContext={"seLinuxOptions": {"type": "spc_t"}}), "SELinux users"),
    "no AppArmor": (
        {
            **FLOW,
            "podTemplate": {
                "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/flow": "unconfined"}}
            },
        },
        "Unconfined profiles",
    ),
    "a folder of the node": (template(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "hostPath is not allowed"),
    "the node's network": (template(hostNetwork=True), "hostNetwork, hostPID and hostIPC are not allowed"),
    "the node's processes": (template(hostPID=True), "hostNetwork, hostPID and hostIPC are not allowed"),
    "a node of its choice": (template(nodeName="control-plane"), "nodeName: is not allowed"),
    "a port of the node": (container(ports=[{"containerPort": 80, "hostPort": 80}]), "hostPort is not allowed"),
    "privileges": (container(securityContext={"privileged": True}), "privileged, hostProcess"),
    "a capability": (container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "privileged, hostProcess"),
    "privileges of an init container": (
        template(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]),
        "privileged, hostProcess",
    ),
    "no seccomp": (template(securityContext={"seccompProfile": {"type": "Unconfined"}}), "privileged, hostProcess"),
    "the cluster's own priority": (template(priorityClassName="system-node-critical"), "is for the cluster itself"),
}


@pytest.mark.parametrize("kind", ["Flow", "Deployment"])
async def test_nobody_gains_rights_by_a_flow(scene: Scene, kind: str) -> None:
    """What its author may not do, its pods may not do for them."""
    plural = f"{kind.lower()}s"
    names = set()
    for title, (wanted, says) in TEMPLATES.items():
        overrides = {"flowRef": {"name": "etl"}, **{k: v for k, v in wanted.items() if k in {"env", "podTemplate"}}}
        spec = wanted if kind == "Flow" else overrides
        if kind == "Deployment" and len(spec) == 1:
            continue  # a Deployment has no such field
        error = await scene.person.refused("POST", scene.path(plural), an_object(kind, "new", spec))
        assert (error.status, says in error.message) == (FORBIDDEN, True), (title, error)
        names.add(title)
    told = audited(scene.audit_log, scene.person.user)
    assert told.count(("create", plural, "new")) == len(names) >= 15


async def test_who_has_the_right_may_use_it_in_a_flow(scene: Scene, client: KubeClient) -> None:
    """One ServiceAccount by its name, up to eight Secrets by theirs; and nobody else may change that Flow's spec."""
    rules = [("", ["serviceaccounts"], ["use"], ["runner"]), ("", ["secrets"], ["use"], SECRETS)]
    await an_account(client, scene.namespace, "trusted", EDITOR, *rules)
    spec = {**template(serviceAccountName="runner"), "serviceAccountName": "runner", "secrets": SECRETS}
    async with signed_in(client, scene.plane, scene.namespace, "trusted") as trusted:
        await trusted.client.create(scene.path("flows"), an_object("Flow", "theirs", spec))
        await trusted.client.create(
            scene.path("deployments"),
            an_object("Deployment", "theirs", {"flowRef": {"name": "theirs"}, "env": [{"name": "A", "value": "b"}]}),
        )
        for says, change in {
            "may not use ServiceAccount person": {"serviceAccountName": "person"},
            "name a Secret that you may not read": {"secrets": [*SECRETS[1:], "payroll"]},
        }.items():
            error = await trusted.refused("POST", scene.path("flows"), an_object("Flow", "new", {**spec, **change}))
            assert says in error.message, error
    path, other_image = scene.path("flows", "theirs"), {"spec": {"image": "evil"}}
    error = await scene.person.refused("PATCH", path, other_image, content_type=MERGE_PATCH)
    assert "may not use ServiceAccount runner" in error.message
    labels = {"metadata": {"labels": {"team": "a"}}}
    assert (await scene.person.client.patch(path, labels))["metadata"]["labels"] == {"team": "a"}


async def test_a_deployment_is_no_way_around_the_flows_rights(scene: Scene, client: KubeClient) -> None:
    """What it changes in the pods of a Flow runs as that Flow's ServiceAccount; when they run, it may say."""
    await client.create(
        scene.path("flows"), an_object("Flow", "theirs", {**FLOW, "serviceAccountName": "runner", "secrets": ["vault"]})
    )
    plain = {"flowRef": {"name": "theirs"}}
    await scene.person.client.create(scene.path("deployments"), an_object("Deployment", "plain", plain))
    evil = {
        "env": [{"name": "LD_PRELOAD", "value": "/x.so"}],
        "podTemplate": {"spec": {"containers": [{"name": "flow", "command": ["sh"]}]}},
    }
    for field, value in evil.items():
        path, body = scene.path("deployments"), an_object("Deployment", "evil", {**plain, field: value})
        await eventually(partial(scene.person.would_be_refused, path, body), what="the policy knows the Flow")
        error = await scene.person.refused("POST", path, body)
        assert "may not use ServiceAccount runner of Flow theirs" in error.message


SECRETS_OF_A_FLOW: dict[str, dict[str, Any]] = {
    title: {**template(**spec), **more}
    for title, spec, more in (
        ("its own list", {}, {"secrets": ["vault"]}),
        ("a source of its environment", {}, {"envFrom": [{"secretRef": {"name": "vault"}}]}),
        (
            "its template's environment",
            {"containers": [{"name": "flow", "envFrom": [{"secretRef": {"name": "vault"}}]}]},
            {},
        ),
        (
            "a variable of an init container",
            {
                "initContainers": [
                    {"name": "a", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "a"}}}]}
                ]
            },
            {},
        ),
        (
            "a projected volume",
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "vault"}}]}}]},
            {},
        ),
        (
            "a driver",
            {"volumes": [{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "vault"}}}]},
            {},
        ),
    )
}


@pytest.mark.parametrize("spec", SECRETS_OF_A_FLOW.values(), ids=SECRETS_OF_A_FLOW)
async def test_a_deployment_is_no_way_to_a_flows_secrets(
    scene: Scene, client: KubeClient, spec: dict[str, Any]
) -> None:
    """Wherever the Flow names one, a changed command in the same pod could read it."""
    await client.create(scene.path("flows"), an_object("Flow", "theirs", spec))
    evil = {"flowRef": {"name": "theirs"}, "env": [{"name": "LD_PRELOAD", "value": "/x.so"}]}
    path, body = scene.path("deployments"), an_object("Deployment", "evil", evil)
    await eventually(partial(scene.person.would_be_refused, path, body), what="the policy knows the Flow")
    error = await scene.person.refused("POST", path, body)
    assert "reads Secrets that you may not" in error.message
    assert "vault" in error.message


def an_automation(**action: Any) -> dict[str, Any]:
    spec = {"trigger": {"run": {"phases": ["Failed"]}}, "actions": [{"name": "it", **action}]}
    return an_object("Automation", "new", spec)


async def test_an_automation_sends_no_secret_that_its_author_may_not_read(scene: Scene) -> None:
    """The operator reads it for the Automation, and would send it wherever the author says."""
    key = {"name": "vault", "key": "password"}
    webhooks = [
        {"url": "https://evil.example", "body": "PagerDuty", "routingKeyFrom": key},
        {"url": "https://evil.example", "secretRef": key},
        {"urlFrom": key},
    ]
    for webhook in webhooks:
        error = await scene.person.refused("POST", scene.path("automations"), an_automation(webhook=webhook))
        assert "name a Secret that you may not read" in error.message, error
    query = {"query": "up", "above": 1}
    for metric in ({**query, "urlFrom": key}, {**query, "url": "https://evil.example", "tokenFrom": key}):
        spec = {"trigger": {"metric": metric}, "actions": [{"name": "it", "event": {"message": "x"}}]}
        error = await scene.person.refused("POST", scene.path("automations"), an_object("Automation", "new", spec))
        assert "name a Secret that you may not read" in error.message, error
    plain = an_automation(webhook={"url": "https://good.example"})
    await scene.person.client.create(scene.path("automations"), plain)


async def test_a_trigger_uses_no_secret_that_its_author_may_not_read(scene: Scene) -> None:
    """The operator makes the Automation that names it, and may."""
    key = {"name": "vault", "key": "password"}
    query = {"query": "up", "above": 1}
    events = [
        {"webhook": {"secretRef": key}},
        {"metric": {**query, "urlFrom": key}},
        {"metric": {**query, "url": "https://evil.example", "tokenFrom": key}},
    ]
    for event in events:
        spec = {"flowRef": {"name": "etl"}, "triggers": [{"name": "it", **event}]}
        error = await scene.person.refused("POST", scene.path("deployments"), an_object("Deployment", "new", spec))
        assert "triggers: name a Secret that you may not read" in error.message, error
    plain = {"name": "it", "metric": {**query, "url": "https://good.example"}}
    made = an_object("Deployment", "new", {"flowRef": {"name": "etl"}, "triggers": [plain]})
    await scene.person.client.create(scene.path("deployments"), made)


async def test_a_strict_namespace_leaves_placement_and_tokens_to_the_platform(scene: Scene, client: KubeClient) -> None:
    """pod-policy=Restricted."""
    await labelled(client, scene.namespace, {"headrace.dev/pod-policy": "Restricted"})
    cases = {
        "are for WorkPools": [template(tolerations=[{"operator": "Exists"}]), template(nodeSelector={"a": "b"})],
        "root and allowPrivilegeEscalation": [
            template(securityContext={"runAsUser": 0}),
            container(securityContext={"allowPrivilegeEscalation": True}),
        ],
        "must have drop: [ALL]": [
            container(securityContext={"capabilities": {"drop": []}}),
            container(securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}}),
        ],
        "tokens of ServiceAccounts": [
            template(automountServiceAccountToken=True),
            template(volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
        ],
    }

    asked = partial(scene.person.would_be_refused, scene.path("flows"))
    probe = an_object("Flow", "probe", template(nodeSelector={"a": "b"}))
    await eventually(partial(asked, probe), what="the label is in force")
    for says, specs in cases.items():
        for spec in specs:
            error = await scene.person.refused("POST", scene.path("flows"), an_object("Flow", "new", spec))
            assert says in error.message
    await scene.person.client.create(scene.path("flows"), an_object("Flow", "plain", FLOW))
    capabilities = {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    bound = container(securityContext={"capabilities": capabilities, "allowPrivilegeEscalation": False})
    await scene.person.client.create(scene.path("flows"), an_object("Flow", "bound", bound))


async def test_who_starts_what_follows_rbac_where_a_namespace_asks_for_it(scene: Scene, client: KubeClient) -> None:
    """run-rights=PerFlow: the verb `run`, by name, for runs, Deployments and Backfills."""
    await labelled(client, scene.namespace, {"headrace.dev/run-rights": "PerFlow"})
    await an_account(client, scene.namespace, "starter", EDITOR, (GROUP, ["flows"], ["run"], ["etl"]))
    backfill = {
        "deploymentRef": {"name": "etl"},
        "partitions": {"range": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z", "cron": "@daily"}},
    }
    async with signed_in(client, scene.plane, scene.namespace, "starter") as starter:
        foreign = a_run("new", flowRef={"name": "payroll"})
        asked = partial(starter.would_be_refused, scene.path("flowruns"), foreign)
        await eventually(asked, what="the label is in force")
        for plural, body in {
            "flowruns": foreign,
            "deployments": an_object("Deployment", "new", {"flowRef": {"name": "payroll"}}),
            "backfills": an_object("Backfill", "new", backfill),
            "automations": an_automation(start={"deployment": "etl"}),
        }.items():
            error = await starter.refused("POST", scene.path(plural), body)
            assert "you need the verb run on" in error.message, error
        for action in ({"run": "Retry"}, {"deployment": {"set": "Resume"}}):
            error = await starter.refused("POST", scene.path("automations"), an_automation(**action))
            assert "you need the verb run on all flows" in error.message, error
        await starter.client.create(scene.path("automations"), an_automation(run="Cancel"))
        await starter.client.create(scene.path("flowruns"), a_run("etl-1"))


NAMES = ["a;reboot", "$(reboot)", "a\nlevel=error", "=cmd|'/c calc'!A1", "../../etc/passwd", "<script>", "a" * 64]


@pytest.mark.parametrize("name", NAMES)
async def test_no_name_breaks_a_shell_a_log_or_a_table(scene: Scene, name: str) -> None:
    """Names of runs are labels of DNS, so no reader has to quote them."""
    error = await scene.person.refused("POST", scene.path("flowruns"), a_run(name))
    assert error.status == 422, error


async def test_what_is_too_large_is_refused_at_the_door(scene: Scene) -> None:
    """Before it is stored, and so before any reader has it."""
    files = {"etl.py": "x" * 300_000}
    flow = an_object("Flow", "new", {"entrypoint": "etl.py:main", "source": {"inline": {"files": files}}})
    assert (await scene.person.refused("POST", scene.path("flows"), flow)).status == 422
    run = a_run("new", parameters={"text": "x" * 4_000_000})
    assert (await scene.person.refused("POST", scene.path("flowruns"), run)).status in {413, 422, 500}
