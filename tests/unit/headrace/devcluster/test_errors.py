"""Texts that show the end of a log."""

from __future__ import annotations

from headrace.devcluster.errors import StartFailed, tail


def test_a_failed_start_shows_the_end_of_the_log(tmp_path):
    """Component, problem, file, last lines."""
    log = tmp_path / "etcd.log"
    log.write_text("\n".join(str(number) for number in range(9)))

    assert str(StartFailed("etcd", "ended", log)) == f"etcd ended; the end of {log}:\n  4\n  5\n  6\n  7\n  8"


def test_a_log_may_be_empty_or_missing(tmp_path):
    """Both are said."""
    (tmp_path / "empty").touch()

    assert tail(tmp_path / "empty") == "  (empty)"
    assert tail(tmp_path / "missing") == "  (No such file or directory)"
