"""A cluster in Docker, by kind: where a Docker engine answers and kind is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from headrace.devcluster.errors import BuildFailed
from headrace.devcluster.progress import Progress

CONFIG = Path(__file__).parent / "kind-config.yaml"
NAME = "headrace"
ENGINE_WITHIN_S = 5.0
"""An engine that answers later is not one to build a cluster on."""


def docker_answers(environ: Mapping[str, str]) -> bool:
    """Whether a Docker engine runs that this user may use."""
    docker = shutil.which("docker", path=environ.get("PATH"))
    if docker is None:
        return False
    try:
        asked = subprocess.run(
            [docker, "version", "--format", "{{.Server.Version}}"],
            env=dict(environ),
            capture_output=True,
            check=False,
            timeout=ENGINE_WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def installed(environ: Mapping[str, str]) -> bool:
    """Whether kind is on the PATH."""
    return shutil.which("kind", path=environ.get("PATH")) is not None


def exists(environ: Mapping[str, str]) -> bool:
    """Whether our cluster is there. Raises: BuildFailed: kind cannot tell."""
    return NAME in _kind(["get", "clusters"], environ).split()


def up(kubeconfig: Path, environ: Mapping[str, str], progress: Progress) -> None:
    """Makes the cluster unless it is there, and writes its kubeconfig. Raises: BuildFailed: kind ended with an error."""
    if exists(environ):
        _kind(["export", "kubeconfig", "--name", NAME, "--kubeconfig", str(kubeconfig)], environ)
        return
    progress.step("creating a cluster in Docker with kind (a minute or two)")
    where = ["--config", str(CONFIG), "--kubeconfig", str(kubeconfig)]
    _kind(["create", "cluster", "--name", NAME, "--wait", "180s", *where], environ)


def down(kubeconfig: Path, environ: Mapping[str, str]) -> None:
    """Deletes the cluster, with its data. Raises: BuildFailed: kind ended with an error."""
    _kind(["delete", "cluster", "--name", NAME, "--kubeconfig", str(kubeconfig)], environ)


def _kind(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    program = shutil.which("kind", path=environ.get("PATH")) or "kind"
    try:
        done = subprocess.run([program, *arguments], env=dict(environ), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        msg = "kind made this cluster and is not on the PATH any more: https://kind.sigs.k8s.io"
        raise BuildFailed(msg) from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-5:]
        msg = f"kind {' '.join(arguments[:2])} ended with status {done.returncode}:\n  " + "\n  ".join(last)
        raise BuildFailed(msg)
    return done.stdout
