"""
Becomes the first process of a container. Runs as `python -I -S launch.py FD` and imports the standard library only.

It reads its orders from standard input (JSON: `Orders`) and reports on FD, a line of JSON each:

    {"pid": 4711}              the container's main process runs the command; the id is the host's
    {"problem": "exec: …"}     it could not be started; nothing else follows
    {"status": 256}            it ended, with this wait status

With `isolate` the main process is number 1 of its own process namespace, and its root is an overlay over the
machine's: it reads what the machine has, writes stay in memory and go with it. Whoever started this process may
die at any time: the kernel then kills the container.
"""

import ctypes
import errno
import json
import os
import signal
import stat
import sys
from typing import Any, NoReturn, TypedDict

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWPID = 0x00020000, 0x04000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}


class Mount(TypedDict):
    """A path of the machine, and where the container sees it."""

    source: str
    target: str
    read_only: bool


class Orders(TypedDict):
    """
    What to start.

    Attributes: `argv` at least one word; `root` a folder where the container's root is mounted; `enter` the main
    process of a running container to start this command in (0: a new container); `groups` files of control groups
    that take process ids.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    isolate: bool
    root: str
    hostname: str
    mounts: list[Mount]
    groups: list[str]
    enter: int


class CannotStart(Exception):
    """The text that a container runtime would give."""


def main() -> None:
    """Starts what standard input orders, waits for its end, and reports on the descriptor in the first argument."""
    report = int(sys.argv[1])
    os.set_inheritable(report, False)  # noqa: FBT003 - the function takes it so
    orders: Orders = json.load(sys.stdin)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    _die_with_parent()
    reader, writer = os.pipe()  # closed by a successful exec, else it carries the problem
    try:
        _unshare(orders)
    except OSError as error:
        _say(report, problem=f"cannot isolate the container: {error}")
        return
    child = os.fork()
    if not child:
        os.close(reader)
        _become(orders, writer)
    os.close(writer)
    problem = _read_all(reader)
    if problem:
        os.waitpid(child, 0)
        _say(report, problem=problem)
        return
    _say(report, pid=child)
    os.close(1)
    os.close(2)
    _, status = os.waitpid(child, 0)
    _say(report, status=status)


def _become(orders: Orders, writer: int) -> NoReturn:
    """The child: turns into the container's command, or says why it cannot."""
    try:
        os.setsid()
        _die_with_parent()
        for group in orders["groups"]:
            with open(group, "w") as procs:  # noqa: PTH123 - pathlib doubles the start-up time of this program
                procs.write("0")
        if orders["isolate"] and not orders["enter"]:
            _make_root(orders)
        for name in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the ignoring is inherited
            signal.signal(name, signal.SIG_DFL)
        _execute(orders)
    except (CannotStart, OSError) as error:
        os.write(writer, str(error).encode())
    os._exit(128)


def _execute(orders: Orders) -> NoReturn:
    try:
        os.chdir(orders["cwd"])
    except OSError as error:
        text = f"mkdir {orders['cwd']}: {(error.strerror or '').lower()}"
        raise CannotStart(text) from error
    program, path = orders["argv"][0], orders["env"].get("PATH", os.defpath)
    places = [program] if "/" in program else [f"{folder}/{program}" for folder in path.split(":")]
    found = next((place for place in places if "/" in program or os.access(place, os.X_OK)), None)
    if found is None:
        text = f'exec: "{program}": executable file not found in $PATH'
        raise CannotStart(text)
    try:
        os.execve(found, orders["argv"], orders["env"])  # noqa: S606 - this is what the pod asked for
    except OSError as error:
        stat = f"stat {program}: " if error.errno == errno.ENOENT else ""
        text = f'exec: "{program}": {stat}{(error.strerror or "").lower()}'
        raise CannotStart(text) from error


def _unshare(orders: Orders) -> None:
    if orders["enter"]:
        _enter(orders["enter"])
    elif orders["isolate"]:
        _call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID)


def _make_root(orders: Orders) -> None:
    """Mounts an overlay over the machine's root, with its own /proc and /dev and the volumes, and moves there."""
    root, merged = orders["root"], orders["root"] + "/merged"
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, kind="tmpfs", data="mode=0755")
    for name in ("upper", "work", "merged"):
        os.mkdir(f"{root}/{name}", 0o755)  # noqa: PTH102 - as above
    _mount("overlay", merged, kind="overlay", data=f"lowerdir=/,upperdir={root}/upper,workdir={root}/work")
    _mount("proc", merged + "/proc", kind="proc")
    _mount("/sys", merged + "/sys", flags=MS_BIND | MS_REC)
    _mount("tmpfs", merged + "/dev", kind="tmpfs", data="mode=0755,size=65536k")
    devices = [Mount(source=f"/dev/{name}", target=f"/dev/{name}", read_only=False) for name in (*DEVICES, "pts")]
    # The sources are opened before the move, and the targets looked up after it: /var/run is a link to /run on many
    # machines, and must lead to the container's.
    opened = [(os.open(each["source"], os.O_PATH), each) for each in (*devices, *orders["mounts"])]
    _call("sethostname", orders["hostname"].encode(), len(orders["hostname"].encode()))
    os.chroot(merged)
    for source, each in opened:
        _bind(source, each)
    os.mkdir("/dev/shm")  # noqa: PTH102, S108 - as above; the container's own
    _mount("tmpfs", "/dev/shm", kind="tmpfs", data="mode=1777")  # noqa: S108 - as above
    for name, target in LINKS.items():
        os.symlink(target, f"/dev/{name}")  # noqa: PTH211 - as above


def _bind(source: int, mount: Mount) -> None:
    target = mount["target"]
    if stat.S_ISDIR(os.fstat(source).st_mode):
        os.makedirs(target, exist_ok=True)  # noqa: PTH103 - as above
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120 - as above
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(f"/proc/self/fd/{source}", target, flags=MS_BIND | MS_REC)
    os.close(source)
    if mount["read_only"]:
        _mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def _enter(pid: int) -> None:
    """Moves to the root of a running container; children of this process are born into its process namespace."""
    # All are opened first: after the first switch /proc shows other processes.
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY)
    namespaces = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in ("uts", "pid", "mnt")]
    for namespace in namespaces:
        _call("setns", namespace, 0)
    os.fchdir(root)
    os.chroot(".")


def _mount(source: str, target: str, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)
    try:
        _call("mount", *arguments)
    except OSError as error:
        text = f"mount {source} at {target}: {error.strerror}"
        raise CannotStart(text) from error


def _call(name: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)


def _read_all(descriptor: int) -> str:
    parts = b""
    while part := os.read(descriptor, 4096):
        parts += part
    return parts.decode(errors="replace")


def _say(report: int, **fact: object) -> None:
    os.write(report, json.dumps(fact).encode() + b"\n")


if __name__ == "__main__":
    main()
