"""What is started for the tests does not outlive them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.nodes.machine import FOLDER_PREFIX, hierarchies, make_own_folder, problem
from tests.e2e.nodes.room import Room

PROJECT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
import psutil
from tests.e2e.nodes.machine import hierarchies, make_cgroup, make_own_cgroup
from tests.e2e.nodes.room import Room

name = make_own_cgroup()
make_cgroup(name, "node")
room = Room(Path(sys.argv[1]), cgroups=[each / name for each in hierarchies()])
inner = Room(Path(sys.argv[1]), inside=room)
entered = inner.start("sleep", ["sleep", "3600"])
while not (sleeper := psutil.Process(entered.pid).children()):
    time.sleep(0.01)
(hierarchies()[0] / name / "node" / "cgroup.procs").write_text(str(sleeper[0].pid))
print(name, room.pid, inner.pid, sleeper[0].pid, flush=True)
time.sleep(3600)
"""


WITHIN_S = 30.0


def wait_until(fact: Callable[[], bool], what: str) -> None:
    """Raises: AssertionError: it was not true in time."""
    deadline = time.monotonic() + WITHIN_S
    while not fact():
        assert time.monotonic() < deadline, f"not within {WITHIN_S:.0f} s: {what}"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def able() -> None:
    if trouble := problem():
        pytest.skip(trouble)


@pytest.mark.parametrize("ends", [subprocess.Popen.kill, subprocess.Popen.terminate])
def test_rooms_end_with_their_owner(tmp_path: Path, ends: Callable[[subprocess.Popen[str]], None]) -> None:
    """Killed without a word, it leaves no process of its rooms, nor of rooms in them, and no cgroup."""
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        name, *pids = owner.stdout.readline().split()
        cgroups = [each / name for each in hierarchies()]
        assert all(psutil.pid_exists(int(pid)) for pid in pids)
        assert all((each / "node").exists() for each in cgroups)

        ends(owner)

        wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids), what=f"{pids} are gone")
        wait_until(lambda: not any(each.exists() for each in cgroups), what=f"{cgroups} are gone")
        assert owner.wait() in {-signal.SIGKILL, -signal.SIGTERM}


def test_a_room_sees_no_network_and_no_process_of_the_machine(tmp_path: Path) -> None:
    """Its loopback is all that there is, and its first process has the number 1."""
    room = Room(tmp_path)
    try:
        assert room.run("ip", "-brief", "link").split()[0] == "lo"
        assert room.run("cat", "/proc/1/comm").startswith("python")
    finally:
        room.close()


def test_what_a_killed_process_has_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder, which holds containers' file systems; that of a process that lives stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    left, used = (tmp_path / f"{FOLDER_PREFIX}{pid}-abc" for pid in (gone.pid, os.getpid()))
    left.mkdir()
    used.mkdir()

    own = make_own_folder()

    assert sorted(tmp_path.iterdir()) == sorted([own, used])
