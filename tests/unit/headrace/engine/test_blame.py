"""Where an exception comes from, in words that an author knows."""

import pytest

from headrace.engine.blame import where


def raised_in(file: object) -> BaseException:
    with pytest.raises(ValueError, match="no rows") as caught:
        exec(compile("def load():\n    raise ValueError('no rows')\nload()", str(file), "exec"), {})
    return caught.value


def test_a_place_is_relative_to_the_working_folder(tmp_path, monkeypatch):
    """Below it; elsewhere the name is enough."""
    monkeypatch.chdir(tmp_path)
    assert where(raised_in(tmp_path / "shop" / "etl.py")) == "shop/etl.py:2"
    assert where(raised_in("/opt/headrace/code/etl.py")) == "etl.py:2"


def test_folders_of_the_image_are_left_out_in_a_pod_that_works_in_its_root(monkeypatch):
    """All files are below that."""
    monkeypatch.chdir("/")
    assert where(raised_in("/opt/headrace/code/etl.py")) == "etl.py:2"
