"""The images as they are assembled: the same sources, the same bytes."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from headrace.devcluster.progress import Silent
from tests.e2e.images.provided import TARGETS, assemble, provide_images
from tests.e2e.nodes.machine import problem


def index(archive: Path) -> object:
    """The digest of everything that is in an image."""
    with tarfile.open(archive) as tar:
        opened = tar.extractfile("index.json")
        assert opened is not None
        return json.load(opened)


@pytest.mark.timeout(1200)
def test_the_same_sources_give_the_same_images(tmp_path: Path) -> None:
    """Assembled a second time, in another folder and at another time, each image has the digest of the first one."""
    if trouble := problem():
        pytest.skip(trouble)
    first = provide_images(Silent())

    assemble(first.base, first.wheels, tmp_path, tmp_path / "installed")

    assert {name: index(tmp_path / f"{name}.tar") for name in TARGETS} == {
        name: index(first.folder / f"{name}.tar") for name in TARGETS
    }
