"""The history store in a file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace import UsageError
from headrace.history import HistoryStore, HistoryTooNew, HistoryTooOld, HistoryUnavailable, open_history
from headrace.history.reading import Question, listed, told
from headrace.history.schema import CURRENT, MIGRATIONS
from headrace.history.sqlite import SQLite
from tests.unit.headrace.history.finished import a_record

LARGER_THAN_A_COLUMN = {"maxMemoryBytes": 2**63}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "history.db"


@pytest.fixture
def store(file: Path) -> Iterator[HistoryStore]:
    with closing(open_history(f"sqlite:///{file}")) as opened:
        yield opened


@pytest.fixture
def reader(file: Path) -> Iterator[HistoryStore]:
    with closing(open_history(f"sqlite:///{file}", is_reader=True)) as opened:
        yield opened


def names(store: HistoryStore) -> list[str]:
    return sorted(row["name"] for row in store.rows("select name from headrace_runs"))


def test_what_is_written_is_read(store: HistoryStore, reader: HistoryStore) -> None:
    """By its name, with its documents."""
    store.write([a_record("a"), a_record("b", phase="Failed")])
    (kept,) = told(reader, "team-a", "b")
    assert (kept["phase"], kept["parameters"]["rows"], kept["attempts"][0]["pod"]) == ("Failed", 10, "b-1")
    assert kept["recorded_at"].endswith("Z")
    assert [row["name"] for row in listed(reader, Question(phase="Failed", deployment="daily"), 10)] == ["b"]


def test_the_least_cost_is_told_as_money(store: HistoryStore) -> None:
    """Not as 1e-06."""
    store.write([a_record("a", cost={"amount": "0.000001", "currency": "EUR"})])
    assert [row["cost_amount"] for row in listed(store, Question(), 1)] == ["0.000001"]


def test_a_run_has_one_record_however_often_it_is_written(store: HistoryStore) -> None:
    """The first one stays: a batch without an answer is written again, and two operators may write at once."""
    store.write([a_record("a"), a_record("a")])
    store.write([a_record("a", message="another"), a_record("b")])
    assert store.rows("select name, message from headrace_runs order by name") == [
        {"name": "a", "message": None},
        {"name": "b", "message": None},
    ]


def test_the_store_tells_which_runs_it_knows(store: HistoryStore) -> None:
    """By uid; asked for none, it knows none."""
    store.write([a_record("a")])
    assert store.known(["uid-of-a", "uid-of-b"]) == {"uid-of-a"}
    assert store.known([]) == set()


@pytest.mark.parametrize("position", [0, 3, 6])
def test_a_record_that_is_refused_keeps_no_other_out(store: HistoryStore, position: int) -> None:
    """What can be kept of it is."""
    batch = [a_record(f"run-{number}") for number in range(6)]
    batch.insert(position, a_record("bad", usage=LARGER_THAN_A_COLUMN))
    written = store.write(batch)
    assert list(written.bare) == ["uid-of-bad"]
    assert not written.lost
    assert len(names(store)) == 7
    (kept,) = told(store, "team-a", "bad")
    assert (kept["phase"], kept["parameters"]) == ("Succeeded", None)
    assert "too large" in kept["refused"]


def test_one_that_is_refused_even_bare_is_told(store: HistoryStore) -> None:
    """It counts as lost, and the others are there."""
    store.write([])
    with closing(sqlite3.connect(store._dialect.path)) as other:  # type: ignore[attr-defined]
        other.execute(
            "create trigger no_bad before insert on headrace_runs when new.name = 'bad' begin select raise(abort, 'no'); end"
        )
        other.commit()
    written = store.write([a_record("good"), a_record("bad")])
    assert (written.bare, list(written.lost)) == ({}, ["uid-of-bad"])
    assert names(store) == ["good"]


def test_old_records_are_deleted_a_few_at_a_time(store: HistoryStore) -> None:
    """The oldest first."""
    store.write([a_record(f"of-{day}", finishedAt=f"2026-03-0{day}T00:00:00Z") for day in (1, 2, 3, 4)])
    limit = datetime(2026, 3, 4, tzinfo=UTC)
    assert store.delete_finished_before(limit, 2) == 2
    assert names(store) == ["of-3", "of-4"]
    assert store.delete_finished_before(limit, 2) == 1
    assert store.delete_finished_before(limit, 2) == 0


def test_records_that_may_not_be_deleted_are_an_outage(store: HistoryStore) -> None:
    """Somebody has tied other tables to them: the operator is told so, and goes on."""
    store.write([a_record("a")])
    with closing(sqlite3.connect(store._dialect.path)) as other:  # type: ignore[attr-defined]
        other.execute(
            "create trigger keeps before delete on headrace_runs begin select raise(abort, 'we need it'); end"
        )
        other.commit()
    with pytest.raises(HistoryUnavailable, match="we need it"):
        store.delete_finished_before(datetime(2027, 1, 1, tzinfo=UTC), 10)
    assert names(store) == ["a"]


def test_a_listing_is_bounded_in_time(store: HistoryStore) -> None:
    """From the first instant on, to the last one, which is left out."""
    store.write([a_record(f"at-{hour}", finishedAt=f"2026-03-04T0{hour}:00:00Z") for hour in range(4)])
    since, until = (datetime(2026, 3, 4, hour, tzinfo=UTC) for hour in (1, 3))
    assert [row["name"] for row in listed(store, Question(since=since, until=until), 10)] == ["at-2", "at-1"]


def test_a_store_of_the_first_version_is_migrated_with_what_is_in_it(file: Path, store: HistoryStore) -> None:
    """To that which an empty one gets."""
    of_version(file, 1)
    with closing(sqlite3.connect(file)) as old:
        old.execute(
            "insert into headrace_runs (uid, namespace, name, phase, finished_at) values (?, ?, ?, ?, ?)",
            ("uid-of-old", "team-a", "old", "Failed", "2026-01-01T00:00:00.000Z"),
        )
        old.commit()
    store.write([a_record("new")])
    assert names(store) == ["new", "old"]
    assert store.rows("select version from headrace_history_version") == [{"version": CURRENT}]
    with closing(open_history(f"sqlite:///{file.with_name('fresh.db')}")) as fresh:
        fresh.write([a_record("x")])
        assert columns(fresh) == columns(store)


def columns(store: HistoryStore) -> set[tuple[str, str]]:
    return {(row["name"], row["type"]) for row in store.rows("pragma table_info(headrace_runs)")}


def of_version(file: Path, version: int) -> None:
    """A store as a headrace made it that knew migrations up to this one."""
    file.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file)) as made:
        made.execute("create table headrace_history_version (version integer not null)")
        made.execute("insert into headrace_history_version values (?)", (version,))
        for number in range(1, min(version, CURRENT) + 1):
            for statement in MIGRATIONS[number]:
                made.execute(statement.format_map(SQLite.types))
        made.commit()


def test_a_newer_store_is_refused(file: Path, store: HistoryStore) -> None:
    """Nothing is written to what is not understood."""
    of_version(file, CURRENT + 1)
    with pytest.raises(HistoryTooNew, match=rf"version {CURRENT + 1}, and this headrace knows those up to {CURRENT}"):
        store.write([a_record()])


def test_a_reader_migrates_nothing(file: Path, reader: HistoryStore) -> None:
    """It says who does; and it makes no file."""
    with pytest.raises(HistoryUnavailable):
        reader.rows("select 1")
    of_version(file, 1)
    with pytest.raises(HistoryTooOld, match="an operator of this version brings it there"):
        reader.rows("select 1")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no database at all" * 100, "its file is something else"), (None, "unable to open|Is a directory")],
    ids=["it is something else", "it is a folder"],
)
def test_a_file_that_cannot_be_used_is_an_outage(
    file: Path, store: HistoryStore, content: bytes | None, said: str
) -> None:
    """With a sentence that says what to do, and over when it is mended."""
    file.parent.mkdir()
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(HistoryUnavailable, match=said):
        store.write([a_record()])
    file.rmdir() if content is None else file.unlink()
    store.write([a_record()])
    assert names(store) == ["daily-1"]


def test_a_full_disk_is_an_outage(store: HistoryStore) -> None:
    """Nothing of the batch is kept, and the next one is once there is room."""
    store.write([a_record("a")])
    connection = store._connection
    (pages,) = connection.execute("pragma page_count").fetchone()
    connection.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(HistoryUnavailable, match="full; make its volume larger"):
        store.write([a_record(f"b-{number}", message="x" * 9000) for number in range(9)])
    assert names(store) == ["a"]


def test_a_file_that_is_replaced_is_opened_anew(file: Path, store: HistoryStore) -> None:
    """What is written to a removed file would be lost."""
    store.write([a_record("a")])
    for part in file.parent.iterdir():
        part.unlink()
    store.write([a_record("b")])
    assert names(store) == ["b"]


def test_two_writers_of_one_batch_leave_one_record_each(file: Path, store: HistoryStore) -> None:
    """An operator, and its successor that took over before it knew."""
    with closing(open_history(f"sqlite:///{file}")) as other:
        store.write([a_record("a"), a_record("b")])
        other.write([a_record("b"), a_record("c")])
        store.write([a_record("c"), a_record("d")])
    assert names(store) == ["a", "b", "c", "d"]


KILLED = """
import os, signal, sys
from headrace.history import open_history
from tests.unit.headrace.history.finished import a_record
open_history(sys.argv[1]).write([a_record("a"), a_record("b")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_committed_by_a_process_that_is_killed_is_known_to_the_next(file: Path, store: HistoryStore) -> None:
    """It died before it could act on it: the same batch again adds nothing."""
    done = subprocess.run([sys.executable, "-c", KILLED, f"sqlite:///{file}"], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert store.known(["uid-of-a", "uid-of-b"]) == {"uid-of-a", "uid-of-b"}
    store.write([a_record("a"), a_record("b")])
    assert names(store) == ["a", "b"]


def test_commits_are_on_the_disk_before_they_are_told(store: HistoryStore) -> None:
    """They are the licence to delete runs."""
    store.write([a_record()])
    assert store._connection.execute("pragma synchronous").fetchone()[0] == 2
    assert store._connection.execute("pragma journal_mode").fetchone()[0] == "wal"


@pytest.mark.parametrize("character", ["/", "?", "#", "[", "]"])
def test_a_password_that_is_not_quoted_is_shown_nowhere(character: str) -> None:
    """What comes after such a character would count as host or database, and be told with them."""
    with pytest.raises(UsageError, match="write it as %2F") as refused:
        open_history(f"postgresql://flows:hunter{character}2@db.internal/headrace")
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite://", "mysql://host/db", "history.db", "postgresql://host"])
def test_a_url_of_no_store_is_refused(url: str) -> None:
    """Before anything is connected to."""
    with pytest.raises(UsageError, match="history URL"):
        open_history(url)
