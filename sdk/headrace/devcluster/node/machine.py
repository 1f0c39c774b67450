"""What this machine offers to containers: isolation, memory limits, programs, the way to the API server."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import headrace
from headrace.devcluster.node.cgroups import Groups, open_groups
from headrace.devcluster.node.launch import Mount, Orders
from headrace.devcluster.node.process import CannotStart, Process

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts")
BESIDE_A_PATH = r"=:,;&|()<>\[\]{}\s'\"`"
"""What may stand next to a path in an argument, a script or a variable without being a part of it."""
TERMINATION_LOG = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Machine:
    """
    One machine, as one node uses it.

    Attributes: `isolates`: containers get their own view of the file system and of processes; else mount paths in
    their words are rewritten. `groups` is None where memory limits are not held. `kept` are file systems
    other than the root's that the interpreter and its packages lie on. `root` is an empty folder.
    """

    isolates: bool
    groups: Groups | None
    kept: Sequence[Mount]
    root: Path
    environment: Mapping[str, str]

    def orders(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str = "/",
        mounts: Sequence[Mount] = (),
        hostname: str = "localhost",
        groups: Sequence[str] = (),
    ) -> Orders:
        """
        Orders to start a container.

        Args:
            mounts: In the order in which they are made.
        """
        orders = Orders(
            argv=list(argv),
            env=dict(env),
            cwd=cwd,
            isolate=self.isolates,
            root=str(self.root),
            hostname=hostname,
            mounts=[*self.kept, *sorted(mounts, key=lambda mount: mount["target"])],
            groups=list(groups),
            enter=0,
        )
        return orders if self.isolates else without_mounts(orders)


def group_name(node: str, directory: Path) -> str:
    """What the node's control groups are called: nodes of two clusters may have one name, and each removes its own."""
    return f"{node}-{hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:10]}"


async def examine(node: str, directory: Path, server: str) -> tuple[Machine, list[str]]:
    """This machine, and in words what it does not offer."""
    root = directory / "root"
    root.mkdir(parents=True, exist_ok=True)
    groups = open_groups(group_name(node, directory))
    machine = Machine(
        isolates=True,
        groups=None if isinstance(groups, str) else groups,
        kept=kept_mounts(),
        root=root,
        environment=base_environment(server),
    )
    lacks = [f"memory limits are not held: {groups}"] if isinstance(groups, str) else []
    reason = await _isolation_problem(machine)
    if reason:
        lacks.append(f"containers are not isolated, paths of mounts are rewritten in their words: {reason}")
        machine = Machine(isolates=False, groups=machine.groups, kept=(), root=root, environment=machine.environment)
    return machine, lacks


async def _isolation_problem(machine: Machine) -> str:
    if sys.platform != "linux":
        return f"the platform is {sys.platform}"
    if os.geteuid() != 0:
        return "not root"
    try:
        process = await Process.start(machine.orders(["true"], env=machine.environment), _nowhere)
    except CannotStart as error:
        return str(error)
    await process.wait()
    return ""


def _nowhere(stream: str, chunk: bytes) -> None:
    """Drops what a probe writes."""


def base_environment(server: str) -> dict[str, str]:
    """What every container finds; of this process's own environment it gets nothing."""
    address = urlsplit(server)
    port = str(address.port or 443)
    return {
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": pwd.getpwuid(os.geteuid()).pw_dir,
        "KUBERNETES_SERVICE_HOST": address.hostname or "",
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
    }


def kept_mounts() -> list[Mount]:
    """What an overlay over the root does not show but containers need: Python, its packages, name resolution."""
    package = Path(headrace.__file__).parent
    needed = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve(), package]
    points = {str(mount_point(path)) for path in needed} - {"/"}
    files = {str(Path(name).resolve()) for name in NETWORK_FILES if Path(name).exists()}
    points |= {name for name in files if str(mount_point(Path(name))) != "/"}
    return [Mount(source=point, target=point, read_only=True) for point in sorted(points)]


def mount_point(path: Path) -> Path:
    """Where the file system of `path` is mounted."""
    return next(folder for folder in (path, *path.parents) if folder.is_mount())


def without_mounts(orders: Orders) -> Orders:
    """The orders for a machine that mounts nothing: each mounted path in their words becomes the path it stands for."""
    places = {mount["target"]: mount["source"] for mount in orders["mounts"]}
    return Orders(
        **{
            **orders,
            "argv": [moved(word, places) for word in orders["argv"]],
            "env": {name: moved(value, places) for name, value in orders["env"].items()},
            "cwd": moved(orders["cwd"], places),
            "mounts": [],
        }
    )


def moved(text: str, places: Mapping[str, str]) -> str:
    """The text with each of the paths in `places`, where it stands as a path of its own or above one, replaced."""
    targets = "|".join(re.escape(target) for target in sorted(places, key=len, reverse=True))
    alone = rf"(?<![^{BESIDE_A_PATH}])({targets})(?![^/{BESIDE_A_PATH}])"
    return re.sub(alone, lambda found: places[found[1]], text) if places else text
