"""What lies in the storage comes back as it was, or not at all."""

import json
import math
from datetime import date

import pytest

from headrace import UsageError
from headrace.results.cargo import VALUE, Cargo, Torn, opened, packed, packed_error, raised
from tests.unit.headrace.remote.remote_flows import Odd, TakesMore


@pytest.mark.parametrize(
    ("value", "format_"),
    [
        ({"a": [1, 2.5, None, True, "é\ud800"]}, "json"),
        ((1, 2), "pickle"),
        ({1: "one"}, "pickle"),
        ([math.inf], "pickle"),
        (date(2026, 1, 1), "pickle"),
        ({"day": date(2026, 1, 1)}, "pickle"),
    ],
)
def test_a_value_comes_back_as_it_was(value, format_):
    """JSON only where it loses nothing: a tuple stays a tuple."""
    cargo = packed(value, VALUE, what="it")
    found = opened(cargo.sealed()).content()
    assert cargo.format == format_
    assert found == value
    assert type(found) is type(value)


def test_what_is_nested_too_deeply_is_told():
    """Neither JSON nor pickle takes it."""
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UsageError, match="it cannot be pickled"):
        packed(value, VALUE, what="it")


SEALED = packed({"rows": 3}, VALUE, what="it").sealed()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not begin"),
        (b"[]\n", "does not begin"),
        (b"\x80\x05", "does not begin"),
        (SEALED[:-1], "has 9 bytes where its first line says 10"),
        (SEALED + b" ", "has 11 bytes"),
        (SEALED.replace(b"rows", b"cols"), "checksum"),
        (SEALED.replace(b'"headrace":1', b'"headrace":3'), "of version 3"),
        (SEALED.replace(b'"json"', b'"yaml"'), "format yaml; .* read it with a newer headrace"),
    ],
)
def test_what_is_torn_is_told(data, says):
    """It is never taken for a result."""
    with pytest.raises(Torn, match=says):
        opened(data)


def test_an_exception_comes_back():
    """With what it holds, and its traceback in words."""

    def raises():
        raise Odd(7)

    with pytest.raises(Odd) as caught:
        raises()
    found = raised(opened(packed_error(caught.value).sealed()))
    assert isinstance(found.error, Odd)
    assert found.error.number == 7
    assert found.told == "Odd: 7"
    assert "raise Odd(7)" in found.traceback


class Holds(Exception):
    pass


@pytest.mark.parametrize(
    "error", [TakesMore("one", "two"), Holds(lambda: 1)], ids=["it cannot be made anew", "it cannot be pickled"]
)
def test_an_exception_that_cannot_travel_is_told_in_words(error):
    """No error about the error."""
    found = raised(opened(packed_error(error).sealed()))
    assert found.error is None
    assert found.told.startswith(type(error).__name__)


@pytest.mark.parametrize("cargo", [packed(1, VALUE, what="it"), Cargo("error", "json", json.dumps([1]).encode())])
def test_what_is_no_exception_is_told(cargo):
    """A value where an exception was looked for."""
    with pytest.raises(Torn, match="it is no exception"):
        raised(cargo)
