"""What Argo CD and Flux make of objects: calls of the programs around their own code."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.support.helm import provided
from tests.tools import ARGOCD, FLUX

ROOT = Path(__file__).parents[3]
APP = "orders"
MANAGER = "argocd-controller"
"""The field manager of Argo CD's server-side apply."""

Object = dict[str, Any]


class ArgoCD:
    """Argo CD with the settings that the tree ships. `kubeconfig`: of the cluster, None where none is asked."""

    def __init__(self, kubeconfig: Path | None = None) -> None:
        self._program = provided(ARGOCD)
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig or "")}
        self._settings = yaml.safe_load((ROOT / "deploy/argocd/argocd-cm.yaml").read_text())["data"]

    def health(self, *objects: Object) -> list[tuple[str, str]]:
        """Status and message of each."""
        return [(each["status"], each.get("message", "")) for each in self._ask("health", objects=objects)]

    def actions(self, item: Object) -> set[str]:
        """Those that it offers now."""
        return set(self._ask("actions", objects=[item])[0])

    def act(self, item: Object, action: str) -> tuple[str, Object]:
        """("create", an object) or ("patch", a merge patch of the object)."""
        [done] = self._ask("act", objects=[item], action=action)
        return done["operation"], done["content"]

    def tracked(self, *configs: Object, tracking: str = "annotation") -> list[Object]:
        """As it applies them."""
        return self._ask("track", objects=configs, app=APP, tracking=tracking)

    def differences(self, mode: str, pairs: list[tuple[Object, Object]]) -> list[str]:
        """For each pair of manifest and live object "", or what it would change. Modes: client, structured, server."""
        configs, objects = zip(*pairs, strict=True)
        return self._ask("diff", mode=mode, configs=configs, objects=objects, tracking="annotation")

    def plan(self, namespace: str, configs: list[Object], tracking: str = "annotation") -> tuple[set[str], set[str]]:
        """What a sync of these would delete, and what the tree shows below them."""
        found = self._ask("prune", configs=configs, namespaces=[namespace], app=APP, tracking=tracking)
        return set(found["prune"]), set(found["children"])

    def _ask(self, what: str, **question: Any) -> Any:
        question["settings"] = self._settings
        done = subprocess.run(
            [self._program, what],
            input=json.dumps(question),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def flux_statuses(*objects: Object) -> list[tuple[str, str]]:
    """The status of each by kstatus, and by the healthCheckExprs that the tree ships ("" where there is none)."""
    shipped = yaml.safe_load((ROOT / "deploy/flux/health-checks.yaml").read_text())
    question = {"objects": objects, "expressions": shipped["spec"]["healthCheckExprs"]}
    done = subprocess.run(
        [provided(FLUX)], input=json.dumps(question), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [(each["byConventions"], each["byExpressions"]) for each in json.loads(done.stdout)]
