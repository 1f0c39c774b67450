"""`headrace results`: what a person sees of a storage."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from headrace.cli.main import application
from headrace.cli.results import ages, size
from headrace.errors import NoSuchResult
from headrace.results import open_storage
from headrace.results.cargo import VALUE, packed

PAST, FUTURE = "2000-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


def ran(*arguments):
    """What the command prints."""
    done = CliRunner().invoke(application(), ["results", *arguments])
    if done.exception:
        raise done.exception
    return done.stdout


@pytest.fixture
def url(tmp_path):
    """A storage with one object of each sort."""
    storage = open_storage(tmp_path.as_uri())
    facts = {"flow_run": "etl-7", "task_run": "extract-0"}
    storage.put("run/value", packed({"rows": [1, 2]}, VALUE, what="it", expires=FUTURE, **facts).sealed())
    storage.put("run/pickle", packed((1, 2), VALUE, what="it").sealed())
    storage.put("run/old", packed(1, VALUE, what="it", expires=PAST).sealed())
    storage.put("locks/lock-1", b'{"token": "x"}')
    return tmp_path.as_uri()


def test_what_is_stored_is_listed(url):
    """Kind, format and run; what has expired, and what others have put there."""
    lines = {line.split()[0]: line.split()[1:] for line in ran("list", url).splitlines()[1:]}
    assert lines.keys() == {"run/value", "run/pickle", "run/old", "locks/lock-1"}
    assert lines["run/value"][:2] == ["value", "json"]
    assert lines["run/value"][-1] == "etl-7/extract-0"
    assert lines["run/pickle"][:2] == ["value", "pickle"]
    assert lines["run/old"][0] == "expired"
    assert lines["locks/lock-1"][0] == "?"


@pytest.mark.parametrize(
    ("key", "run"),
    [
        ("team-a/etl-7/u1/finished/load-0", "team-a/etl-7/load-0"),
        ("local/etl/main/finished/load-0", "local/etl/load-0"),
        ("cache/load-12/result", "load-0"),
    ],
)
def test_a_result_is_of_the_run_in_whose_folder_it_lies(tmp_path, key, run):
    """Where it does not say so itself."""
    open_storage(tmp_path.as_uri()).put(key, packed(1, VALUE, what="it", task_run="load-0").sealed())
    assert ran("list", tmp_path.as_uri()).splitlines()[1].split()[-1] == run


def test_a_list_ends_at_its_limit(url):
    """And says so."""
    out = ran("list", url, "--limit", "2")
    assert len(out.splitlines()) == 4
    assert "there are more than 2" in out


def test_a_list_is_of_one_folder(url):
    """Or empty."""
    assert [each["key"] for each in json.loads(ran("list", url, "--prefix", "locks", "-o", "json"))] == ["locks/lock-1"]
    assert ran("list", url, "--prefix", "none") == "nothing is stored there\n"


def test_a_result_is_shown(url):
    """What its first line says, and the value."""
    out = ran("show", url, "run/value")
    assert "task_run" in out
    assert FUTURE in out
    assert "{'rows': [1, 2]}" in out


@pytest.mark.parametrize(
    ("key", "says"), [("run/pickle", "no preview of pickle"), ("locks/lock-1", "an object that headrace did not write")]
)
def test_what_might_run_code_is_not_opened(url, key, says):
    """A pickle is only described."""
    assert says in ran("show", url, key)


def test_a_key_that_is_none_is_told(url):
    """With place and key."""
    with pytest.raises(NoSuchResult, match='"run/none"'):
        ran("show", url, "run/none")


def test_what_has_expired_is_pruned(url):
    """After it was shown, if asked."""
    assert ran("prune", url, "--dry-run") == "run/old\n1 expired result would be deleted\n"
    assert ran("prune", url) == "run/old\n1 expired result deleted\n"
    assert ran("prune", url) == "0 expired results deleted\n"
    assert "run/value" in ran("list", url)


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (999_600, "1 MB")]
)
def test_sizes_are_told_in_three_digits(count, told):
    """As people say them."""
    assert size(count) == told


def test_ages_are_told_as_kubectl_does():
    """Empty where it is not known."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert ages(now - timedelta(hours=3), None, now) == ("3h", "")
    assert ages(None, now + timedelta(days=9), now) == ("", "9d")
