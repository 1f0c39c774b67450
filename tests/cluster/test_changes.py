"""Flows and Deployments that people change who may edit them and nothing else, on a real API server: whose rights a change needs (docs/security.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.devcluster.crds import OPERATOR_NAMESPACE
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import MERGE_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists
from tests.cluster.support.signin import FORBIDDEN, Signed, an_account, signed_in
from tests.cluster.support.waiting import eventually

GROUP = "headrace.dev"
EDITOR = (GROUP, ["flows", "deployments"], ["get", "list", "watch", "create", "update", "patch", "delete"])
"""What the chart's role headrace-edit says of these."""
EVERYTHING = ("", ["serviceaccounts", "secrets"], ["impersonate", "get"])
"""What Kubernetes' own role `edit` adds."""
OPERATOR = "headrace-operator"
FLOW = {"entrypoint": "etl.py:main", "source": {"image": {}}}
ENV = [{"name": "LD_PRELOAD", "value": "/x.so"}]


class People:
    """A namespace whose Flow `theirs` runs as the ServiceAccount `runner` and reads the Secret `vault`."""

    def __init__(self, admin: KubeClient, namespace: str, **people: Signed) -> None:
        self.admin, self.namespace = admin, namespace
        self.editor, self.trusted, self.operator = people["editor"], people["trusted"], people["operator"]

    def path(self, plural: str, name: str = "") -> str:
        return "/".join(filter(None, (f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}", name)))

    async def deployment(self, name: str, **spec: Any) -> str:
        """The path of a new Deployment of that Flow, made by an administrator."""
        body = an_object("Deployment", name, {"flowRef": {"name": "theirs"}, **spec})
        await self.admin.create(self.path("deployments"), body)
        return self.path("deployments", name)

    async def is_per_flow(self) -> None:
        """The namespace asks for the verb `run`."""
        labels = {"headrace.dev/run-rights": "PerFlow"}
        await self.admin.patch(f"/api/v1/namespaces/{self.namespace}", {"metadata": {"labels": labels}})
        probe = an_object("Deployment", "probe", {"flowRef": {"name": "other"}})
        await eventually(
            lambda: self.editor.would_be_refused(self.path("deployments"), probe), what="the label is in force"
        )


@pytest.fixture
async def people(client: KubeClient, control_plane: Plane, namespace: str) -> AsyncIterator[People]:
    labels = {"headrace.dev/pod-policy": "Baseline"}
    await client.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    await an_account(client, namespace, "editor", EDITOR)
    await an_account(client, namespace, "trusted", EDITOR, EVERYTHING)
    await the_operator(client, namespace)
    async with AsyncExitStack() as open_ones:
        found = {
            name: await open_ones.enter_async_context(signed_in(client, control_plane, home, account))
            for name, home, account in (
                ("editor", namespace, "editor"),
                ("trusted", namespace, "trusted"),
                ("operator", OPERATOR_NAMESPACE, OPERATOR),
            )
        }
        made = People(client, namespace, **found)
        spec = {**FLOW, "serviceAccountName": "runner", "secrets": ["vault"]}
        await client.create(made.path("flows"), an_object("Flow", "theirs", spec))
        probe = an_object("Deployment", "probe", {"flowRef": {"name": "theirs"}, "env": ENV})
        await eventually(
            lambda: made.editor.would_be_refused(made.path("deployments"), probe),
            within_s=60,
            what="the policies are in force and know the Flow",
        )
        yield made


async def the_operator(client: KubeClient, namespace: str) -> None:
    """The account that the policies know by its name, with the right to patch Deployments here."""
    accounts = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts"
    with suppress(AlreadyExists):  # made by an earlier test
        await client.create(accounts, {"metadata": {"name": OPERATOR}})
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rule = {"apiGroups": [GROUP], "resources": ["deployments"], "verbs": ["get", "patch"]}
    await client.create(f"{rbac}/roles", {"metadata": {"name": OPERATOR}, "rules": [rule]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": OPERATOR}
    subject = {"kind": "ServiceAccount", "name": OPERATOR, "namespace": OPERATOR_NAMESPACE}
    body = {"metadata": {"name": OPERATOR}, "roleRef": role, "subjects": [subject]}
    await client.create(f"{rbac}/rolebindings", body)


def an_object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def refusal(who: Signed, path: str, **spec: Any) -> str:
    """What the API server says against this change of a spec."""
    error = await who.refused("PATCH", path, {"spec": spec}, content_type=MERGE_PATCH)
    assert error.status == FORBIDDEN, error
    return error.message


async def change(who: Signed, path: str, **spec: Any) -> dict[str, Any]:
    """The spec after a change that is carried out."""
    found: dict[str, Any] = (await who.client.patch(path, {"spec": spec}))["spec"]
    return found


async def test_what_a_flow_names_is_taken_off_by_those_alone_who_may_use_it(people: People) -> None:
    """Its revision from before stays, and can be run."""
    path = people.path("flows", "theirs")
    says = "may not use ServiceAccount runner, which Flow theirs had until now"
    assert says in await refusal(people.editor, path, serviceAccountName=None, secrets=None)
    await change(people.trusted, path, serviceAccountName=None)
    assert "named Secrets until now that you may not read" in await refusal(people.editor, path, secrets=None)
    await change(people.trusted, path, secrets=None)
    assert (await change(people.editor, path, image="other"))["image"] == "other"


async def test_a_revision_that_is_pinned_is_changed_by_those_alone_who_may_use_everything(people: People) -> None:
    """What it names is not in the Flow any more."""
    await change(people.trusted, people.path("flows", "theirs"), serviceAccountName=None, secrets=None)
    plain = await people.deployment("plain")
    pinned = {"flowRef": {"name": "theirs", "revision": "7f3a9c21bb"}}
    assert (await change(people.editor, plain, **pinned))["flowRef"] == pinned["flowRef"]
    says = "they change the pods of revision 7f3a9c21bb"
    assert says in await refusal(people.editor, plain, env=ENV)
    assert says in await refusal(people.editor, plain, podTemplate={"spec": {"containers": [{"name": "flow"}]}})
    assert (await change(people.trusted, plain, env=ENV))["env"] == ENV
    new = an_object("Deployment", "new", {**pinned, "env": ENV})
    assert says in (await people.editor.refused("POST", people.path("deployments"), new)).message


async def test_who_may_edit_suspends_and_resumes_what_others_have_written(people: People) -> None:
    """As the button of Argo CD does, and somebody on call; with it they change nothing else."""
    path = await people.deployment("theirs", env=ENV)
    assert (await change(people.editor, path, suspend=True))["suspend"] is True
    says = "may not use ServiceAccount runner of Flow theirs"
    assert says in await refusal(people.editor, path, suspend=False, env=[{"name": "A", "value": "b"}])
    assert says in await refusal(people.editor, path, suspend=False, priority=3)
    assert (await change(people.editor, path, suspend=False))["suspend"] is False


async def test_where_rights_go_by_flow_to_resume_needs_the_right_to_start(people: People, control_plane: Plane) -> None:
    """To suspend needs none: that starts nothing."""
    path = await people.deployment("theirs", env=ENV)
    await people.is_per_flow()
    assert (await change(people.editor, path, suspend=True))["suspend"] is True
    says = "to resume this Deployment you need the verb run on flows.headrace.dev named theirs"
    assert says in await refusal(people.editor, path, suspend=False)
    assert says in await refusal(people.editor, path, suspend=None)
    await an_account(people.admin, people.namespace, "starter", EDITOR, (GROUP, ["flows"], ["run"], ["theirs"]))
    async with signed_in(people.admin, control_plane, people.namespace, "starter") as starter:
        assert (await change(starter, path, suspend=False))["suspend"] is False


async def test_the_operator_suspends_and_resumes_for_automations(people: People) -> None:
    """Whatever the Deployment changes in its pods, and whoever may start it; nothing else is its to change."""
    path = await people.deployment("theirs", env=ENV)
    await people.is_per_flow()
    assert (await change(people.operator, path, suspend=True))["suspend"] is True
    assert (await change(people.operator, path, suspend=False))["suspend"] is False
    refused = await refusal(people.operator, path, priority=3)
    # Two policies are against it, and the API server tells of either.
    assert "you need the verb run" in refused or "may not use ServiceAccount runner" in refused, refused
