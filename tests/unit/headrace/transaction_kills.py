"""
Kills processes with SIGKILL at every write of a transaction, and checks what the next ones make of it.

A program of its own: it forks each attempt, which takes milliseconds, and has no threads of its own.

    python -m tests.unit.headrace.transaction_kills FOLDER
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from importlib import import_module
from pathlib import Path

from headrace import flow, get_transaction, runtime, task, transaction
from headrace.engine.session import Session, using
from headrace.results import open_storage
from headrace.results.cargo import opened
from headrace.results.files import Files

PATHS = ["a", "b", "c"]
WRITES = ("put", "put_new", "delete")


class Deadly:
    """A storage whose process is killed at its `number`-th write."""

    def __init__(self, storage, number, when):
        self._storage = storage
        self._left = number
        self._when = when

    def __getattr__(self, name):
        call = getattr(self._storage, name)
        return call if name not in WRITES else lambda *args: self._write(call, args)

    def _write(self, call, args):
        self._left -= 1
        if self._left == 0 and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = call(*args)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome


def tell(line):
    """One line of what has really happened, in one write."""
    world = os.open(os.environ["WORLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(world, f"{line}\n".encode())
    os.close(world)


@task
def write(path):
    get_transaction().set("path", path)
    tell(f"did {path}")
    return [path]


@write.on_rollback
def undo(txn):
    tell(f"undid {txn.get('path')} {txn.get('day')}")


@write.on_commit
def publish(txn):
    tell(f"published {txn.get('path')} {txn.get('day')}")


@flow
def main(*, fails):
    with transaction("monday") as txn:
        txn.set("day", "monday")
        first = write("a")
        with transaction():
            second = write.submit("b").result()
        third = write("c")
        if fails and runtime.flow_run.attempt == 1:
            raise ConnectionError("lost")
        return [first, second, third]


class Story:
    """One run, attempt after attempt."""

    def __init__(self, folder: Path, *, fails: bool) -> None:
        self._storage = folder / "results"
        self._world = folder / "world"
        self._fails = fails
        self.attempts = 0

    def attempt(self, number: int = 0, when: str = "before") -> bool:
        """Whether the attempt was killed; what it did is checked against what lay in the storage before it."""
        undo, publish = self._owed()
        since = len(self._lines())
        self.attempts += 1
        pid = os.fork()
        if pid == 0:
            os.environ["WORLD"] = str(self._world)
            os._exit(self._run(number, when))
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or os.WEXITSTATUS(status) == (1 if self._fails and self.attempts == 1 else 0), status
        self._check(self._lines()[since:], undo, publish, killed=killed)
        return killed

    def _run(self, number: int, when: str) -> int:
        storage = Deadly(Files(self._storage), number, when)
        session = Session(
            flow_run="etl-7",
            flow_run_uid="u-1",
            flow="etl",
            namespace="team",
            attempt=self.attempts,
            repeats_flows=False,
            results_url=self._storage.as_uri(),
            open_storage=lambda _: storage,
        )
        with using(session):
            state = main(fails=self._fails, return_state=True)
        return 0 if state.name == "Succeeded" and state.result() == [[path] for path in PATHS] else 1

    def _check(self, lines: list[str], undo: list[str], publish: list[str] | None, *, killed: bool) -> None:
        expected = [f"undid {path} monday" for path in reversed(undo)]
        if publish is not None:
            expected = [f"published {path} monday" for path in publish]
        assert lines[: len(expected)] == expected[: len(lines)], (lines, expected)
        if killed:
            return
        did = [line.removeprefix("did ") for line in lines if line.startswith("did ")]
        assert did == ([] if publish is not None else PATHS), (lines, publish)
        last = "undid" if self._fails and self.attempts == 1 else "published"
        if publish is None:
            order = PATHS if last == "published" else PATHS[::-1]
            assert [line for line in lines if line.startswith(last)][-3:] == [f"{last} {path} monday" for path in order]
        assert self._entries() == [], self._entries()

    def _owed(self) -> tuple[list[str], list[str] | None]:
        """The paths that are to be undone; those to be published, None if nothing is committed."""
        storage = open_storage(self._storage.as_uri())
        facts = [opened(storage.get(key)).facts for key in sorted(self._entries())]
        done = [PATHS[int(each["task_run"][-1])] for each in facts if each["entry"] == "did"]
        committed = any("/committed-" in key for key in storage.list("team"))
        return ([], done) if committed else (done, None)

    def _entries(self) -> list[str]:
        keys = open_storage(self._storage.as_uri()).list("team")
        return [key for key in keys if "/transactions/" in key and "/committed-" not in key]

    def _lines(self) -> list[str]:
        return self._world.read_text().splitlines() if self._world.exists() else []


def told(folder: Path, *, fails: bool, number: int, when: str) -> bool:
    """Kills the first attempt at this write and the second one at any, and lets the third end. Whether there was this write."""
    folder.mkdir(parents=True)
    story = Story(folder, fails=fails)
    killed = story.attempt(number, when)
    if killed:
        dice = random.Random(f"{fails} {number} {when}")
        if story.attempt(dice.randint(1, 25), dice.choice(["before", "after"])):
            story.attempt()
    shutil.rmtree(folder)
    return killed


def every_story(folder: Path) -> int:
    """How many first attempts were killed, at every write there is."""
    kills = 0
    main.arguments(fails=False)  # pydantic and the engine are loaded once, and not by each process
    for module in ("execution", "keeping.places", "transacting.blocks"):
        import_module(f"headrace.engine.{module}")
    for fails in (False, True):
        for when in ("before", "after"):
            number = 1
            while told(folder / f"{fails}-{when}-{number}", fails=fails, number=number, when=when):
                number += 1
            kills += number - 1
    return kills


if __name__ == "__main__":
    print(every_story(Path(sys.argv[1])))
