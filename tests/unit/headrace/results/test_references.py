"""What is stored by reference comes back, in whichever process, and takes no more memory than it must."""

from __future__ import annotations

import csv
import io
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path

import pytest

from headrace import NoSuchResult, ResultsError, UsageError, flow, task
from headrace.engine.session import LAPTOP, using
from headrace.results import Reference, open_storage, store, store_file, store_stream
from headrace.results.cargo import opened
from headrace.results.references import _storage

MB = 1 << 20


@pytest.fixture(autouse=True)
def results(tmp_path: Path):
    """A folder to store in."""
    with using(replace(LAPTOP, results_url=tmp_path.as_uri())):
        yield tmp_path


def files(folder: Path) -> list[str]:
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def test_a_task_takes_the_reference_of_another_one(results):
    """And it alone: the data is in the storage, in the folder of the run."""
    seen = []

    @task
    def make() -> Reference:
        return store({"rows": list(range(1000))})

    @task
    def total(ref: Reference) -> int:
        seen.append(len(pickle.dumps(ref)))
        return sum(ref.load()["rows"])

    @flow
    def main() -> int:
        return total(make())

    assert main() == 499500
    assert seen[0] < 600
    stored = [each for each in files(results) if "/stored/" in each]
    assert len(stored) == 1
    assert "/stored/make-0/" in stored[0]
    assert opened((results / stored[0]).read_bytes()).facts["task_run"] == "make-0"


def test_what_is_stored_again_has_the_same_key(results):
    """So a repeated attempt leaves no second object."""
    assert store([1, 2]) == store([1, 2])
    assert store([1, 3]) != store([1, 2])
    assert len(files(results)) == 2


def test_a_reference_works_in_another_process(results):
    """It is all that it needs."""
    ref = store_stream("numbers", (b"%d\n" % number for number in range(100_000)))
    (results / "ref").write_bytes(pickle.dumps(ref))
    code = (
        "import pickle, sys; ref = pickle.load(open(sys.argv[1], 'rb'))\n"
        "with ref.open() as file: print(sum(map(int, file)))"
    )
    done = subprocess.run([sys.executable, "-c", code, results / "ref"], capture_output=True, text=True, check=True)
    assert int(done.stdout) == sum(range(100_000))


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 3 * MB + 17])
@pytest.mark.parametrize("piece", [b"\x00abc\xff", b"7"], ids=["bytes", "text"])
def test_a_stream_comes_back(size, piece):
    """Whole or piece by piece, whatever its length."""
    data = (piece * size)[:size]
    ref = store_stream("data.bin", io.BytesIO(data))
    assert ref.load() == data
    with ref.open() as file:
        assert b"".join(iter(lambda: file.read(7777), b"")) == data
    with ref.open() as file:
        assert file.read() == data


def test_text_is_written_by_the_libraries_that_write_text():
    """The stream is a file as others are."""
    with store_file("rows.csv") as file:
        text = TextIOWrapper(file, "utf-8", newline="")
        csv.writer(text).writerows([["a", "ä"], [1, 2]])
        text.detach()
    with file.reference.open() as found:
        assert list(csv.reader(TextIOWrapper(found, "utf-8", newline=""))) == [["a", "ä"], ["1", "2"]]


def test_streams_of_one_name_are_apart():
    """An attempt does not write over what an earlier one has returned."""
    first, second = store_stream("data", [b"one"]), store_stream("data", [b"two"])
    assert (first.load(), second.load()) == (b"one", b"two")


def test_a_stream_that_breaks_is_not_stored(results):
    """What its source raises comes through as it is."""

    def source():
        yield b"x" * MB
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        store_stream("data", source())
    assert files(results) == []


def test_an_unfinished_stream_has_no_reference():
    """It names nothing yet."""
    with store_file("data") as file, pytest.raises(UsageError, match="once its block has ended"):
        _ = file.reference


@pytest.mark.parametrize("name", ["", "../up", "a/b", "x" * 101, "."])
def test_a_name_that_is_none_is_told(name):
    """Before anything is written."""
    with pytest.raises(UsageError, match="a name has at most 100 letters"):
        store_stream(name, [])


@pytest.mark.parametrize("compressible", [True, False])
@pytest.mark.parametrize("cut", [1, 100, 200, 2000])
def test_a_torn_stream_is_told(results, compressible, cut):
    """At its end at the latest, whichever part is missing."""
    data = b"abcdefgh" * 20_000 if compressible else bytes(range(256)) * 3
    ref = store_stream("data", [data])
    path = results / ref.key
    path.write_bytes(path.read_bytes()[:-cut])

    def read() -> None:
        with ref.open() as file:
            file.read()

    with pytest.raises(ResultsError, match="it is not whole"):
        ref.load()
    with pytest.raises(ResultsError, match=r"not whole|does not begin"):
        read()


def test_another_object_is_not_taken_for_it(results):
    """Though it is whole."""
    one, two = store_stream("data", [b"one"]), store_stream("data", [b"two"])
    (results / one.key).write_bytes((results / two.key).read_bytes())
    with pytest.raises(ResultsError, match="another object is there"):
        one.load()
    with pytest.raises(ResultsError, match="another object is there"), one.open() as file:
        file.read()


def test_what_was_deleted_is_told(results):
    """With its key."""
    ref = store([1])
    (results / ref.key).unlink()
    with pytest.raises(NoSuchResult, match=ref.key):
        ref.load()


def test_a_run_without_storage_is_told():
    """With what to set."""
    with (
        using(replace(LAPTOP, results_url="", repeats_flows=False)),
        pytest.raises(UsageError, match=r"spec\.results\.url"),
    ):
        store([1])


def test_a_reference_holds_no_password():
    """The process that loads it has its own."""
    asked = []
    url = "postgresql://flows:s3cret@db/results/team?sslmode=require"
    with using(
        replace(LAPTOP, results_url=url, open_storage=lambda url: asked.append(url) or open_storage("file:///"))
    ):
        _storage("postgresql://flows@db/results/team?sslmode=require")
        _storage("postgresql://flows@other/results")
    assert asked == [url, "postgresql://flows@other/results"]


def test_a_table_is_stored_in_the_format_that_was_asked_for():
    """As a result_serializer would."""
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2]})
    ref = store(frame, format="parquet")
    assert ref.format == "parquet"
    assert ref.load().equals(frame)
    with ref.open() as file:
        assert pl.read_parquet(file.read()).equals(frame)


LARGE = """
import json, resource, sys
from headrace.results import store_stream
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
piece = bytes(range(256)) * 4096
ref = store_stream("large", (piece for _ in range(200)))
size = 0
with ref.open() as file:
    while data := file.read(1 << 20):
        size += len(data)
print(json.dumps([size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024]))
"""


@pytest.mark.parametrize("packing", ["zstd", "none"])
def test_a_large_stream_takes_little_memory(results, monkeypatch, packing):
    """200 MB, written and read, in less than 64 MB more than nothing."""
    monkeypatch.setenv("HEADRACE_RESULTS_URL", results.as_uri())
    without = (
        "import sys; sys.modules['zstandard'] = sys.modules['compression.zstd'] = None\n" if packing == "none" else ""
    )
    done = subprocess.run([sys.executable, "-c", without + LARGE], capture_output=True, text=True, check=True)
    size, grown_mb = json.loads(done.stdout)
    assert size == 200 * MB
    assert grown_mb < 64
