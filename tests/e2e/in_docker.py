"""The same tests where a Docker engine and kind are: images by `docker build`, nodes by kind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.images.provided import OPERATOR, PROJECT, RUNTIME, TARGETS

NAME = "headrace-e2e"
"""Not that of `headrace dev up`."""


@contextmanager
def kind_cluster(kubeconfig: Path) -> Iterator[Path]:
    """A cluster of kind-config.yaml with our images, deleted afterwards. Raises: CalledProcessError."""
    for target, image in TARGETS.items():
        _run("docker", "build", "--quiet", f"--target={target}", f"--tag={image}", str(PROJECT))
    config = PROJECT / "kind-config.yaml"
    _run(
        "kind", "create", "cluster", f"--name={NAME}", f"--config={config}", f"--kubeconfig={kubeconfig}", "--wait=180s"
    )
    try:
        _run("kind", "load", "docker-image", f"--name={NAME}", RUNTIME, OPERATOR)
        yield kubeconfig
    finally:
        _run("kind", "delete", "cluster", f"--name={NAME}", f"--kubeconfig={kubeconfig}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
