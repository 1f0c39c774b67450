"""What the chart renders, by each of its values, is what this API server knows: no field is misspelt or in the wrong place."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.branches import BRANCHES
from tests.cluster.support.helm import Helm, provided
from tests.cluster.support.schemas import strict
from tests.tools import KUBECONFORM

pytestmark = pytest.mark.timeout(1200)
"""Helm and kubeconform may have to be built first."""

OF_OTHERS = ("ServiceMonitor", "PodMonitor", "PrometheusRule", "Certificate", "Issuer")
"""Kinds of operators that are not installed here."""


async def write_schemas(client: KubeClient, folder: Path, kinds: set[str]) -> None:
    """A strict schema for each of these kinds, from all that the API server says of them, as kubeconform reads them."""
    for each in (await client.get("/openapi/v3"))["paths"].values():
        definitions = (await client.get(each["serverRelativeURL"])).get("components", {}).get("schemas", {})
        files = {file: name for name, schema in definitions.items() for file in _files(schema, kinds)}
        if files:
            text = json.dumps({name: strict(schema) for name, schema in definitions.items()})
            closed = json.loads(text.replace("#/components/schemas/", "#/definitions/"))
            for file, name in files.items():
                (folder / file).write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": closed}))


def _files(schema: Mapping[str, Any], kinds: set[str]) -> Iterator[str]:
    found = schema.get("x-kubernetes-group-version-kind") or ()
    if len(found) == 1 and found[0]["kind"] in kinds:  # those of many are options of requests
        group = found[0]["group"].split(".")[0]
        yield "-".join(filter(None, (found[0]["kind"].lower(), group, found[0]["version"]))) + ".json"


class Kubeconform:
    """Checks manifests against the schemas of a folder, and asks nobody else."""

    def __init__(self, schemas: Path) -> None:
        location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        skipped = ",".join(OF_OTHERS)
        self._command = [provided(KUBECONFORM), "-strict", "-summary", "-skip", skipped, "-schema-location", location]

    def __call__(self, *files: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._command, *files], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def rendered(tmp_path: Path) -> list[Path]:
    """A file for each branch."""
    helm = Helm(tmp_path / "helm")
    given = tmp_path / "values.yaml"
    files = []
    for name, values in BRANCHES.items():
        given.write_text(yaml.safe_dump(values))
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump_all(helm.template(f"--values={given}")))
    return files


@pytest.fixture
def schemas(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    return folder


async def test_all_that_is_rendered_is_known_to_the_api_server(
    client: KubeClient, rendered: list[Path], schemas: Path, tmp_path: Path
) -> None:
    """Each branch, and the plain manifests; kinds of others aside. What is wrong is found."""
    config = Path(__file__).parents[2] / "config"
    files = [*rendered, config / "default" / "headrace.yaml", config / "crds" / "crds.yaml"]
    kinds = {each["kind"] for file in files for each in yaml.load_all(file.read_text(), yaml.CSafeLoader)}
    await write_schemas(client, schemas, kinds)
    kubeconform = Kubeconform(schemas)
    done = kubeconform(*files)
    assert done.returncode == 0, done.stdout
    assert "Skipped: 0" in done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(rendered[0].read_text().replace("revisionHistoryLimit:", "revisionHistoryLimits:"))
    assert "revisionHistoryLimits" in kubeconform(wrong).stdout


def test_the_api_server_takes_priority_levels_of_its_own(kubectl, tmp_path: Path) -> None:
    """What no schema says: names, numbers and rules are held to each other."""
    made = Helm(tmp_path / "helm").template("--set=apiPriority.enabled=true")
    levels = [each for each in made if each["apiVersion"].startswith("flowcontrol.")]
    text = yaml.safe_dump_all(levels)
    done = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    assert done.stdout.count("created (server dry run)") == len(levels) == 4
