"""
The programs of the control plane, from the first place that has them: KUBEBUILDER_ASSETS, PATH, our own build.

The three Kubernetes components come from one source: those of different versions do not work together, and the
assets that kubebuilder's envtest fetches hold the API server only.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.devcluster.build import COMPONENTS, build, built
from headrace.devcluster.progress import Progress

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where the programs are; every one exists and may be executed."""

    etcd: Path
    apiserver: Path
    controller_manager: Path
    scheduler: Path
    kubectl: Path


def find_binaries(environ: Mapping[str, str]) -> Binaries | None:
    """The programs, or None where some are missing and `provide_binaries` would build."""
    found = _installed(environ)
    ours = built(environ)
    if ours:
        found = {name: found.get(name) or ours / name for name in COMPONENTS}
    return _binaries(found) if set(found) == set(COMPONENTS) else None


def provide_binaries(environ: Mapping[str, str], progress: Progress) -> Binaries:
    """The programs; what is missing is built with Go. Raises: MissingTool, BuildFailed."""
    found = find_binaries(environ)
    if found is None:
        build(environ, progress)
        found = find_binaries(environ)
    assert found is not None, "a build holds every component"
    return found


def _installed(environ: Mapping[str, str]) -> dict[str, Path]:
    """What KUBEBUILDER_ASSETS and PATH hold; of the three Kubernetes components all or none."""
    assets = environ.get("KUBEBUILDER_ASSETS", "")
    path = ":".join(part for part in (assets, environ.get("PATH", "")) if part)
    found = {name: Path(where) for name in COMPONENTS if (where := shutil.which(name, path=path))}
    if not all(name in found for name in KUBERNETES):
        found = {name: where for name, where in found.items() if name not in KUBERNETES}
    return found


def _binaries(found: Mapping[str, Path]) -> Binaries:
    return Binaries(
        etcd=found["etcd"],
        apiserver=found["kube-apiserver"],
        controller_manager=found["kube-controller-manager"],
        scheduler=found["kube-scheduler"],
        kubectl=found["kubectl"],
    )
