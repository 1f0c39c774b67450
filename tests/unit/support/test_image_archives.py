"""Archives of images: the same bytes from the same content, in a form that container engines read."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from tests.e2e.images.archive import write_archive, write_layer
from tests.e2e.images.dockerfile import Config

NAME = "docker.io/headrace/runtime:e2e"
CONFIG = Config(environment=(("HOME", "/tmp"),), user="65532:65532", command=("python3",), ports=("8080",))


def a_folder(where: Path, *, names: list[str], changed_s: int) -> Path:
    """Files that were written in this order, at this time, and a link."""
    where.mkdir()
    for name in names:
        file = where / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"content of {name}")
        file.chmod(0o755 if name.endswith(".sh") else 0o644)
        os.utime(file, (changed_s, changed_s))
    (where / "link").symlink_to("b/run.sh")
    return where


def an_archive(folder: Path, target: Path) -> Path:
    """Of one layer."""
    write_archive(target, NAME, [write_layer(folder, target.with_suffix(".layer"))], CONFIG)
    return target


def blob(tar: tarfile.TarFile, digest: str) -> bytes:
    """The content that a digest names; checked."""
    opened = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
    assert opened is not None
    content = opened.read()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither the order in which files came nor the time at which they did is in an image."""
    one = a_folder(tmp_path / "one", names=["a.txt", "b/run.sh"], changed_s=1_000_000_000)
    two = a_folder(tmp_path / "two", names=["b/run.sh", "a.txt"], changed_s=1_700_000_000)

    assert an_archive(one, tmp_path / "1.tar").read_bytes() == an_archive(two, tmp_path / "2.tar").read_bytes()


def test_other_content_gives_another_digest(tmp_path: Path) -> None:
    """A changed mode is a change."""
    one = a_folder(tmp_path / "one", names=["a.txt", "b/run.sh"], changed_s=0)
    before = write_layer(one, tmp_path / "before").digest
    (one / "a.txt").chmod(0o600)

    assert write_layer(one, tmp_path / "after").digest != before


def test_every_blob_is_what_its_digest_says(tmp_path: Path) -> None:
    """From the index over the manifest to the layer; the layer keeps modes and links, and belongs to root."""
    archive = an_archive(a_folder(tmp_path / "one", names=["b/run.sh"], changed_s=5), tmp_path / "1.tar")

    with tarfile.open(archive) as tar:
        index: dict[str, Any] = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        (listed,) = index["manifests"]
        manifest = json.loads(blob(tar, listed["digest"]))
        config = json.loads(blob(tar, manifest["config"]["digest"]))
        (layer,) = manifest["layers"]
        (tmp_path / "layer.tar").write_bytes(blob(tar, layer["digest"]))

    assert listed["annotations"]["io.containerd.image.name"] == NAME
    assert config["config"]["User"] == "65532:65532"
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    with tarfile.open(tmp_path / "layer.tar") as files:
        found = {each.name: (oct(each.mode), each.uid, each.mtime, each.linkname) for each in files}
    assert found["b/run.sh"] == ("0o755", 0, 0, "")
    assert found["link"] == ("0o777", 0, 0, "b/run.sh")
