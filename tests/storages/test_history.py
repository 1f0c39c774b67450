"""The history store in PostgreSQL: what SQLite does not have, its outages, and the questions of docs/history.md."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest

from headrace.history import (
    HistoryRefused,
    HistoryStore,
    HistoryTooNew,
    HistoryTooOld,
    HistoryUnavailable,
    open_history,
)
from headrace.history.reading import Question, listed, told
from headrace.history.schema import CURRENT, MIGRATIONS
from headrace.secrecy.redaction import redacted
from tests.storages.servers import PASSWORD, Missing, PostgreSQL, a_postgresql
from tests.unit.headrace.history import searches
from tests.unit.headrace.history.finished import a_record
from tests.unit.headrace.history.test_sqlite import KILLED, LARGER_THAN_A_COLUMN

PAGE = Path(__file__).parents[2] / "docs" / "history.md"
STATEMENTS = [
    each
    for block in re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for each in block.split(";\n")
    if each
]
OF_SQLITE = "strftime"


@pytest.fixture(scope="module")
def files() -> Iterator[PostgreSQL]:
    """A server that is not started."""
    making = a_postgresql()
    try:
        found = making.__enter__()
    except Missing as error:
        pytest.skip(str(error))
    yield found
    making.__exit__(None, None, None)


@pytest.fixture(scope="module")
def postgres(files: PostgreSQL) -> Iterator[PostgreSQL]:
    """It runs, for all tests that do not stop it."""
    with files.running():
        yield files


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a Secret would give it to the operator."""
    monkeypatch.setenv("HEADRACE_HISTORY_PASSWORD", PASSWORD)


@pytest.fixture
def store(postgres: PostgreSQL) -> Iterator[HistoryStore]:
    """With nothing in it."""
    with psycopg.connect(postgres.served.url, password=PASSWORD) as connection:
        connection.execute("drop table if exists headrace_runs, headrace_history_version")
    with closing(open_history(postgres.served.url)) as opened:
        yield opened


def names(store: HistoryStore) -> list[str]:
    return sorted(row["name"] for row in store.rows("select name from headrace_runs"))


def test_a_text_that_the_database_does_not_take_is_refused_alone(store: HistoryStore) -> None:
    """By its driver, and the store is not away for that."""
    searches.fill(store)
    with pytest.raises(HistoryRefused, match="NUL"):
        searches.names(store, part_of_name="\0")
    assert searches.names(store, limit=1) == ["a-1"]


def test_what_is_written_is_read(store: HistoryStore, postgres: PostgreSQL) -> None:
    """As from a file, money with all its digits."""
    cost = {"amount": "0.012500", "currency": "EUR"}
    store.write([a_record("a", cost=cost), a_record("b", phase="Failed").with_log_tail('it\'s \\ "so"\n')])
    with closing(open_history(postgres.served.url, is_reader=True)) as reader:
        (kept,) = told(reader, "team-a", "a")
        assert (kept["cost_amount"], kept["finished_at"]) == ("0.012500", "2026-03-04T12:00:01.500Z")
        assert (kept["parameters"], kept["attempts"][0]["pod"]) == ({"day": "2026-03-03", "rows": 10}, "a-1")
        assert [row["name"] for row in listed(reader, Question(phase="Failed"), 10)] == ["b"]
        assert told(reader, "team-a", "b")[0]["log_tail"] == 'it\'s \\ "so"\n'
        with pytest.raises(HistoryUnavailable, match="read-only"):
            reader.write([a_record("c")])


@pytest.mark.parametrize("check", searches.CHECKS, ids=lambda check: check.__name__)
def test_searching(store: HistoryStore, check: searches.Check) -> None:
    """As in a file."""
    searches.fill(store)
    check(store)


def test_a_run_has_one_record_whoever_writes_it(store: HistoryStore, postgres: PostgreSQL) -> None:
    """Four writers of the same batches, at the same time, on a store that none of them has made yet."""
    batches = [[a_record(f"run-{batch}-{number}") for number in range(50)] for batch in range(4)]

    def write(_: int) -> None:
        with closing(open_history(postgres.served.url)) as writer:
            for batch in batches:
                writer.write(batch)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert len(names(store)) == 200
    assert store.rows("select version from headrace_history_version") == [{"version": CURRENT}]


@pytest.mark.parametrize(
    "bad", [{"usage": LARGER_THAN_A_COLUMN}, {"cost": {"amount": "free of charge"}}], ids=["number", "money"]
)
def test_a_record_that_is_refused_keeps_no_other_out(store: HistoryStore, bad: dict[str, object]) -> None:
    """What can be kept of it is, with the reason."""
    written = store.write([a_record("a"), a_record("bad", **bad), a_record("b", message="\x00")])
    assert (list(written.bare), written.lost) == (["uid-of-bad"], {})
    assert names(store) == ["a", "b", "bad"]
    assert told(store, "team-a", "bad")[0]["refused"]
    assert store.known(["uid-of-bad", "uid-of-none"]) == {"uid-of-bad"}


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_does_not_speak_unicode_refuses_one_record_at_most(postgres: PostgreSQL, encoding: str) -> None:
    """And takes the others; the driver must not stumble over what the server would refuse."""
    name = encoding.lower()
    with psycopg.connect(postgres.served.url, password=PASSWORD, autocommit=True) as connection:
        connection.execute(f"create database {name} encoding '{encoding}' locale 'C' template template0")
    url = postgres.served.url.rpartition("/")[0] + f"/{name}"
    with closing(open_history(url)) as store:
        written = store.write([a_record("a"), a_record("odd", message="it rained \u2614"), a_record("b")])
        assert written.lost == {}
        assert set(written.bare) <= {"uid-of-odd"}
        assert names(store) == ["a", "b", "odd"]


def test_a_store_of_the_first_version_is_migrated(store: HistoryStore, postgres: PostgreSQL) -> None:
    """By a writer; a reader says who does it."""
    with psycopg.connect(postgres.served.url, password=PASSWORD) as connection:
        connection.execute("create table headrace_history_version (version integer not null)")
        connection.execute("insert into headrace_history_version values (1)")
        for statement in MIGRATIONS[1]:
            connection.execute(statement.format(time="timestamptz", json="jsonb", now="now()"))
        connection.execute(
            "insert into headrace_runs (uid, namespace, name, phase, finished_at) values ('u', 'team-a', 'old', 'Failed', now())"
        )
    reader = open_history(postgres.served.url, is_reader=True)
    with closing(reader), pytest.raises(HistoryTooOld):
        names(reader)
    store.write([a_record("new")])
    assert names(store) == ["new", "old"]


def test_a_newer_store_is_refused(store: HistoryStore) -> None:
    """Also by an operator that comes back after it was migrated."""
    store.write([a_record("a")])
    store.rows("update headrace_history_version set version = version + 1 returning version")
    store.close()
    with pytest.raises(HistoryTooNew):
        store.write([a_record("b")])


def test_a_server_that_goes_and_comes_back_has_every_record_once(files: PostgreSQL, store: HistoryStore) -> None:
    """Each batch is written until it is told to be there; meanwhile it is an outage."""
    store.write([a_record("before")])
    store.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename is not null"
    )
    with closing(open_history(files.served.url)) as other:
        other.write([a_record("other")])
        store.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename is not null"
        )
        with pytest.raises(HistoryUnavailable, match="terminating connection"):
            other.write([a_record("during")])
        other.write([a_record("during"), a_record("after")])
    assert names(store) == ["after", "before", "during", "other"]


def test_a_server_that_is_stopped_is_an_outage_until_it_is_started(postgres: PostgreSQL) -> None:
    """The same store object goes on, as the operator does."""
    with a_postgresql() as files, closing(open_history(files.served.url)) as store:
        with files.running():
            store.write([a_record("before")])
        for _ in range(2):
            with pytest.raises(HistoryUnavailable) as stopped:
                store.write([a_record("during")])
            assert PASSWORD not in str(stopped.value)
        with files.running():
            store.write([a_record("before"), a_record("during"), a_record("after")])
            assert names(store) == ["after", "before", "during"]


def test_what_was_committed_by_a_process_that_is_killed_is_known_to_the_next(
    store: HistoryStore, postgres: PostgreSQL
) -> None:
    """It died before it could act on it."""
    done = subprocess.run([sys.executable, "-c", KILLED, postgres.served.url], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert store.known(["uid-of-a", "uid-of-b"]) == {"uid-of-a", "uid-of-b"}
    store.write([a_record("a"), a_record("b")])
    assert names(store) == ["a", "b"]


def test_a_server_is_reached_without_a_host_in_the_url(postgres: PostgreSQL) -> None:
    """As one does whose socket is a file."""
    at = urlsplit(postgres.served.url)
    url = f"postgresql:///{at.path.strip('/')}?host={at.hostname}&port={at.port}&user={at.username}"
    with closing(open_history(url)) as store:
        store.write([a_record("a")])
        assert "a" in names(store)


def test_a_wrong_password_is_told_without_it(postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it in the variable or in the URL, and whoever else tells of it."""
    monkeypatch.setenv("HEADRACE_HISTORY_PASSWORD", "hunter2")
    in_url = postgres.served.url.replace("flows@", f"flows:{quote('hunter3/', safe='')}@")
    in_options = f"{postgres.served.url}?password=hunter4"
    for url in (postgres.served.url, in_url, in_options):
        with (
            closing(open_history(url)) as store,
            pytest.raises(HistoryUnavailable, match="password authentication failed") as told,
        ):
            store.write([a_record()])
        assert "hunter" not in str(told.value)
    assert redacted("hunter2, hunter3/, hunter4").count("hunter") == 0


def test_commits_are_on_the_disk_before_they_are_told(store: HistoryStore, postgres: PostgreSQL) -> None:
    """Whatever the role's default is; they are the licence to delete runs."""
    with psycopg.connect(postgres.served.url, password=PASSWORD) as connection:
        connection.execute("alter role flows set synchronous_commit = off")
    try:
        assert store.rows("select current_setting('synchronous_commit') as it") == [{"it": "on"}]
    finally:
        with psycopg.connect(postgres.served.url, password=PASSWORD) as connection:
            connection.execute("alter role flows reset synchronous_commit")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_questions_of_the_page_have_answers(store: HistoryStore, tmp_path: Path, statement: str) -> None:
    """Each on the database that it is written for."""
    with closing(open_history(f"sqlite:///{tmp_path}/history.db")) as file:
        asked = file if OF_SQLITE in statement else store
        asked.write(
            [
                a_record("a", cost={"amount": "1", "currency": "EUR"}),
                a_record("b", phase="Failed", finishedAt="2999-01-01T00:00:00Z"),
            ]
        )
        connection = asked._connected()
        rows = asked._dialect.begin(connection).execute(statement).fetchall()
        connection.rollback()
    assert rows
