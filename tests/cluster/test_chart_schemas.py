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
from tests.cluster.support.helm import Helm, provided
from tests.tools import KUBECONFORM

pytestmark = pytest.mark.timeout(1200)
"""Helm and kubeconform may have to be built first."""

OF_OTHERS = ("ServiceMonitor", "PodMonitor", "PrometheusRule", "Certificate", "Issuer")
"""Kinds of operators that are not installed here."""
BRANCHES = {
    "defaults": {},
    "namespaces": {"operator": {"namespaces": ["team-a", "team-b"]}},
    "one replica": {"operator": {"replicas": 1}},
    "SQLite": {"operator": {"replicas": 1}, "history": {"store": "SQLite", "sqlite": {"storageClassName": "fast"}}},
    "SQLite on a claim": {
        "operator": {"replicas": 1},
        "history": {"store": "SQLite", "sqlite": {"existingClaim": "x"}},
    },
    "PostgreSQL": {"history": {"store": "PostgreSQL", "postgresql": {"url": "postgresql://u@db/h"}}},
    "PostgreSQL by Secrets": {
        "history": {
            "store": "PostgreSQL",
            "postgresql": {"urlSecret": {"name": "db"}, "passwordSecret": {"name": "pw"}},
        }
    },
    "no probes, no metrics": {"settings": {"livenessPort": 0, "metricsPort": 0}, "networkPolicy": {"enabled": True}},
    "network policy": {
        "networkPolicy": {
            "enabled": True,
            "egress": [{"ports": [{"port": 5432}]}],
            "ingress": [{"from": [{"namespaceSelector": {}}]}],
        }
    },
    "dashboards": {"metrics": {"dashboards": {"enabled": True, "annotations": {"folder": "headrace"}}}},
    "given account": {
        "serviceAccount": {"create": False, "name": "given"},
        "rbac": {"create": False, "userRoles": False},
    },
    "annotated": {
        "commonLabels": {"team": "data"},
        "serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "a@b"}},
        "metrics": {"service": {"annotations": {"a": "b"}}},
        "rbac": {"aggregateToBuiltIn": False},
    },
    "everything of a pod": {
        "imagePullSecrets": [{"name": "registry"}],
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "operator": {
            "priorityClassName": "system-cluster-critical",
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "system", "operator": "Exists"}],
            "affinity": {"podAntiAffinity": {}},
            "podAnnotations": {"note": "x"},
            "podLabels": {"team": "data"},
            "topologySpread": [],
            "extraEnv": [{"name": "PGSSLMODE", "value": "verify-full"}],
            "extraEnvFrom": [{"secretRef": {"name": "proxy"}}],
            "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        },
    },
}
"""Values by the branches of the templates that they reach."""


@pytest.fixture
async def schemas(client: KubeClient, tmp_path: Path) -> Path:
    """A folder with a schema for each kind that the API server knows, strict, as kubeconform reads them."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    for each in (await client.get("/openapi/v3"))["paths"].values():
        document = await client.get(each["serverRelativeURL"])
        definitions = document.get("components", {}).get("schemas", {})
        strict = json.loads(
            json.dumps({name: _strict(schema) for name, schema in definitions.items()}).replace(
                "#/components/schemas/", "#/definitions/"
            )
        )
        for name, schema in definitions.items():
            for file in _files(schema):
                (folder / file).write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": strict}))
    return folder


def _files(schema: Mapping[str, Any]) -> Iterator[str]:
    kinds = schema.get("x-kubernetes-group-version-kind") or ()
    if len(kinds) == 1:  # those of many are options of requests
        (kind,) = kinds
        group = kind["group"].split(".")[0]
        yield "-".join(filter(None, (kind["kind"].lower(), group, kind["version"]))) + ".json"


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """With no fields but those that it names, all the way down."""
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {name: _strict(field) for name, field in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            result[key] = _strict(schema[key])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in schema:
            result[key] = [_strict(each) for each in schema[key]]
    return result


class Kubeconform:
    """Checks manifests against the schemas of a folder, and asks nobody else."""

    def __init__(self, schemas: Path) -> None:
        location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        skipped = ",".join(OF_OTHERS)
        self._command = [provided(KUBECONFORM), "-strict", "-summary", "-skip", skipped, "-schema-location", location]

    def __call__(self, *files: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._command, *files], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def kubeconform(schemas: Path) -> Kubeconform:
    return Kubeconform(schemas)


def test_every_branch_renders_what_the_api_server_knows(kubeconform: Kubeconform, tmp_path: Path) -> None:
    """Kinds of others aside; and what is wrong is found."""
    helm = Helm(tmp_path / "helm")
    files = []
    for name, values in BRANCHES.items():
        given = tmp_path / "values.yaml"
        given.write_text(yaml.safe_dump(values))
        rendered = tmp_path / f"{name}.yaml"
        rendered.write_text(yaml.safe_dump_all(helm.template(f"--values={given}")))
        files.append(rendered)
    done = kubeconform(*files)
    assert done.returncode == 0, done.stdout
    assert "Skipped: 0" in done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(files[0].read_text().replace("revisionHistoryLimit:", "revisionHistoryLimits:"))
    assert "revisionHistoryLimits" in kubeconform(wrong).stdout


def test_plain_manifests_are_what_the_api_server_knows(kubeconform: Kubeconform) -> None:
    """As they are in the tree."""
    config = Path(__file__).parents[2] / "config"
    done = kubeconform(config / "default" / "headrace.yaml", config / "crds" / "crds.yaml")
    assert done.returncode == 0, done.stdout
    assert "Skipped: 0" in done.stdout
