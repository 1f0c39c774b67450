"""Processes that are killed with SIGKILL at every write of a transaction: the next attempt finishes it, or rolls it back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
WRITES = 2 * 21 + 2 * 20
"""Before and after each: of an attempt that commits, and of one that rolls back."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, where there is such a folder: what a killed process has written does not depend on the disk."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="headrace-transactions-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made)


def test_a_transaction_that_is_killed_at_any_write_is_finished_or_rolled_back(folder: Path) -> None:
    """Each time: hooks that are owed are called first and in order, and results count all together or not at all."""
    command = [sys.executable, "-m", "tests.unit.headrace.transaction_kills", str(folder)]
    environment = {**os.environ, "HEADRACE_LOG_LEVEL": "CRITICAL"}
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == WRITES
