"""What a machine must have for real nodes, and the cgroups that they get."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
PREFIX = "headrace-e2e-"
FOLDER_PREFIX = "hr-e2e-"
PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "go": "Go 1.26, https://go.dev/dl",
    "gcc": "gcc",
    "apt-get": "Debian or a system of its kind",
}


def problem() -> str:
    """Why no real node can run here, with what to do about it; empty where one can."""
    if sys.platform != "linux":
        return "real nodes need Linux"
    if os.geteuid() != 0:
        return "real nodes need root, for namespaces and cgroups"
    if not os.access(CGROUPS, os.W_OK) or not hierarchies():
        return f"real nodes need cgroups that may be made in {CGROUPS}"
    missing = [f"{name} ({package})" for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        return f"real nodes need programs that are not installed: {', '.join(missing)}"
    if not Path("/usr/include/seccomp.h").exists():
        return "runc is built with seccomp: apt-get install libseccomp-dev pkg-config"
    return ""


def hierarchies() -> list[Path]:
    """The cgroup file systems: one of version 2, or one a controller of version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return sorted(each for each in CGROUPS.iterdir() if each.is_dir() and (each / "cgroup.procs").exists())


def make_own_folder() -> Path:
    """A folder of this process's, with a short path. Those of processes that were killed are removed."""
    scratch = Path(tempfile.gettempdir())
    for left in scratch.glob(f"{FOLDER_PREFIX}*"):
        if _is_orphan(left.name.removeprefix(FOLDER_PREFIX)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=scratch))


def make_own_cgroup() -> str:
    """A cgroup of this process's in each hierarchy. Returns its name."""
    _remove_left_over()
    name = f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:4]}"
    make_cgroup(name)
    return name


def make_cgroup(*names: str) -> None:
    """A cgroup in each hierarchy, below those named before it."""
    for hierarchy in hierarchies():
        folder = hierarchy.joinpath(*names)
        folder.mkdir()
        for part in ("cpuset.cpus", "cpuset.mems"):  # empty in version 1 until somebody sets them
            _inherit(folder, part)
        _delegate(folder)


def _delegate(folder: Path) -> None:
    """Version 2: what is below may limit what we may."""
    control = folder / "cgroup.subtree_control"
    if control.exists():
        control.write_text(" ".join(f"+{each}" for each in (folder / "cgroup.controllers").read_text().split()))


def _inherit(folder: Path, part: str) -> None:
    above = folder.parent / part
    if hierarchies() != [CGROUPS] and above.exists():
        (folder / part).write_text(above.read_text())


def _remove_left_over() -> None:
    """What stays when a room's first process itself was killed, and its owner is gone."""
    for hierarchy in hierarchies():
        for left in hierarchy.glob(f"{PREFIX}*"):
            if not _is_orphan(left.name.removeprefix(PREFIX)):
                continue
            for folder, _, _ in os.walk(left, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


def _is_orphan(name: str) -> bool:
    """Whether the process is gone whose number the name begins with."""
    number = name.partition("-")[0]
    return number.isdigit() and not Path("/proc", number).exists()
