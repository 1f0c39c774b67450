"""Storages: what was put is there, whole; what goes wrong is told with place and key."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

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


def test_what_is_new_is_put_once(storage):
    """What is there stays; once it is deleted, the next one is new."""
    assert storage.put_new("run/output", b"one")
    assert not storage.put_new("run/output", b"two")
    assert storage.get("run/output") == b"one"
    storage.delete("run/output")
    assert storage.put_new("run/output", b"three")
    assert storage.get("run/output") == b"three"


def test_of_many_at_once_one_is_new(storage):
    """And what is read is what it put."""
    with ThreadPoolExecutor(8) as threads:
        data = [bytes([each]) * 100_000 for each in range(32)]
        new = list(threads.map(lambda each: storage.put_new("run/output", each), data))
    assert new.count(True) == 1
    assert storage.get("run/output") == data[new.index(True)]


@pytest.mark.parametrize(
    ("prefix", "keys"),
    [
        ("", {"run/a", "run/deep/b", "run-2/a", "top"}),
        ("run", {"run/a", "run/deep/b"}),
        ("run/deep", {"run/deep/b"}),
        ("ru", set()),
        ("none/such", set()),
    ],
)
def test_keys_are_listed_by_folder(storage, prefix, keys):
    """Whole names of folders, however deep; a folder that is not there is empty."""
    for key in ("run/a", "run/deep/b", "run-2/a", "top"):
        storage.put(key, b"")
    found = list(storage.list(prefix))
    assert set(found) == keys
    assert len(found) == len(keys)


def test_a_folder_without_links_is_told(tmp_path, monkeypatch):
    """Some file systems of networks have none."""

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    with pytest.raises(ResultsError, match="Operation not supported"):
        open_storage(f"file://{tmp_path}").put_new("output", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_link_whose_answer_was_lost_is_made(tmp_path, monkeypatch):
    """A server of network files may do it twice, and then say that it is there."""
    link = os.link

    def linked(source, target):
        link(source, target)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr("os.link", linked)
    assert open_storage(f"file://{tmp_path}").put_new("output", b"one")


def test_what_is_put_anew_is_not_pruned(tmp_path):
    """Though it had expired when it was looked at: it comes back to its place, unless a newer one is there."""
    storage = open_storage(f"file://{tmp_path}")
    storage.put("output", b"fresh")
    assert not storage._taken_away(tmp_path / "output")
    assert storage.get("output") == b"fresh"
    assert not storage._taken_away(tmp_path / "gone")
    assert list(storage.list()) == ["output"]


def test_a_draft_is_not_listed(tmp_path):
    """Such as a process leaves that is killed."""
    storage = open_storage(f"file://{tmp_path}")
    storage.put("output", b"one")
    (tmp_path / ".output.0a1b2c3d.draft").write_bytes(b"o")
    assert list(storage.list()) == ["output"]


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
