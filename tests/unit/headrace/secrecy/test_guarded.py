"""Streams whose readers see no secret, however it is written."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.secrecy import redaction
from headrace.secrecy.guarded import Guarded
from headrace.secrecy.redaction import MASK, Registry


@pytest.fixture
def stream():
    """A guard, and what came through it."""
    behind = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    guarded = Guarded(behind)
    return guarded, lambda: behind.buffer.getvalue().decode()


def test_what_is_written_comes_at_once_while_nothing_is_registered(stream, monkeypatch):
    """Also without an end of line."""
    monkeypatch.setattr("headrace.secrecy.guarded.SECRETS", Registry())
    guarded, written = stream
    assert guarded.write("progress 1 % ") == 13
    assert written() == "progress 1 % "


@given(st.lists(st.integers(0, 30), max_size=5), st.booleans())
def test_a_value_that_comes_in_pieces_never_shows(cuts, as_bytes):
    """Whatever the pieces are."""
    text = "user etl, password hunter2-7, done"
    behind = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    guarded = Guarded(behind)
    before = redaction.SECRETS.forms, redaction.SECRETS.told, redaction.SECRETS._starts
    redaction.register("hunter2-7")
    try:
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(text)], strict=True):
            piece = text[start:end]
            assert (guarded.buffer.write(piece.encode()) if as_bytes else guarded.write(piece)) == len(piece)
            guarded.flush()
            assert "hunt" not in behind.buffer.getvalue().decode()
        guarded.release()
    finally:
        redaction.SECRETS.forms, redaction.SECRETS.told, redaction.SECRETS._starts = before
    assert behind.buffer.getvalue().decode() == f"user etl, password {MASK}, done"


def test_what_only_looks_like_a_value_comes_when_that_is_clear(stream, secrets):
    """With what follows, or at the end of the process."""
    secrets("hunter2")
    guarded, written = stream
    guarded.write("the hunt")
    assert written() == "the "
    guarded.write("s are over: hu")
    assert written() == "the hunts are over: "
    guarded.release()
    assert written() == "the hunts are over: hu"


def test_it_stands_in_for_the_stream_behind(stream):
    """Encoding, lines, and a close that does not close it."""
    guarded, written = stream
    guarded.writelines(["a\n", "b\n"])
    guarded.close()
    print("c", file=guarded)
    assert (guarded.encoding, guarded.errors, guarded.isatty(), guarded.writable()) == ("utf-8", "strict", False, True)
    assert guarded.line_buffering is False
    assert written() == "a\nb\nc\n"
