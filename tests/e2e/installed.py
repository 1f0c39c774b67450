"""The operator, installed as people install it: by Helm, from the chart of the tree, where every namespace is strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.helm import NAMESPACE, RELEASE, Helm
from tests.e2e.images.provided import OPERATOR, RUNTIME
from tests.e2e.runs import Kubectl

WITHIN = "180s"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Label of a namespace that takes pods of Pod Security `restricted` alone."""


def restrict_namespaces(kubectl: Kubectl) -> None:
    """The operator's namespace is made, and it and all that are there enforce `restricted`."""
    kubectl("create", "namespace", NAMESPACE)
    labels = [f"{key}={value}" for key, value in RESTRICTED.items()]
    kubectl("label", "namespace", "--all", "--overwrite", *labels)


def install_operator(kubeconfig: Path, home: Path) -> None:
    """Installs the chart, whose values are the defaults but for the images of this tree, and waits until its pods are ready."""
    values = {"image": {**_image(OPERATOR), "pullPolicy": "Never"}, "runtimeImage": _image(RUNTIME)}
    file = home / "values.json"
    file.write_text(json.dumps(values))
    helm = Helm(home, kubeconfig)
    where = ("--namespace", NAMESPACE, "--values", str(file))
    helm.call("install", RELEASE, str(helm.chart), *where, "--wait", "--timeout", WITHIN)


def upgrade_operator(helm: Helm, *values: str) -> None:
    """Changes these values of the release, such as `dashboard.enabled=true`, and waits until its pods are ready."""
    options = ("--reuse-values", f"--set={','.join(values)}", "--wait", "--timeout", WITHIN)
    helm.call("upgrade", RELEASE, str(helm.chart), "--namespace", NAMESPACE, *options)


async def operators(client: KubeClient) -> list[dict[str, Any]]:
    """The operator's pods."""
    selected = {"labelSelector": "app.kubernetes.io/component=operator"}
    return await client.list(f"/api/v1/namespaces/{NAMESPACE}/pods", selected)


def _image(name: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}
