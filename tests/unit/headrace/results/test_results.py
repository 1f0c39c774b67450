"""Storages: what was put is there, whole; what goes wrong is told with place and key."""

import sys

import pytest

from headrace import NoSuchResult, ResultsError, UsageError
from headrace.results import open_storage
from headrace.results.objects import Objects

MEMORY = "an object store"


@pytest.fixture(params=["file", MEMORY])
def storage(request, tmp_path):
    if request.param == "file":
        return open_storage(f"file://{tmp_path}/a%20folder/results")
    memory = pytest.importorskip("obstore.store").MemoryStore()
    return Objects("s3://bucket/prefix", memory)


@pytest.mark.parametrize("data", [b"", b"one", b"x" * 10_000_000], ids=["empty", "small", "10 MB"])
def test_what_was_put_is_there(storage, data):
    """And put again it is replaced."""
    storage.put("run/uid/output", b"before")
    storage.put("run/uid/output", data)
    assert storage.get("run/uid/output") == data
    assert storage.exists("run/uid/output")


def test_what_was_not_put_is_not_there(storage):
    """Reading it is an error of its own; deleting it is none."""
    assert not storage.exists("run/output")
    with pytest.raises(NoSuchResult, match='"run/output"'):
        storage.get("run/output")
    storage.delete("run/output")


def test_what_was_deleted_is_gone(storage):
    """At once."""
    storage.put("output", b"one")
    storage.delete("output")
    assert not storage.exists("output")


def test_a_file_is_never_seen_in_part(tmp_path, monkeypatch):
    """What breaks on the way leaves what was there, and no draft."""
    storage = open_storage(f"file://{tmp_path}")
    storage.put("output", b"before")

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultsError, match="No space left on device"):
        storage.put("output", b"after")
    assert storage.get("output") == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


@pytest.mark.parametrize("key", ["../output", "a/../../output", "/etc/passwd"])
def test_a_key_stays_in_its_folder(tmp_path, key):
    """Whatever it is made of."""
    with pytest.raises(ResultsError, match="it points out of the folder"):
        open_storage(f"file://{tmp_path}/results").put(key, b"")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com/x", 'there is no storage for "http"'),
        ("/mnt/results", 'there is no storage for ""'),
        ("file://mnt/results", "file:///mnt/results"),
        ("s3://", "check the URL"),
    ],
)
def test_a_url_that_is_none_is_told(url, says):
    """With one that would do."""
    pytest.importorskip("obstore")
    with pytest.raises(UsageError, match=says):
        open_storage(url)


def test_a_library_that_is_missing_is_told(monkeypatch):
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UsageError, match=r'install "headrace\[storage\]"'):
        open_storage("s3://bucket/prefix")
