"""What pages ask of a history store, in a file; tests/storages asks PostgreSQL the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.history import HistoryStore, open_history
from tests.unit.headrace.history import searches


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    with closing(open_history(f"sqlite:///{tmp_path}/history.db")) as opened:
        yield opened


@pytest.mark.parametrize("check", searches.CHECKS, ids=lambda check: check.__name__)
def test_searching(store: HistoryStore, check: searches.Check) -> None:
    searches.fill(store)
    check(store)
