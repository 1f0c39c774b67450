"""A namespace that is run from Git, on a real API server, with Argo CD's own code to say what it would do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.api import keys
from headrace.kubeapi.client import KubeClient
from tests.cluster.conftest import Kubectl
from tests.cluster.support.gitops import MANAGER, ROOT, ArgoCD
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

pytestmark = pytest.mark.timeout(5400)  # the first test builds a program around Argo CD
GITOPS = ROOT / "examples" / "gitops"
NAMESPACED = {"Flow", "Deployment", "FlowRun", "Backfill"}
RUN = {"deploymentRef": {"name": "orders"}}
FAILS = Ends(1)
DONE = Ends(message=report())
EXAMPLES = sorted((ROOT / "examples").glob("*/*.yaml"))


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    """With runs that end only when they are told to."""
    async with a_world(client, kubeconfig, namespace, tmp_path, status_delay_s=0.1) as made:
        made.puppet.script = lambda _pod: Runs(on_term=DONE)
        yield made


@pytest.fixture(scope="session")
def argocd(kubeconfig: Path) -> ArgoCD:
    """Argo CD, looking at the cluster."""
    return ArgoCD(kubeconfig)


class Repository:
    """The manifests of one commit, and what a sync does with them."""

    def __init__(self, kubectl: Kubectl, argocd: ArgoCD, world: World) -> None:
        self._kubectl = kubectl
        self.argocd = argocd
        self.world = world
        self.configs: list[Any] = []

    def read(self, overlay: str) -> None:
        """The overlay as kustomize renders it, without hooks, what belongs to the cluster, and retries that take their time."""
        text = self._kubectl("kustomize", str(GITOPS / "orders" / "overlays" / overlay)).stdout
        self.take([each for each in yaml.safe_load_all(text) if not is_hook(each)])
        flow = self.config("Flow")
        del flow["spec"]["limits"], flow["spec"]["pools"], flow["spec"]["retries"]

    def take(self, manifests: list[Any]) -> None:
        """As Argo CD applies them: in its namespace, with its mark."""
        for each in manifests:
            each["metadata"]["namespace"] = self.world.namespace
        self.configs = self.argocd.tracked(*manifests)

    def config(self, kind: str) -> Any:
        """The manifest of that kind."""
        return next(each for each in self.configs if each["kind"] == kind)

    def sync(self, *options: str) -> None:
        """By server-side apply, unless told otherwise."""
        how = options or ("--server-side", "--field-manager", MANAGER)
        self._kubectl("apply", *how, "-f", "-", input=yaml.safe_dump_all(self.configs))

    async def live(self) -> list[Any]:
        """The objects that are synced, as they are."""
        return [await self.world.get(each["kind"], each["metadata"]["name"]) for each in self.configs]

    async def healthy(self) -> list[Any]:
        """They, once all are shown as Healthy."""

        async def look() -> list[Any] | None:
            found = await self.live()
            return found if {status for status, _ in self.argocd.health(*found)} == {"Healthy"} else None

        return await eventually(look, within_s=120, what="the application is healthy")

    async def differences(self, mode: str) -> list[str]:
        """What a sync would change."""
        pairs = list(zip(self.configs, await self.live(), strict=True))
        return [told for told in self.argocd.differences(mode, pairs) if told]


@pytest.fixture
def repository(kubectl: Kubectl, argocd: ArgoCD, world: World) -> Repository:
    return Repository(kubectl, argocd, world)


def is_hook(manifest: Any) -> bool:
    return "argocd.argoproj.io/hook" in (manifest["metadata"].get("annotations") or {})


def managers(item: Any, *, of_spec: bool) -> set[str]:
    """Who owns fields of spec or metadata, or of status."""
    entries = item["metadata"]["managedFields"]
    return {each["manager"] for each in entries if ("f:status" in each["fieldsV1"]) is not of_spec}


async def test_a_commit_changes_image_and_schedule(repository: Repository, world: World, argocd: ArgoCD) -> None:
    """Synced, it is healthy; the run in flight ends on the version that it began with, the next one has the new."""
    repository.read("prod")
    repository.sync()
    await repository.healthy()
    before = (await world.status("Flow", "orders"))["revision"]
    await world.a_run("early", **RUN)
    await world.run_is("early", "Running")

    repository.config("Flow")["spec"]["image"] = "registry.example.com/orders:1.5.0"
    repository.config("Deployment")["spec"]["schedules"][0]["cron"] = "30 6 * * *"
    assert len(await repository.differences("server")) == 2
    repository.sync()
    deployment, _ = sorted(await repository.healthy(), key=lambda each: each["kind"])
    [next_time] = deployment["status"]["nextSchedules"]
    assert next_time["time"][-9:] in {"05:30:00Z", "06:30:00Z"}  # 06:30 in London
    after = (await world.status("Flow", "orders"))["revision"]
    assert after != before

    pod = await world.pod("early-1")
    assert pod["spec"]["containers"][0]["image"].endswith("orders:1.4.2")
    world.puppet.end("early-1")
    assert (await world.finished("early"))["flowRevision"] == before
    await world.a_run("late", **RUN)
    await world.run_is("late", "Running")
    pod = await world.pod("late-1")
    assert pod["spec"]["containers"][0]["image"].endswith("orders:1.5.0")
    assert await repository.differences("server") == []


async def test_what_the_operator_does_is_no_difference(repository: Repository, world: World) -> None:
    """By each way to compare; applying again writes nothing, and the operator owns nothing but status."""
    repository.read("dev")
    repository.sync()
    await repository.healthy()
    world.puppet.script = lambda _pod: FAILS
    await world.a_run("failing", **RUN)
    await world.finished("failing")
    await eventually(lambda: _counted(world), within_s=90, what="the Deployment tells of the run")

    assert {mode: await repository.differences(mode) for mode in ("client", "structured", "server")} == {
        "client": [],
        "structured": [],
        "server": [],
    }
    before = await repository.live()
    repository.sync()
    after = await repository.live()
    assert [each["metadata"]["resourceVersion"] for each in after] == [
        each["metadata"]["resourceVersion"] for each in before
    ]
    assert {each["metadata"]["generation"] for each in after} == {1}
    assert all(managers(each, of_spec=True) == {MANAGER} for each in after)


async def test_no_example_is_changed_by_the_operator(
    repository: Repository, world: World, argocd: ArgoCD, kubectl: Kubectl
) -> None:
    """Every manifest of examples/ that has a namespace, after the operator has worked on it."""
    world.puppet.script = lambda _pod: DONE
    found = {
        (each["kind"], each["metadata"]["name"]): each
        for path in EXAMPLES
        for each in yaml.safe_load_all(path.read_text())
        if each["kind"] in NAMESPACED
    }
    repository.take(list(found.values()))
    repository.sync()

    async def looked_at() -> bool:
        return all("status" in each for each in await repository.live())

    await eventually(looked_at, within_s=60, what="the operator has seen them all")
    assert {mode: await repository.differences(mode) for mode in ("client", "structured", "server")} == {
        "client": [],
        "structured": [],
        "server": [],
    }
    assert all(managers(each, of_spec=True) == {MANAGER} for each in await repository.live())


async def _counted(world: World) -> bool:
    return "lastRun" in await world.status("Deployment", "orders")


async def test_client_side_apply_is_no_difference_either(repository: Repository) -> None:
    """With the annotation of kubectl, from which Argo CD compares three ways."""
    repository.read("staging")
    repository.sync("--server-side=false")
    await repository.healthy()
    assert await repository.differences("client") == []


@pytest.mark.parametrize("tracking", ["annotation", "label"])
async def test_runs_are_children_and_never_pruned(
    repository: Repository, world: World, argocd: ArgoCD, kubectl: Kubectl, tracking: str
) -> None:
    """Runs of schedules, of backfills and of people, pods and revisions stay; what is taken out of Git goes."""
    repository.read("dev")
    repository.configs = argocd.tracked(*repository.configs, tracking=tracking)
    repository.sync()
    await repository.healthy()
    spec = {"deploymentRef": {"name": "orders"}, "partitions": {"list": [{"name": "a"}]}}
    backfill = {"apiVersion": keys.API_VERSION, "kind": "Backfill", "metadata": {"name": "again"}, "spec": spec}
    backfill["metadata"]["namespace"] = world.namespace
    kubectl("apply", "-f", "-", input=yaml.safe_dump(argocd.tracked(backfill, tracking=tracking)[0]))
    await world.a_run("by-hand", **RUN)
    operation, run = argocd.act(await world.get("Deployment", "orders"), "run-now")
    assert operation == "create"
    kubectl("create", "-f", "-", input=yaml.safe_dump(run))
    made = run["metadata"]["name"]

    async def runs() -> set[str] | None:
        found = {each["metadata"]["name"] for each in await world.list("FlowRun")}
        return found if len(found) == 3 else None

    names = await eventually(runs, within_s=90, what="the backfill has its run")
    planned, children = argocd.plan(world.namespace, repository.configs, tracking)
    assert planned == {"Backfill/again"}
    assert f"FlowRun/{made}" in children
    assert names >= {made, "by-hand"}
    assert any(each.startswith("ControllerRevision/orders-") for each in children)


async def test_health_of_real_objects(repository: Repository, world: World, argocd: ArgoCD) -> None:
    """From the moment of their creation through each phase, as the operator brings them about."""

    async def shown(kind: str, name: str, *wanted: str) -> str:
        """Its message, once it is shown so."""

        async def look() -> str | None:
            [(status, message)] = argocd.health(await world.get(kind, name))
            return message or "-" if status in wanted else None

        return await eventually(look, within_s=90, what=f"{kind} {name} is {wanted}")

    assert argocd.health(await world.create("Deployment", "orders", flowRef={"name": "etl"})) == [
        ("Progressing", "waits for the operator")
    ]
    assert "FlowNotFound" in await shown_as(world, argocd, "Deployment", "FlowNotFound")
    await world.a_flow()
    await shown("Flow", "etl", "Healthy")
    await shown("Deployment", "orders", "Healthy")

    await world.a_run("good", **RUN)
    await world.run_is("good", "Running")
    await shown("FlowRun", "good", "Progressing")
    assert argocd.actions(await world.get("FlowRun", "good")) == {"cancel", "suspend"}
    world.puppet.end("good-1")
    await shown("FlowRun", "good", "Healthy")

    world.puppet.script = lambda _pod: Runs()
    await world.a_run("held", **RUN, suspend=True)
    await shown("FlowRun", "held", "Suspended")
    _, patch = argocd.act(await world.get("FlowRun", "held"), "resume")
    await world.client.patch(world.path("FlowRun", "held"), patch)
    await world.run_is("held", "Running")
    _, patch = argocd.act(await world.get("FlowRun", "held"), "cancel")
    await world.client.patch(world.path("FlowRun", "held"), patch)
    assert "Cancel" in await shown("FlowRun", "held", "Healthy")

    world.puppet.script = lambda _pod: FAILS
    await world.a_run("bad", **RUN)
    await shown("FlowRun", "bad", "Degraded")
    operation, again = argocd.act(await world.get("FlowRun", "bad"), "retry")
    assert operation == "create"
    world.puppet.script = lambda _pod: DONE
    await world.client.create(world.path("FlowRun"), again)
    await shown("FlowRun", again["metadata"]["name"], "Healthy")
    await shown("Deployment", "orders", "Healthy")


async def shown_as(world: World, argocd: ArgoCD, kind: str, reason: str) -> str:
    """The message that tells of the reason."""

    async def look() -> str | None:
        [(_, message)] = argocd.health(await world.get(kind, "orders"))
        return message if reason in message else None

    return await eventually(look, within_s=90, what=f"{kind} tells of {reason}")


async def test_an_action_of_a_person_is_no_difference(repository: Repository, world: World, argocd: ArgoCD) -> None:
    """As long as Git does not name the field; where it does, Git wins."""
    repository.read("dev")
    repository.sync()
    deployment, _ = sorted(await repository.healthy(), key=lambda each: each["kind"])
    _, patch = argocd.act(deployment, "suspend")
    await world.client.patch(world.path("Deployment", "orders"), patch)
    assert {mode: await repository.differences(mode) for mode in ("client", "structured", "server")} == {
        "client": [],
        "structured": [],
        "server": [],
    }
    repository.sync()
    assert (await world.get("Deployment", "orders"))["spec"]["suspend"] is True

    repository.config("Deployment")["spec"]["suspend"] = False
    assert len(await repository.differences("structured")) == 1


@pytest.mark.parametrize("overlay", ["dev", "staging", "prod"])
def test_the_api_server_takes_every_overlay(kubectl: Kubectl, namespace: str, overlay: str) -> None:
    """Hooks included; a warning would be about an unknown field."""
    text = kubectl("kustomize", str(GITOPS / "orders" / "overlays" / overlay)).stdout
    text = text.replace(f"namespace: orders-{overlay}", f"namespace: {namespace}")
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    assert done.stdout.count("created (server dry run)") == 5
    assert not done.stderr


def test_the_app_of_apps_names_what_is_there(kubectl: Kubectl) -> None:
    """Every path exists; definitions come before the operator, that before pools and limits, those before flows."""
    found = list(yaml.safe_load_all(kubectl("kustomize", str(GITOPS / "apps")).stdout))
    waves = {
        f"{each['kind']}/{each['metadata']['name']}": int(
            (each["metadata"].get("annotations") or {}).get("argocd.argoproj.io/sync-wave", 0)
        )
        for each in found
    }
    assert sorted(waves, key=lambda name: waves[name]) == [
        "AppProject/orders",
        "Application/headrace-crds",
        "Application/headrace-operator",
        "Application/headrace-platform",
        "ApplicationSet/orders",
    ]
    paths = [each["spec"]["source"]["path"] for each in found if each["kind"] == "Application"]
    assert all((ROOT / path).is_dir() for path in paths)
    platform = kubectl("kustomize", str(GITOPS / "platform")).stdout
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=platform)
    assert done.stdout.count("created (server dry run)") == 2
