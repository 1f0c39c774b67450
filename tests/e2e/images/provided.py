"""
The images of the tests, made once for each state of the sources and kept in the user's cache.

    ~/.cache/headrace/images/
        packages/                     Debian's, as fetched
        wheels-0f1e2d3c4b5a/          Python's, for constraints.txt and the Python of the base
        base-0f1e2d3c4b5a/            root file system of these packages, and its layer
        installed-0f1e2d3c4b5a/       these packages as they are installed
        made/0f1e2d3c4b5a/            runtime.tar, operator.tar, pause.tar; of the last few states
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from headrace.devcluster.build import cache_folder
from headrace.devcluster.locking import one_at_a_time
from headrace.devcluster.progress import Progress
from tests.e2e.images import debian
from tests.e2e.images.archive import Layer, write_archive, write_layer
from tests.e2e.images.building import Build, Context
from tests.e2e.images.dockerfile import Config, parse

PROJECT = Path(__file__).parents[3]
TAG = "e2e"
RUNTIME, OPERATOR, PAUSE = (f"docker.io/headrace/{name}:{TAG}" for name in ("runtime", "operator", "pause"))
TARGETS = {"runtime": RUNTIME, "operator": OPERATOR}
EXTRAS = "operator,sql"
"""Of both images together."""
STATES = 3
"""Of the sources whose images are kept."""
SOURCES = ("Dockerfile", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "images", "sdk", "operator")


@dataclass(frozen=True, slots=True)
class Images:
    """
    Where the archives are.

    Attributes: `base` and `wheels` what they were made of.
    """

    folder: Path
    base: Path
    wheels: Path

    @property
    def archives(self) -> list[Path]:
        """All of them."""
        return [*self.of_runs, self.folder / "operator.tar"]

    @property
    def of_runs(self) -> list[Path]:
        """What a node needs that has no operator."""
        return [self.folder / "pause.tar", self.folder / "runtime.tar"]


def images_folder() -> Path:
    """Where all of this is kept."""
    return cache_folder(os.environ).parent / "images"


def provide_images(progress: Progress) -> Images:
    """The images of the sources as they are now. Raises: RuntimeError, subprocess.CalledProcessError: with what failed."""
    kept = images_folder()
    with one_at_a_time(kept / "lock", progress, "another process makes the images; waiting"):
        packages = debian.fetch(debian.ROOTS, kept / "packages")
        base = _once(kept / f"base-{_hash(each.name.encode() for each in packages)}", lambda new: _base(packages, new))
        wheels = _provide_wheels(kept, debian.python_version(base / "root"), progress)
        way = [each.read_bytes() for each in sorted(Path(__file__).parent.glob("*.py"))]
        key = _hash([base.name.encode(), wheels.name.encode(), *way, *_source_bytes()])
        if not (kept / "made" / key).exists():
            progress.step("assembling the images from the Dockerfile, Debian packages and wheels")
        made = _once(kept / "made" / key, lambda new: _assemble(base, wheels, new, kept / "packages"))
        _forget(kept / "made", made)
        return Images(made, base, wheels)


def assemble(base: Path, wheels: Path, target: Path, kept: Path) -> None:
    """
    Writes the archives of the Dockerfile's images into `target`, on a base of `provide_images`.

    Args:
        kept: Where installed packages stay, and are taken from.
    """
    stages = parse((PROJECT / "Dockerfile").read_text(), {})
    with tempfile.TemporaryDirectory(prefix="headrace-images-", dir=target) as scratch:
        context = Context(PROJECT, wheels, base / "root", {"PIP_NO_INDEX": "1"})
        build = Build(stages, context, folder=Path(scratch), kept=kept)
        lowest = _layer(base / "base.tar")
        for name, image in TARGETS.items():
            built = build.stage(name)
            layers = [write_layer(each, Path(scratch) / f"{name}-{at}.tar") for at, each in enumerate(built.added)]
            write_archive(target / f"{name}.tar", image, [lowest, *layers], built.config)


def _assemble(base: Path, wheels: Path, target: Path, packages: Path) -> None:
    assemble(base, wheels, target, _installed(base, wheels))
    _pause(packages, target)


def _installed(base: Path, wheels: Path) -> Path:
    """Where packages stay that were installed for this base, from these wheels, in this way."""
    way = [(PROJECT / name).read_bytes() for name in ("Dockerfile", "images/install.sh")]
    return base.with_name(f"installed-{_hash([base.name.encode(), wheels.name.encode(), *way])}")


def _pause(packages: Path, target: Path) -> None:
    """An image whose one process waits: it holds the namespaces of a pod."""
    with tempfile.TemporaryDirectory(prefix="headrace-pause-", dir=target) as scratch:
        root = Path(scratch) / "root"
        debian.unpack([each for each in debian.fetch(["busybox-static"], packages) if "busybox" in each.name], root)
        layer = write_layer(root, Path(scratch) / "layer.tar")
        waits = Config(user="65535:65535", entrypoint=("/bin/busybox", "sleep", "2147483647"))
        write_archive(target / "pause.tar", PAUSE, [layer], waits)


def _base(packages: list[Path], target: Path) -> None:
    debian.unpack(packages, target / "root")
    layer = write_layer(target / "root", target / "base.tar")
    (target / "base.tar.digest").write_text(layer.digest)


def _layer(path: Path) -> Layer:
    return Layer(path, path.with_name(f"{path.name}.digest").read_text(), path.stat().st_size)


def _provide_wheels(kept: Path, python: str, progress: Progress) -> Path:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = json.dumps([project["dependencies"], project["optional-dependencies"], python])
    folder = kept / f"wheels-{_hash([wanted.encode(), (PROJECT / 'constraints.txt').read_bytes()])}"
    if not folder.exists():
        progress.step(f"fetching the wheels of the images, for Python {python}")
    return _once(folder, lambda new: _download(python, new))


def _download(python: str, target: Path) -> None:
    """What `pip install .[…]` needs, with what builds the project itself, for the Python of the base."""
    platforms = [f"--platform={level}_{platform.machine()}" for level in ("manylinux2014", "manylinux_2_28")]
    only = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", "--quiet", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "--dest", target, "--constraint", PROJECT / "constraints.txt"]
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, PROJECT]
    subprocess.run(wheel, check=True, capture_output=True, text=True)
    (own,) = target.glob("headrace-*.whl")
    subprocess.run([*pip, *only, "pip", "setuptools", f"{own}[{EXTRAS}]"], check=True, capture_output=True, text=True)
    own.unlink()


def _forget(folder: Path, made: Path) -> None:
    """Removes all but the last few: another process may still read the one before."""
    made.touch()
    for each in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-STATES]:
        shutil.rmtree(each)


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made now unless it is there; half of it is never seen."""
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def _source_bytes() -> Iterable[bytes]:
    for name in SOURCES:
        path = PROJECT / name
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for each in files:
            if each.is_file() and "__pycache__" not in each.parts and ".egg-info" not in str(each):
                yield str(each.relative_to(PROJECT)).encode()
                yield each.read_bytes()


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part)
    return digest.hexdigest()[:12]
