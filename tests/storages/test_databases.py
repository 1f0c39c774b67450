"""Results in PostgreSQL and MariaDB: what only databases have, connections, passwords, transactions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pymysql
import pytest

from headrace import ResultsError, UsageError
from headrace.results import Storage, open_storage
from headrace.results.cargo import VALUE, Cargo, opened, packed
from headrace.results.database import Database, _dialect, database
from headrace.results.places import joined
from headrace.results.sql import Rows
from headrace.secrecy.redaction import redacted
from tests.storages.servers import PASSWORD, Served
from tests.storages.test_storages import MB, child

pytestmark = pytest.mark.databases


@pytest.fixture
def own(served: Served) -> Iterator[Database]:
    """A second connection of this process, as another process would have."""
    with closing(Database(served.url, _dialect(urlsplit(served.url).scheme))) as found:
        yield found


def ended(of: Served, own: Database) -> None:
    """The server ends all connections but this one."""
    if of.url.startswith("postgresql:"):
        kill = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and usename is not null"
        own.done("", lambda cursor: cursor.execute(kill))
        return

    def kill_others(cursor: Any) -> None:
        cursor.execute(
            "select id from information_schema.processlist where id <> connection_id() and command <> 'Daemon'"
        )
        for (number,) in cursor.fetchall():
            cursor.execute(f"kill {number}")

    own.done("", kill_others)


def test_a_connection_that_was_lost_is_opened_again(served: Served, own: Database, storage: Storage) -> None:
    """Whatever is done next; nobody sees it."""
    storage.put("output", b"one")
    for act in (
        lambda: storage.get("output"),
        lambda: storage.put("output", b"two"),
        lambda: storage.put_new("other", b"three"),
        lambda: list(storage.list()),
    ):
        ended(served, own)
        act()
    assert (storage.get("output"), storage.get("other")) == (b"two", b"three")


def test_a_writer_whose_connection_is_lost_stores_nothing(served: Served, own: Database, storage: Storage) -> None:
    """And its caller is told; a half is not repeated."""
    storage.put("output", b"before")
    with pytest.raises(ResultsError, match="output"), storage.writer("output") as file:
        file.write(os.urandom(5 * MB))
        ended(served, own)
        file.write(os.urandom(5 * MB))
    assert storage.get("output") == b"before"


LOST = {"postgresql": psycopg.OperationalError("gone"), "mysql": pymysql.OperationalError(2013, "gone")}


def test_a_put_that_is_cancelled_leaves_no_lock(storage: Storage, own: Database, url: str) -> None:
    """Nor half a transaction, in which the next one would go on."""
    rows = Rows(own, url.rpartition("/")[2])

    def work(cursor: Any) -> None:
        rows._new_rows(cursor, "output", own.dialect.upsert).write(os.urandom(5 * MB))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.done("output", work)
    assert storage.put_new("output", b"one")
    assert rows.get("output") == b"one"


class Forgetful:
    """A connection that commits, and then loses the answer, once."""

    def __init__(self, connection: Any, error: Exception) -> None:
        self._connection = connection
        self._errors = [error]
        self.armed = False

    def commit(self) -> None:
        self._connection.commit()
        if self.armed and self._errors:
            raise self._errors.pop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_a_put_new_whose_answer_was_lost_knows_its_own_work(own: Database) -> None:
    """It is done again, and finds itself."""
    rows = Rows(own, "forgetful")
    rows.delete("output")
    own._connection = Forgetful(own._connection, LOST[own.shown.partition(":")[0]])
    own._connection.armed = True
    assert rows.put_new("output", b"one")
    assert not rows.put_new("output", b"two")
    assert rows.get("output") == b"one"


def test_a_process_that_forks_opens_its_own_connection(url: str) -> None:
    """The parent's stays what it was."""
    command = (sys.executable, "-W", "error", "-m", "tests.storages.child", "fork", url, "output")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\nof the child\n", "")


def test_the_table_is_made_by_the_first_of_many(own: Database, served: Served, url: str) -> None:
    """Processes that start at once do not get into each other's way."""
    database(served.url).close()
    own.done("", lambda cursor: cursor.execute("drop table headrace_results"))
    with ExitStack() as stack:
        command = (sys.executable, "-m", "tests.storages.child", "race", url)
        started = [
            stack.enter_context(
                subprocess.Popen([*command, str(number), "key"], stdin=-1, stdout=-1, stderr=-1, text=True)
            )
            for number in range(4)
        ]
        said = [each.communicate("\n") for each in started]
    assert sorted(out for out, _ in said) == ["ready\n\n"] * 3 + ["ready\nkey\n"]
    assert [error for _, error in said] == [""] * 4


def test_a_reader_sees_one_object_while_it_is_replaced(own: Database, url: str) -> None:
    """Though it has several rows: all of one, or all of the other."""
    storage, other = open_storage(url), Rows(own, url.rpartition("/")[2])
    versions = [packed([number, os.urandom(3 * MB)], VALUE, what="it").sealed() for number in range(2)]
    storage.put("output", versions[0])
    with ThreadPoolExecutor(1) as writer:
        work = writer.submit(lambda: [other.put("output", versions[turn % 2]) for turn in range(12)])
        reads = 0
        while not work.done() or reads < 3:
            with storage.reader("output") as file:
                assert file.read() in versions
            assert opened(storage.get("output")).content()[0] in {0, 1}
            reads += 1
        work.result()


def test_threads_share_a_storage(storage: Storage) -> None:
    """As the tasks of a flow do."""

    def use(number: int) -> bool:
        storage.put(f"key-{number}", b"%d" % number)
        return storage.get(f"key-{number}") == b"%d" % number

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(100)))


def test_prefixes_are_apart(served: Served) -> None:
    """One team does not see the other's, nor prune it."""
    old = Cargo(VALUE, "bytes", b"", {"expires": "2000-01-01T00:00:00Z"}).sealed()
    one, two = open_storage(joined(served.url, "team")), open_storage(joined(served.url, "team-b"))
    for each in (one, two):
        each.put("run/output", old)
    assert list(one.prune()) == ["run/output"]
    assert list(two.list()) == ["run/output"]
    two.delete("run/output")


def with_password(url: str, password: str) -> str:
    who, at, where = url.rpartition("@")
    return f"{who}:{password}{at}{where}"


def test_a_password_in_the_url_is_used_and_never_shown(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in errors nor in what they rest on."""
    monkeypatch.delenv("HEADRACE_RESULTS_PASSWORD")
    url = with_password(served.url, quote(PASSWORD, safe=""))
    storage = open_storage(url)
    assert not storage.exists("output")
    with pytest.raises(ResultsError) as caught:
        storage.get("output")
    database(url).close()
    wrong = open_storage(with_password(served.url, "wr0ng-s3cret"))
    with pytest.raises(ResultsError, match=r"denied|password authentication failed") as refused:
        wrong.exists("output")
    for error in (caught, refused):
        shown = "".join(map(str, (error.value, error.value.__cause__, error.value.args)))
        assert not re.search(r"s3c|wr0ng|%25", shown)


def test_no_log_shows_the_password(storage: Storage) -> None:
    """Nor in a URL, where it is quoted."""
    storage.exists("output")
    line = redacted(f"connected to mysql://flows:{quote(PASSWORD, safe='')}@db, that is {PASSWORD}")
    assert "s3c" not in line
    assert "mysql://flows:" in line


def test_a_server_that_is_not_there_is_told(served: Served) -> None:
    """With its address, and soon."""
    url = re.sub(r":\d+/", ":1/", served.url)
    with pytest.raises(ResultsError, match=r"(?i)refused") as caught:
        open_storage(url).get("output")
    assert caught.value.place == url


def test_a_user_who_may_not_make_tables_uses_one_that_is_there(
    served: Served, own: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator has made it."""
    rights = "select, insert, update, delete on headrace_results to guest"
    statements = {
        "postgresql": ["create user guest password 'guest'", f"grant {rights}"],
        "mysql": ["create user guest@'127.0.0.1' identified by 'guest'", f"grant {rights}@'127.0.0.1'"],
    }[served.url.partition(":")[0]]
    own.done("", lambda cursor: [cursor.execute(statement) for statement in statements])
    monkeypatch.setenv("HEADRACE_RESULTS_PASSWORD", "guest")
    url = served.url.replace("//flows@", "//guest@") + "/guests"
    storage = open_storage(url)
    storage.put("output", b"one")
    assert storage.get("output") == b"one"
    database(served.url.replace("//flows@", "//guest@")).close()


def test_a_killed_process_holds_no_row(storage: Storage, url: str) -> None:
    """Its transaction ends with it: the next writer waits for nothing."""
    with child("stall", url, "output") as process:
        process.kill()
    assert storage.put_new("output", b"new")


def test_an_option_that_is_not_known_is_told(served: Served) -> None:
    """A misspelt one would be a connection without TLS."""
    storage = open_storage(f"{served.url}?ssl_mode_=x")
    with pytest.raises((UsageError, ResultsError), match="ssl_mode_"):
        storage.exists("output")
