"""The first v1beta1, before there is one: a second served version, the storage moved, an operator that does not notice."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.api.crd import custom_resource_definitions
from headrace.devcluster.crds import COLLECTION, MANAGER
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import APPLY_PATCH, KubeClient
from headrace.kubeapi.errors import ApiError, Invalid
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import a_world

CORPUS = Path(__file__).parents[1] / "versions" / "v1alpha1"
ALPHA, BETA = "/apis/headrace.dev/v1alpha1", "/apis/headrace.dev/v1beta1"
STORED = [each for path in sorted(CORPUS.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
PLURALS = {each["spec"]["names"]["kind"]: each["spec"]["names"]["plural"] for each in custom_resource_definitions()}


def with_beta(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with a v1beta1 of the same schema, which is what is stored."""
    after = copy.deepcopy(dict(definition))
    (alpha,) = after["spec"]["versions"]
    after["spec"]["versions"] = [{**alpha, "storage": False}, {**alpha, "name": "v1beta1"}]
    after["spec"]["conversion"] = {"strategy": "None"}
    return after


async def apply(admin: KubeClient, definition: Mapping[str, Any], *, dry_run: bool = False) -> None:
    """As Helm and kubectl do."""
    params = {**MANAGER, **({"dryRun": "All"} if dry_run else {})}
    path = f"{COLLECTION}/{definition['metadata']['name']}"
    await admin.patch(path, dict(definition), content_type=APPLY_PATCH, params=params)


async def stored_versions(admin: KubeClient, name: str) -> list[str]:
    """In which versions etcd may hold its objects."""
    versions: list[str] = (await admin.get(f"{COLLECTION}/{name}"))["status"]["storedVersions"]
    return versions


async def served(admin: KubeClient, path: str) -> bool:
    """Whether the API server answers there by now."""
    try:
        await admin.get(path, {"limit": "1"})
    except ApiError:
        return False
    return True


async def test_storage_moves_to_another_version_while_the_operator_works(
    own_plane: Plane, admin: KubeClient, tmp_path: Path
):
    """Runs go on, both versions tell the same, and after the migration the old one may go."""
    namespace = "default"
    environment = {**os.environ, "KUBECONFIG": str(own_plane.kubeconfig)}
    async with a_world(admin, own_plane.kubeconfig, namespace, tmp_path) as world:
        await world.a_flow()
        await world.a_run("before")
        await world.finished("before", within_s=60)

        for definition in custom_resource_definitions():
            await apply(admin, with_beta(definition))
        runs = f"namespaces/{namespace}/flowruns"
        await eventually(lambda: served(admin, f"{BETA}/{runs}"), within_s=60)
        await world.a_run("after")
        await world.finished("after", within_s=60)

        for name in ("before", "after"):
            old, new = [await admin.get(f"{root}/{runs}/{name}") for root in (ALPHA, BETA)]
            assert {**old, "apiVersion": ""} == {**new, "apiVersion": ""}
        name = "flowruns.headrace.dev"
        only_beta = with_beta(next(d for d in custom_resource_definitions() if d["metadata"]["name"] == name))
        del only_beta["spec"]["versions"][0]
        assert await stored_versions(admin, name) == ["v1alpha1", "v1beta1"]
        with pytest.raises(Invalid, match="storedVersions"):
            await apply(admin, only_beta, dry_run=True)

        before = (await admin.get(f"{BETA}/{runs}/before"))["metadata"]["resourceVersion"]
        command = [sys.executable, "-m", "headrace_operator.migrate_storage"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: ASYNC221 - nothing else is to happen meanwhile
        assert done.returncode == 0, done.stderr
        for definition in custom_resource_definitions():
            assert await stored_versions(admin, definition["metadata"]["name"]) == ["v1beta1"]
        assert (await admin.get(f"{BETA}/{runs}/before"))["metadata"]["resourceVersion"] != before
        await apply(admin, only_beta, dry_run=True)

        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: ASYNC221 - as above
        assert again.stdout.count("is stored in one version") == len(custom_resource_definitions())
        await world.a_run("afterwards")
        await world.finished("afterwards", within_s=60)


@pytest.mark.parametrize("obj", STORED, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
async def test_what_the_last_release_stored_is_good_still(client: KubeClient, namespace: str, obj: dict[str, Any]):
    """Spec and status are taken, and come back as they were: nothing is refused, and nothing pruned."""
    within = "" if obj["kind"] in {"WorkPool", "ConcurrencyLimit"} else f"/namespaces/{namespace}"
    collection = f"{ALPHA}{within}/{PLURALS[obj['kind']]}"
    name = obj["metadata"]["name"] if within else f"{obj['metadata']['name']}-{namespace}"
    path = f"{collection}/{name}"
    try:
        await client.create(collection, {**obj, "metadata": {**obj["metadata"], "name": name}})
        stored = await client.patch(f"{path}/status", {"status": obj.get("status", {})})

        assert stored["spec"] == obj["spec"]
        assert stored.get("status", {}) == obj.get("status", {})
    finally:
        await client.delete(path)
