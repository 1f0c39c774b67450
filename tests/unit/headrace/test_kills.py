"""
A flow of a thousand tasks whose process is killed with SIGKILL, again and again, resumes until it ends.

HEADRACE_KILLS says how many times (100 take about a minute and a half on two cores), HEADRACE_KILLS_SEED repeats one
story that has failed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.results import open_storage
from headrace.results.cargo import opened

FLOWS = Path(__file__).parent
TASKS = 1000
RESULT = [TASKS, 5 * sum(range(TASKS // 5)), True]
KILLS = int(os.environ.get("HEADRACE_KILLS", "100"))
MOST_OF_ONE_RUN = 5
BESIDE_EACH_OTHER = 2


class Story:
    """One run of the flow, attempt after attempt. `finished` is what lay in the storage at the last kill."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.dice = random.Random(seed)
        self.kills = 0
        self.finished: dict[str, list[object]] = {}
        self._folder = folder
        self._journal = folder / "journal"
        self._journal.touch()
        self._said = folder / "termination-log"
        self._said.touch()

    def told(self, *, most: int) -> None:
        """Kills the run up to so many times, at random moments, and lets it end. Raises: AssertionError."""
        attempt = 1
        for _ in range(self.dice.randint(1, most)):
            if not self._killed(attempt):
                break
            self.kills += 1
            self._check(attempt)
            attempt += 1
        else:
            code = self._process(attempt).wait(120)
            assert code == 0, self._log().read_text()
        self._check(attempt)
        self._check_end()

    def _killed(self, attempt: int) -> bool:
        """Whether it was killed before it ended by itself."""
        process = self._process(attempt)
        # Either when so many tasks have run, or in the time in which it starts and finds what is there.
        if self.dice.random() < 0.8:
            moment = len(self._lines()) + self.dice.randint(0, TASKS - len(self.finished))
            while len(self._lines()) < moment and process.poll() is None:
                time.sleep(0.002)
            time.sleep(self.dice.uniform(0, 0.02))
        else:
            time.sleep(self.dice.uniform(0, 1))
        process.kill()
        code = process.wait(30)
        assert code in {0, -9}, self._log().read_text()
        return code != 0

    def _process(self, attempt: int) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "JOURNAL": str(self._journal),
            "HEADRACE_ENTRYPOINT": "kill_flows:main",
            "HEADRACE_CODE_DIR": str(FLOWS),
            "HEADRACE_FLOW": "etl",
            "HEADRACE_FLOW_RUN": "etl-7",
            "HEADRACE_FLOW_RUN_UID": "u-1",
            "HEADRACE_NAMESPACE": "team",
            "HEADRACE_ATTEMPT": str(attempt),
            "HEADRACE_RESULTS_URL": (self._folder / "results").as_uri(),
            "HEADRACE_TERMINATION_LOG": str(self._said),
            "HEADRACE_LOG_LEVEL": "WARNING",
        }
        with self._log().open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "headrace.pod"], env=environment, stdout=log, stderr=log)

    def _check(self, attempt: int) -> None:
        """Nothing is torn or lost, and what was finished before did not run in this attempt."""
        there = self._stored()
        assert all(there.get(key) == value for key, value in self.finished.items()), "a result is lost, or another one"
        before = Counter(tuple(value) for value in self.finished.values())
        again = before & Counter((kind, int(number)) for by, kind, number in self._lines() if int(by) == attempt)
        assert not again, f"these have run again in attempt {attempt}: {again}"
        self.finished = there

    def _check_end(self) -> None:
        said = json.loads(self._said.read_text())
        assert said["result"] == RESULT
        assert said["tasks"]["total"] == said["tasks"]["succeeded"] == TASKS
        assert len(self.finished) == TASKS
        assert self._log().read_text() == ""  # no warning
        ran = Counter((kind, int(number)) for _, kind, number in self._lines())
        assert len(ran) == TASKS
        # Only what was under way may run twice: those that are awaited together, and those in threads.
        assert sum(ran.values()) <= TASKS + self.kills * (TASKS // 5 + 40)

    def _stored(self) -> dict[str, list[object]]:
        storage = open_storage((self._folder / "results").as_uri())
        return {key: opened(storage.get(key)).content() for key in storage.list("team")}

    def _lines(self) -> list[list[str]]:
        return [line.split() for line in self._journal.read_text().splitlines()]

    def _log(self) -> Path:
        return self._folder / "log"


@pytest.fixture
def folders() -> Iterator[Path]:
    """A folder in memory, where there is one: what a killed process has written does not depend on the disk."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="headrace-kills-", dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.timeout(1200)
def test_a_killed_run_resumes_after_what_it_has_finished(folders: Path) -> None:
    """No finished task runs again, no result is torn or lost, and the flow ends with the right result."""
    asked = os.environ.get("HEADRACE_KILLS_SEED")
    seed = asked or f"{random.randrange(2**32):x}"
    kills: list[int] = []

    def stories(worker: int) -> None:
        for number in range(KILLS):
            if sum(kills) >= KILLS:
                return
            name = asked or f"{seed}-{worker}-{number}"
            folder = folders / name
            folder.mkdir()
            story = Story(folder, name)
            try:
                story.told(most=MOST_OF_ONE_RUN)
            except BaseException as error:
                error.add_note(f"HEADRACE_KILLS_SEED={name} HEADRACE_KILLS=1 repeats it")
                raise
            kills.append(story.kills)
            shutil.rmtree(folder)

    with ThreadPoolExecutor(BESIDE_EACH_OTHER) as pool:
        list(pool.map(stories, range(1 if asked else BESIDE_EACH_OTHER)))
    print(f"{sum(kills)} kills in {len(kills)} runs, seed {seed}")
    assert sum(kills) >= KILLS or asked
