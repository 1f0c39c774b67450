"""The tutorial from top to bottom, on a cluster that it starts itself, as a reader does."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.devcluster import plane
from headrace.devcluster.binaries import Binaries
from tests.pages import DOCS, Shell, blocks


@pytest.fixture
def state_home(binaries: Binaries) -> Iterator[Path]:
    """Where `headrace dev up` keeps its cluster; with a short path, as etcd's socket is in it. It ends with the test."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-tutorial-"))
    directory = folder / "headrace" / "dev"
    directory.mkdir(parents=True)
    guard = plane.tie(directory)
    try:
        yield folder
    finally:
        guard.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def test_the_tutorial_does_what_it_says(state_home, tmp_path, binaries):
    """All of it."""
    assets = tmp_path / "assets"
    assets.mkdir()
    for path in dataclasses.astuple(binaries):
        (assets / path.name).symlink_to(path)
    environment = {
        "XDG_STATE_HOME": str(state_home),
        "KUBEBUILDER_ASSETS": str(assets),
        "PATH": os.pathsep.join((str(assets), str(Path(sys.executable).parent), os.environ["PATH"])),
        "HEADRACE_LIVENESS_PORT": "0",
        "HEADRACE_METRICS_PORT": "0",
    }
    with Shell(tmp_path, **environment) as shell:
        for block in blocks(DOCS / "tutorial.md"):
            shell.follow(block)
