"""
Virtual environments of the contenders, made once and used again while what goes into them stays the same.

They and all that the contenders write are in `headrace/bench` below XDG_CACHE_HOME or `~/.cache`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "sdk", "operator")
"""What a wheel of headrace is built from."""
COMPLETE = "complete"
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--timeout=15", "--retries=1")


class NotInstallable(Exception):
    """An environment cannot be made here, mostly for want of a network; the text says what pip said."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with nothing in it but one contender and what that needs."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def distributions(self) -> int:
        """How many were installed, the contender itself included."""
        return len(list(self._packages.glob("*.dist-info")))

    @property
    def megabytes(self) -> float:
        """What was installed, compiled modules included. 10^6 bytes."""
        return sum(path.stat().st_size for path in self._packages.rglob("*") if path.is_file()) / 1e6

    @property
    def _packages(self) -> Path:
        (found,) = (self.folder / "lib").glob("python*/site-packages")
        return found


def environment_of_headrace() -> Environment:
    """The bare install of this checkout. Raises: NotInstallable."""
    files = sorted(path for name in SOURCES for path in _files(ROOT / name))
    with tempfile.TemporaryDirectory() as folder:  # a build leaves traces among the sources, and picks up old ones
        for path in files:
            copy = Path(folder) / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        return _provided("headrace", files, [folder])


def environment_of(peer: str) -> Environment:
    """With what `requirements-<peer>.txt` names. Raises: NotInstallable."""
    requirements = Path(__file__).with_name(f"requirements-{peer}.txt")
    return _provided(peer, [requirements], ["--requirement", str(requirements)])


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where all of it is kept."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace" / "bench"


def _provided(name: str, made_of: Iterable[Path], what: list[str]) -> Environment:
    digest = hashlib.sha256(sys.version.encode())
    for path in made_of:
        digest.update(path.read_bytes())
    environment = Environment(cache_folder() / name)
    complete = environment.folder / COMPLETE
    if not complete.exists() or complete.read_text() != digest.hexdigest():
        _make(name, environment.folder, what)
        complete.write_text(digest.hexdigest())
    return environment


def _make(name: str, folder: Path, what: list[str]) -> None:
    print(f"installing {name} into {folder}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    install = [sys.executable, *PIP, "--python", str(folder / "bin" / "python"), "install", *what]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotInstallable((done.stderr.strip().splitlines() or ["pip said nothing"])[-1])


def _files(place: Path) -> Iterable[Path]:
    if place.is_file():
        return [place]
    return (path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
