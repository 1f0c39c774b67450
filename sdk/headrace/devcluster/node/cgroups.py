"""
Memory limits by control groups, where the machine lets us: Linux, root, version 1 or 2.

On version 2 the whole container goes when it exceeds its limit; on version 1 the kernel kills one process of it.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Group:
    """The control group of one container."""

    folder: Path

    @property
    def procs(self) -> str:
        """The file that takes process ids."""
        return str(self.folder / "cgroup.procs")

    def oom_kills(self) -> int:
        """How many processes the kernel killed for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                found = re.search(r"^oom_kill (\d+)$", (self.folder / name).read_text(), re.MULTILINE)
                return int(found[1]) if found else 0
        return 0

    def remove(self) -> None:
        """Removes the group; its processes are gone."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


@dataclass(frozen=True, slots=True)
class Groups:
    """Where one node makes its groups."""

    base: Path
    version: int

    def create(self, name: str, limit_bytes: int) -> Group:
        """A new group with a memory limit. Raises: OSError."""
        folder = self.base / name
        folder.mkdir(exist_ok=True)
        if self.version == 1:
            (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
        else:
            (folder / "memory.max").write_text(str(limit_bytes))
            (folder / "memory.oom.group").write_text("1")
            with contextlib.suppress(OSError):  # no swap accounting on this machine: nothing to forbid
                (folder / "memory.swap.max").write_text("0")
        return Group(folder)

    def remove(self) -> None:
        """Removes the node's groups, as far as they are empty."""
        for folder in (*self.base.glob("*/"), self.base):
            Group(folder).remove()


def open_groups(node: str) -> Groups | str:
    """The place for a node's groups, or the reason why memory limits cannot be held on this machine."""
    if os.geteuid() != 0:
        return "not root"
    version, parent = (1, ROOT / "memory") if (ROOT / "memory").is_dir() else (2, ROOT)
    if version == 2 and not (ROOT / "cgroup.controllers").exists():
        return "no control groups at /sys/fs/cgroup"
    groups = Groups(parent / f"headrace-{node}", version)
    try:
        groups.base.mkdir(exist_ok=True)
        if version == 2:
            (parent / "cgroup.subtree_control").write_text("+memory")
            (groups.base / "cgroup.subtree_control").write_text("+memory")
        groups.create("probe", 1 << 30).remove()
    except OSError as error:
        groups.remove()
        return f"{error.filename or groups.base}: {error.strerror}"
    return groups
