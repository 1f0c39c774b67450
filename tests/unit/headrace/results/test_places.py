"""URLs of objects, and what of them may be shown."""

from __future__ import annotations

import sys

import pytest

from headrace import UsageError
from headrace.results import open_storage
from headrace.results.database import database
from headrace.results.places import joined, split, with_password_of, without_password

SECRET = "postgresql://flows:s3cr%2Ft@db:5432/results"


@pytest.mark.parametrize(
    ("url", "key", "whole"),
    [
        ("s3://bucket/prefix", "run/output", "s3://bucket/prefix/run/output"),
        ("s3://bucket/", "output", "s3://bucket/output"),
        ("mysql://u@db/name?ssl_ca=/ca.pem", "run/output", "mysql://u@db/name/run/output?ssl_ca=/ca.pem"),
    ],
)
def test_a_key_is_put_before_the_options(url, key, whole):
    """And found there again."""
    assert joined(url, key) == whole
    folder, name = split(whole)
    assert joined(folder, name) == whole
    assert name == key.rpartition("/")[2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (SECRET, "postgresql://flows@db:5432/results"),
        ("mysql://db/results?ssl_key=/key.pem&ssl_ca=/ca.pem", "mysql://db/results?ssl_ca=/ca.pem"),
        ("postgresql://db/results?password=x&sslmode=require", "postgresql://db/results?sslmode=require"),
        ("az://container/a?sig=abc", "az://container/a"),
        ("file:///mnt/a%20b", "file:///mnt/a%20b"),
    ],
)
def test_a_url_is_shown_without_what_is_secret(url, shown):
    """The rest stays, so that people know it again."""
    assert without_password(url) == shown


@pytest.mark.parametrize("ours", [SECRET, "mysql://u:pw@db/results?ssl_key=/key.pem&ssl_ca=/ca.pem"])
def test_what_was_hidden_comes_back_where_it_is_known(ours):
    """By the results URL of the process, for an object below it."""
    assert with_password_of(ours, without_password(joined(ours, "run/output"))) == joined(ours, "run/output")


@pytest.mark.parametrize("url", ["postgresql://flows@elsewhere:5432/results/x", "s3://bucket/x", f"{SECRET}/x"])
def test_a_password_goes_nowhere_else(url):
    """Nor does it take the place of another."""
    assert with_password_of(SECRET, url) == url


@pytest.mark.parametrize("url", [f"{SECRET}/x".replace("postgresql", "http"), SECRET.replace("/results", "")])
def test_no_error_shows_a_password(url):
    """Not even that of a URL which is none."""
    with pytest.raises(UsageError) as caught:
        open_storage(url)
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize(("url", "driver"), [("postgresql://db/unused", "psycopg"), ("mysql://db/unused", "pymysql")])
def test_a_driver_that_is_missing_is_told(monkeypatch, url, driver):
    """With the extra that brings it."""
    for module in ("headrace.results.postgresql", "headrace.results.mysql"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(UsageError, match=rf'driver {driver} is missing; install "headrace\[sql\]"'):
        database(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://flows@db", "it names no database; write postgresql://user@host/database"),
        ("mysql://flows@db/", "it names no database; write mysql://user@host/database"),
    ],
)
def test_a_url_without_a_database_is_told(url, says):
    """With one that has one."""
    with pytest.raises(UsageError, match=says):
        open_storage(url)
