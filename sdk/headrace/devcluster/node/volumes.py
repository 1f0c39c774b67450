"""
The volumes of a pod as folders of this machine.

What comes from the API is written as a kubelet writes it, so that a change shows in all files at once:

    volume/file.txt -> ..data/file.txt        ..data -> ..1714_2        ..1714_2/file.txt
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.devcluster.node.fields import field_value, resource_value
from headrace.devcluster.node.sources import MissingSource, Sources

FILE_MODE = 0o644
API_BACKED = ("configMap", "secret", "downwardAPI", "projected")
TOKEN_LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class File:
    """The content of one file of a volume."""

    content: bytes
    mode: int = FILE_MODE


@dataclass(frozen=True, slots=True)
class Volumes:
    """
    The volumes of one pod.

    Attributes: `folder` is the pod's alone; `allocatable` the node's.
    """

    pod: Mapping[str, Any]
    folder: Path
    sources: Sources
    allocatable: Mapping[str, str]

    async def prepare(self) -> None:
        """
        Makes every volume, or brings what comes from the API up to date.

        Raises: MissingSource: with the kubelet's text for the event FailedMount.
        """
        for volume in self.pod["spec"].get("volumes") or ():
            try:
                await self._prepare(volume)
            except (MissingSource, OSError) as error:
                msg = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                raise MissingSource(msg) from error

    def path(self, name: str) -> Path:
        """Where a volume is on this machine."""
        volume = next(each for each in self.pod["spec"]["volumes"] if each["name"] == name)
        return Path(volume["hostPath"]["path"]) if "hostPath" in volume else self.folder / name

    def from_api(self, name: str) -> bool:
        """Whether the volume holds API objects, which containers only read."""
        volume = next(each for each in self.pod["spec"]["volumes"] if each["name"] == name)
        return any(kind in volume for kind in API_BACKED)

    @property
    def any_from_api(self) -> bool:
        """Whether there is anything to bring up to date."""
        return any(self.from_api(each["name"]) for each in self.pod["spec"].get("volumes") or ())

    async def _prepare(self, volume: Mapping[str, Any]) -> None:
        name = volume["name"]
        if "hostPath" in volume:
            _host_path(volume["hostPath"])
        elif "emptyDir" in volume:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        elif self.from_api(name):
            write_files(self.folder / name, await self._files(volume))
        else:
            kinds = ", ".join(key for key in volume if key != "name")
            msg = f"a local node has no volumes of this kind: {kinds}"
            raise MissingSource(msg)

    async def _files(self, volume: Mapping[str, Any]) -> dict[str, File]:
        if "projected" not in volume:
            kind = next(kind for kind in API_BACKED if kind in volume)
            return await self._source(kind, volume[kind], volume[kind].get("defaultMode", FILE_MODE))
        files: dict[str, File] = {}
        mode = volume["projected"].get("defaultMode", FILE_MODE)
        for each in volume["projected"].get("sources") or ():
            kind, source = next(iter(each.items()))
            files |= await self._source(kind, source, mode)
        return files

    async def _source(self, kind: str, source: Mapping[str, Any], mode: int) -> dict[str, File]:
        optional = bool(source.get("optional"))
        if kind == "serviceAccountToken":
            lifetime_s = source.get("expirationSeconds", TOKEN_LIFETIME_S)
            token = await self.sources.token(self.pod, source.get("audience"), lifetime_s)
            return {source["path"]: File(token.encode(), mode)}
        if kind == "downwardAPI":
            return {each["path"]: File(self._downward(each), each.get("mode", mode)) for each in source["items"]}
        if kind == "configMap":
            entries = await self.sources.config_map(source["name"], optional=optional)
            return picked(entries, source.get("items"), mode, 'configmap references non-existent config key: "{}"')
        if kind == "secret":
            name = source.get("secretName") or source["name"]
            entries = await self.sources.secret(name, optional=optional)
            return picked(entries, source.get("items"), mode, "references non-existent secret key: {}")
        msg = f"a local node has no projection of this kind: {kind}"
        raise MissingSource(msg)

    def _downward(self, item: Mapping[str, Any]) -> bytes:
        if "fieldRef" in item:
            return field_value(self.pod, item["fieldRef"]["fieldPath"]).encode()
        asked = item["resourceFieldRef"]
        containers = self.pod["spec"]["containers"]
        container = next(each for each in containers if each["name"] == asked["containerName"])
        return resource_value(container, asked, self.allocatable).encode()


def picked(
    entries: Mapping[str, bytes] | None, items: Sequence[Mapping[str, Any]] | None, mode: int, missing: str
) -> dict[str, File]:
    """
    The files of a ConfigMap or Secret: every entry under its key, or those that `items` names.

    Raises: MissingSource: an item's key is not there; the text is `missing`, with the key in it.
    """
    if entries is None:
        return {}
    if not items:
        return {key: File(content, mode) for key, content in entries.items()}
    files = {}
    for item in items:
        if item["key"] not in entries:
            raise MissingSource(missing.format(item["key"]))
        files[item["path"]] = File(entries[item["key"]], item.get("mode", mode))
    return files


def write_files(volume: Path, files: Mapping[str, File]) -> None:
    """Makes `files` the content of the folder, in one step; does nothing if it is already."""
    volume.mkdir(parents=True, exist_ok=True)
    pointer = volume / "..data"
    old = pointer.resolve() if pointer.is_symlink() else None
    if old and _content(old) == files:
        return
    new = Path(tempfile.mkdtemp(prefix="..", dir=volume))
    new.chmod(0o755)
    for path, file in files.items():
        target = new / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    swap = volume / "..data_new"
    swap.symlink_to(new.name)
    swap.rename(pointer)
    _link_tops(volume, {Path(path).parts[0] for path in files})
    if old:
        shutil.rmtree(old, ignore_errors=True)


def _link_tops(volume: Path, names: set[str]) -> None:
    """One link for each first part of a path; links of files that are gone go too."""
    for entry in volume.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(Path("..data") / name)


def _content(folder: Path) -> dict[str, File]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): File(path.read_bytes(), path.stat().st_mode & 0o777) for path in files}


def _host_path(source: Mapping[str, Any]) -> None:
    path, kind = Path(source["path"]), source.get("type", "")
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    elif (kind == "Directory" and not path.is_dir()) or (kind == "File" and not path.is_file()) or not path.exists():
        msg = f"hostPath type check failed: {path} is not a {kind.lower() or 'path of this machine'}"
        raise MissingSource(msg)
