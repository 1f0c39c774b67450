"""
OCI archives, the same bytes from the same content: sorted, owned by root, without times.

    oci-layout, index.json            what containerd reads the name from
    blobs/sha256/…                    a manifest, a configuration, and the layers as plain tars
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.images.dockerfile import Config

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MEDIA = "application/vnd.oci.image"
EPOCH = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Layer:
    """A tar of files; `digest` is that of its bytes, `sha256:…`."""

    path: Path
    digest: str
    size: int


def architecture() -> str:
    """Of this machine, as images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def write_layer(folder: Path, target: Path) -> Layer:
    """All of a folder as a layer, its own modes kept."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            _add(tar, path, str(path.relative_to(folder)))
    return Layer(target, _digest(target), target.stat().st_size)


def write_archive(target: Path, name: str, layers: Sequence[Layer], config: Config) -> None:
    """An archive that holds one image under `name`, such as `docker.io/headrace/runtime:e2e`."""
    described = _encoded(_config(layers, config))
    manifest = _encoded(_manifest(described, layers))
    listed = {
        **_descriptor("manifest.v1+json", manifest),
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]},
        "platform": {"architecture": architecture(), "os": "linux"},
    }
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        _add_bytes(tar, "oci-layout", _encoded({"imageLayoutVersion": "1.0.0"}))
        _add_bytes(tar, "index.json", _encoded({"schemaVersion": 2, "manifests": [listed]}))
        for blob in (described, manifest):
            _add_bytes(tar, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        for layer in layers:
            _add(tar, layer.path, f"blobs/sha256/{layer.digest.removeprefix('sha256:')}", mode=0o644)


def _manifest(described: bytes, layers: Sequence[Layer]) -> dict[str, Any]:
    kind = f"{MEDIA}.layer.v1.tar"
    return {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _descriptor("config.v1+json", described),
        "layers": [{"mediaType": kind, "digest": each.digest, "size": each.size} for each in layers],
    }


def _config(layers: Sequence[Layer], config: Config) -> dict[str, Any]:
    container = {
        "User": config.user,
        "Env": [f"{name}={value}" for name, value in config.environment],
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "WorkingDir": config.folder,
        "ExposedPorts": {f"{port}/tcp": {} for port in config.ports},
    }
    return {
        "created": EPOCH,
        "architecture": architecture(),
        "os": "linux",
        "config": {name: value for name, value in container.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [each.digest for each in layers]},
    }


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": f"{MEDIA}.{kind}", "digest": digest, "size": len(content)}


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _add(tar: tarfile.TarFile, path: Path, name: str, *, mode: int | None = None) -> None:
    status = path.lstat()
    entry = tarfile.TarInfo(name)
    entry.mode = (status.st_mode & 0o7777) if mode is None else mode
    if path.is_symlink():
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        tar.addfile(entry)
    elif path.is_dir():
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = status.st_size
        with path.open("rb") as content:
            tar.addfile(entry, content)


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
