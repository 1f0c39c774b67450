"""Helm, with its own files in a temporary folder, and what the chart renders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.devcluster.errors import ClusterError
from headrace.devcluster.progress import Silent
from tests.gotools import Tool, provide
from tests.tools import HELM

CHART = Path(__file__).parents[3] / "charts" / "headrace"
RELEASE = "headrace"
OLDEST = "--kube-version=1.32.0"
"""A Helm that was built without its release's flags takes every cluster that it does not ask for 1.20."""
NAMESPACE = "headrace-system"

Manifest = dict[str, Any]


def provided(tool: Tool) -> Path:
    """The program; the test is skipped where it cannot be built."""
    try:
        return provide(tool, Silent()).program
    except ClusterError as error:
        pytest.skip(str(error))


class Helm:
    """
    Calls of helm for the release `headrace` in `headrace-system`.

    Args:
        home: For its cache, configuration and data.
        kubeconfig: Of the cluster; None for what needs none.
        chart: Which one.
    """

    def __init__(self, home: Path, kubeconfig: Path | None = None, chart: Path = CHART) -> None:
        self.program = provided(HELM)
        self.chart = chart
        homes = {f"HELM_{part}_HOME": str(home / part.lower()) for part in ("CACHE", "CONFIG", "DATA")}
        self._environment = {**os.environ, **homes, "KUBECONFIG": str(kubeconfig or home / "none")}

    def call(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """With captured output, as text."""
        done = subprocess.run(
            [self.program, *arguments], env=self._environment, capture_output=True, text=True, check=False, timeout=240
        )
        assert not check or done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done

    def template(self, *options: str) -> list[Manifest]:
        """What it makes of the defaults and these options."""
        done = self.call("template", RELEASE, str(self.chart), "--namespace", NAMESPACE, OLDEST, *options)
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    def refusal(self, *options: str) -> str:
        """What it says where it renders nothing."""
        done = self.call("template", RELEASE, str(self.chart), "--namespace", NAMESPACE, OLDEST, *options, check=False)
        assert done.returncode, "it was rendered"
        return done.stderr


def only(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The one of this kind (and name)."""
    (found,) = [m for m in manifests if m["kind"] == kind and name in {None, m["metadata"]["name"]}]
    return found


def names(manifests: list[Manifest], kind: str) -> list[str]:
    """Of all of this kind, sorted."""
    return sorted(m["metadata"]["name"] for m in manifests if m["kind"] == kind)


def environment(deployment: Mapping[str, Any], **fields: str) -> dict[str, str]:
    """
    The variables of the operator's container.

    Args:
        fields: What a fieldRef stands for, dots as underscores.
    """
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {}
    for each in container["env"]:
        source = (each.get("valueFrom") or {}).get("fieldRef")
        variables[each["name"]] = fields[source["fieldPath"].replace(".", "_")] if source else each.get("value", "")
    return variables
