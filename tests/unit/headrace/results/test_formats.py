"""Each value in the plainest format that gives it back, and a clear word where a library is missing."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from headrace import UsageError
from headrace.results import compression, tables
from headrace.results.cargo import VALUE, Cargo, opened, packed
from headrace.results.extras import optional

COLUMNS = {"id": [1, 2, 3], "name": ["a", None, "ç"], "share": [0.5, 1.5, None]}
TABLE = pa.table(COLUMNS)
FRAMES = [pd.DataFrame(COLUMNS), pl.DataFrame(COLUMNS), TABLE, TABLE.to_batches()[0]]


class Colour(enum.IntEnum):
    RED = 1


@pytest.fixture(autouse=True)
def looked_for_anew():
    """What is installed is asked once a process; here it changes from test to test."""
    optional.cache_clear()
    yield
    optional.cache_clear()


def back(value, **options):
    """What a storage gives back, and in which format it lay there."""
    cargo = packed(value, VALUE, what="it", **options)
    return opened(cargo.sealed()).content(), cargo.format


@pytest.mark.parametrize("frame", FRAMES, ids=tables.KINDS)
@pytest.mark.parametrize("format_", [None, "arrow", "parquet"])
def test_a_table_comes_back_as_what_it_was(frame, format_):
    """Of the same library, with the same columns, in Arrow unless asked otherwise."""
    found, written = back(frame, format=format_)
    assert type(found) is type(frame)
    assert found.equals(frame)
    assert written == (format_ or "arrow")


@pytest.mark.parametrize("format_", ["arrow", "parquet"])
def test_an_empty_table_keeps_its_columns(format_):
    """A batch without rows is one still."""
    batch = pa.RecordBatch.from_pylist([], schema=TABLE.schema)
    found, _ = back(batch, format=format_)
    assert found.schema == TABLE.schema
    assert found.num_rows == 0


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"any": [[1, 2], (3,), {"a": 1}]}),
        pd.DataFrame([[1, 2]], columns=[1, "b"]),
        pd.DataFrame({"n": [1]}, index=pd.date_range("2026-01-01", periods=1, freq="D")),
    ],
    ids=["objects in a column", "names that are no text", "an index with a frequency"],
)
def test_a_table_that_arrow_would_change_is_pickled(frame):
    """It comes back with all that it had."""
    found, written = back(frame)
    assert written == "pickle"
    pd.testing.assert_frame_equal(found, frame, check_freq=True)
    assert [type(each) for each in found.iloc[:, 0]] == [type(each) for each in frame.iloc[:, 0]]


@pytest.mark.parametrize(
    ("value", "format_"),
    [
        ([1, 2**63, -(2**63)], "json"),
        (2**64, "json"),
        ({"text": "\ud800"}, "json"),
        ([[[0.1, 1e300]], {"a": {"b": [None, True]}}], "json"),
        (Colour.RED, "pickle"),
        ([math.nan], "pickle"),
        (datetime(2026, 1, 1, tzinfo=UTC), "pickle"),
        ([1, [2, (3,)]], "pickle"),
    ],
)
def test_numbers_and_text_are_what_they_were(value, format_):
    """Whichever JSON library is there: what one of them would change, the other writes."""
    found, written = back(value)
    assert written == format_
    assert repr(found) == repr(value)


def test_a_function_travels_with_cloudpickle():
    """As pickle only knows its name."""
    found, written = back(lambda number: number + 1)
    assert written == "cloudpickle"
    assert found(1) == 2


@pytest.mark.parametrize(
    ("value", "format_", "says"),
    [
        ((1, 2), "json", "it is a tuple that JSON does not give back as it was"),
        ([1], "parquet", "it is a list, and parquet takes a table"),
        ([1], "yaml", 'there is no format "yaml"; choose one of json, pickle, arrow, parquet'),
        (pl.DataFrame({"o": [object()]}), "arrow", "it cannot be written as arrow"),
    ],
)
def test_a_format_that_does_not_fit_is_told(value, format_, says):
    """With what to write instead."""
    with pytest.raises(UsageError, match=says):
        packed(value, VALUE, what="it", format=format_)


@pytest.mark.parametrize("missing", ["orjson", "zstandard"])
def test_libraries_that_are_missing_are_done_without(monkeypatch, missing):
    """JSON by the standard library, and nothing compressed."""
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    value = [{"row": number} for number in range(10_000)]
    assert back(value) == (value, "json")


@pytest.mark.parametrize(
    ("value", "missing", "extra"),
    [
        (FRAMES[0], "pyarrow", "arrow"),
        (lambda: 1, "cloudpickle", "processes"),
        ("x" * 10_000, "zstandard", "zstd"),
    ],
)
def test_a_reader_without_the_library_is_told_the_extra(monkeypatch, value, missing, extra):
    """It can be installed; the object is whole."""
    data = packed(value, VALUE, what="it").sealed()
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setitem(sys.modules, compression.OF_PYTHON, None)
    optional.cache_clear()
    with pytest.raises(UsageError, match=rf'install "headrace\[{extra}\]"'):
        opened(data).content()


def test_what_is_large_is_compressed():
    """Where it pays; old readers see that the version is newer."""
    large = packed(["a row"] * 10_000, VALUE, what="it")
    assert len(large.payload) < 10_000
    assert json.loads(large.sealed().partition(b"\n")[0])["headrace"] == 2
    assert opened(large.sealed()).content() == ["a row"] * 10_000
    small = packed(["a row"], VALUE, what="it")
    assert (small.payload, json.loads(small.sealed().partition(b"\n")[0])["headrace"]) == (b'["a row"]', 1)


def test_an_object_of_the_first_version_is_read():
    """As it was written before there was anything but JSON and pickle."""
    old = (
        b'{"headrace":1,"kind":"value","format":"json","bytes":3,'
        b'"sha256":"f09bd7e9af83b8ce0d1e9e34a3e4d8b4d05d4e8f1ad45a3bf57a46cb7f5c4b7d"}\n[1]'
    )
    digest = __import__("hashlib").sha256(b"[1]").hexdigest()
    old = old.replace(b"f09bd7e9af83b8ce0d1e9e34a3e4d8b4d05d4e8f1ad45a3bf57a46cb7f5c4b7d", digest.encode())
    assert opened(old).content() == [1]


def test_no_library_is_loaded_for_values_without_it():
    """Whoever returns a dict has no 100 MB of table libraries to wait for."""
    code = (
        "import sys; from headrace.results.cargo import packed, opened, VALUE;"
        "opened(packed({'a': (1,)}, VALUE, what='it').sealed()).content();"
        "print([each for each in ('pyarrow', 'pandas', 'polars', 'numpy', 'obstore') if each in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("variable", "now_s", "expires"),
    [("", 0.0, None), ("60", 0.0, "1970-01-01T00:01:00Z"), ("60", 0.5, "1970-01-01T00:01:01Z")],
)
def test_the_lifetime_of_results_is_in_the_first_line(monkeypatch, variable, now_s, expires):
    """Never too early."""
    monkeypatch.setenv("HEADRACE_RESULTS_TTL_SECONDS", variable)
    head = json.loads(Cargo(VALUE, "json", b"1").sealed(now_s=now_s).partition(b"\n")[0])
    assert head.get("expires") == expires


def test_a_lifetime_that_is_none_is_told(monkeypatch):
    """With the variable."""
    monkeypatch.setenv("HEADRACE_RESULTS_TTL_SECONDS", "1d")
    with pytest.raises(UsageError, match=r"HEADRACE_RESULTS_TTL_SECONDS is .1d., expected a whole number of seconds"):
        Cargo(VALUE, "json", b"1").sealed()


def test_a_lifetime_of_its_own_wins():
    """As caches have."""
    cargo = packed(1, VALUE, what="it", expires="2030-01-01T00:00:00Z")
    assert opened(cargo.sealed()).facts["expires"] == "2030-01-01T00:00:00Z"
