"""The operator, installed as people install it: by Helm, from the chart of the tree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.support.helm import NAMESPACE, RELEASE, Helm
from tests.e2e.images.provided import OPERATOR, RUNTIME

WITHIN = "180s"


def install_operator(kubeconfig: Path, home: Path, nodes: Mapping[str, str]) -> None:
    """
    Installs the chart with the images of this tree, and waits until its pods are ready.

    Args:
        nodes: Labels of the nodes that it may run on.
    """
    values = {
        "image": {**_image(OPERATOR), "pullPolicy": "Never"},
        "runtimeImage": _image(RUNTIME),
        "operator": {"nodeSelector": dict(nodes)},
    }
    file = home / "values.json"
    file.write_text(json.dumps(values))
    helm = Helm(home, kubeconfig)
    where = ("--namespace", NAMESPACE, "--create-namespace", "--values", str(file))
    helm.call("install", RELEASE, str(helm.chart), *where, "--wait", "--timeout", WITHIN)


def _image(name: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}
