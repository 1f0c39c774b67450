"""What is written to a log and read from it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from headrace.devcluster.node.logs import LINE_LIMIT, LogWriter, Wanted, last_words, read


@pytest.fixture
def writer(tmp_path):
    made = LogWriter(tmp_path / "logs" / "0.log")
    yield made
    made.close()


async def text(writer, **wanted):
    return b"".join([piece async for piece in read(writer.path, Wanted(**wanted), writer)]).decode()


async def test_streams_are_told_apart_and_lines_completed(writer):
    """Halves of a line that come apart are one line."""
    writer.feed("stdout", b"a")
    writer.feed("stderr", b"x\n")
    writer.feed("stdout", b"b\nc")
    writer.close()

    assert [line.split(" ", 1)[1] for line in writer.path.read_text().splitlines()] == [
        "stderr F x",
        "stdout F ab",
        "stdout P c",
    ]
    assert await text(writer) == "x\nab\nc"


@pytest.mark.parametrize("size", [1, LINE_LIMIT - 1, LINE_LIMIT, LINE_LIMIT + 1, 3 * LINE_LIMIT])
async def test_lines_of_any_length_come_back(writer, size):
    """Also as the last line, with and without its end."""
    writer.feed("stdout", b"x" * size)
    writer.feed("stdout", b"\nlast\n")

    assert await text(writer) == "x" * size + "\nlast\n"
    assert await text(writer, tail=1) == "last\n"
    assert await text(writer, tail=2) == "x" * size + "\nlast\n"
    assert max(len(line) for line in writer.path.read_bytes().splitlines()) < LINE_LIMIT + 50


async def test_a_part_is_chosen(writer):
    """By lines, by bytes, by time."""
    writer.feed("stdout", b"one\ntwo\n")

    assert await text(writer, tail=0) == ""
    assert await text(writer, tail=1) == "two\n"
    assert await text(writer, limit=5) == "one\nt"
    assert await text(writer, since=datetime(2020, 1, 1, tzinfo=UTC)) == "one\ntwo\n"
    assert await text(writer, since=datetime(2120, 1, 1, tzinfo=UTC)) == ""
    assert (await text(writer, timestamps=True, tail=1)).endswith("Z two\n")


async def test_a_follower_gets_every_line_and_then_the_end(writer):
    """What was written before, during and after it began to wait."""
    writer.feed("stdout", b"1\n")
    following = asyncio.create_task(text(writer, follow=True))
    for line in (b"2\n", b"3\n"):
        await asyncio.sleep(0)
        writer.feed("stdout", line)
    writer.feed("stdout", b"rest")
    writer.close()

    assert await following == "1\n2\n3\nrest"


def test_last_words_are_the_end_of_the_log(writer):
    """At most 80 lines and 2,048 bytes."""
    writer.feed("stdout", b"".join(b"%d\n" % number for number in range(100)))
    lines = last_words(writer.path).splitlines()
    writer.feed("stdout", b"x" * 5000 + b"\n")

    assert (lines[0], lines[-1]) == ("20", "99")
    assert len(last_words(writer.path)) == 2048
