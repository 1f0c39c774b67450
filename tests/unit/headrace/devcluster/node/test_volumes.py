"""Files of a volume, changed in one step."""

from __future__ import annotations

import pytest

from headrace.devcluster.node.sources import MissingSource
from headrace.devcluster.node.volumes import File, picked, write_files


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith("..")}


def test_files_change_together(tmp_path):
    """New content, gone names, one switch; nothing old stays."""
    write_files(tmp_path, {"a": File(b"1"), "b": File(b"1")})
    write_files(tmp_path, {"a": File(b"2"), "c": File(b"2", 0o400)})

    assert content(tmp_path) == {"a": "2", "c": "2"}
    assert (tmp_path / "c").stat().st_mode & 0o777 == 0o400
    assert len([path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]) == 1


def test_nothing_is_written_when_nothing_changed(tmp_path):
    """The folder that the files are in stays the same."""
    write_files(tmp_path, {"a": File(b"1")})
    before = (tmp_path / "..data").resolve()
    write_files(tmp_path, {"a": File(b"1")})

    assert (tmp_path / "..data").resolve() == before


def test_paths_may_have_folders(tmp_path):
    """`items` of a ConfigMap may name them."""
    write_files(tmp_path, {"lib/deep/a": File(b"1")})

    assert (tmp_path / "lib" / "deep" / "a").read_text() == "1"


def test_a_volume_may_be_empty(tmp_path):
    """An optional source that is missing."""
    write_files(tmp_path, {})

    assert content(tmp_path) == {}


def test_items_pick_and_rename():
    """Each with a mode of its own, if it has one."""
    items = [{"key": "a", "path": "x", "mode": 0o400}, {"key": "b", "path": "y"}]

    assert picked({"a": b"1", "b": b"2", "c": b"3"}, items, 0o644, "") == {
        "x": File(b"1", 0o400),
        "y": File(b"2", 0o644),
    }
    assert picked(None, items, 0o644, "") == {}


def test_an_item_that_is_missing_is_named():
    """The text is the kubelet's for its kind of volume."""
    with pytest.raises(MissingSource, match="no key: q"):
        picked({"a": b""}, [{"key": "q", "path": "q"}], 0o644, "no key: {}")
