"""Amounts of resources, as Kubernetes writes them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_operator.decide.errors import InvalidQuantity
from headrace_operator.decide.quantities import (
    LARGEST,
    amounts_of,
    format_amount,
    format_cpu,
    format_memory,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        pytest.param(2, "2", id="a whole number"),
        pytest.param("0.5", "0.5", id="a fraction"),
        pytest.param(".5", "0.5", id="a fraction without its zero"),
        pytest.param("5.", "5", id="a point with nothing behind it"),
        pytest.param("500m", "0.5", id="thousandths"),
        pytest.param("1k", "1000", id="thousands have a small k"),
        pytest.param("1Ki", "1024", id="powers of 1024"),
        pytest.param("1.5Gi", "1610612736", id="a fraction of a power of 1024"),
        pytest.param("1e3", "1000", id="an exponent"),
        pytest.param("1E", "1000000000000000000", id="E alone is a suffix"),
        pytest.param("1E3", "1000", id="E with digits is an exponent"),
        pytest.param("12e-1", "1.2", id="a negative exponent"),
        pytest.param("1n", "0.001", id="finer than a thousandth is rounded up"),
        pytest.param("100000001n", "0.101", id="rounded up, never down"),
        pytest.param("99999E", str(LARGEST), id="larger than Kubernetes counts"),
        pytest.param("1e9999", str(LARGEST), id="far larger than Kubernetes counts"),
    ],
)
def test_a_quantity_is_read_exactly(text: str | int, amount: str) -> None:
    """As the API server reads it."""
    assert parse_quantity(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "-1", "+1", "1gi", "1K", "e3", ".", "1e", "1.5.2", True, -3])
def test_what_is_no_quantity_is_refused(text: str | int) -> None:
    """With the value in the message, and what to write instead."""
    with pytest.raises(InvalidQuantity, match="is no quantity") as refused:
        parse_quantity(text)
    assert f'"{text}"' in str(refused.value)


def test_equal_amounts_are_equal_however_they_are_written() -> None:
    """Sorted, without zeros."""
    amounts = amounts_of({"memory": "1Gi", "cpu": "1000m", "nvidia.com/gpu": 0})
    assert amounts == amounts_of({"cpu": 1, "memory": "1024Mi"}) == (("cpu", Decimal(1)), ("memory", Decimal(2**30)))
    assert hash(amounts) == hash(amounts_of({"cpu": Decimal("1.0"), "memory": 2**30}))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        pytest.param(0, "0", id="nothing"),
        pytest.param(1, "1Mi", id="rounded up to a mebibyte"),
        pytest.param(512 * 2**20, "512Mi", id="mebibytes"),
        pytest.param(1536 * 2**20, "1536Mi", id="no whole gibibytes"),
        pytest.param(4 * 2**30, "4Gi", id="whole gibibytes"),
    ],
)
def test_memory_is_written_in_its_largest_whole_unit(size: int, text: str) -> None:
    """Bytes in, text out."""
    assert format_memory(size) == text


@pytest.mark.parametrize(
    ("cores", "text"),
    [("0", "0"), ("2", "2"), ("0.5", "500m"), ("0.0001", "1m"), ("1.25", "1250m")],
)
def test_cpu_is_written_in_cores_or_thousandths(cores: str, text: str) -> None:
    """Cores in, text out."""
    assert format_cpu(Decimal(cores)) == text


def test_each_resource_is_written_in_its_own_way() -> None:
    """Pieces are whole numbers."""
    assert format_amount("cpu", Decimal("0.25")) == "250m"
    assert format_amount("ephemeral-storage", Decimal(2**30)) == "1Gi"
    assert format_amount("nvidia.com/gpu", Decimal(2)) == "2"


@given(st.integers(0, 2**40), st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_what_is_written_is_read_back_and_never_smaller(number: int, suffix: str) -> None:
    """Rounded up by less than the unit that is written."""
    amount = parse_quantity(f"{number}{suffix}")
    assert 0 <= parse_quantity(format_cpu(amount)) - amount < Decimal("0.001")
    assert 0 <= parse_quantity(format_memory(amount)) - amount < 2**20


@given(st.lists(st.integers(0, 2**62), max_size=50))
def test_sums_are_exact(numbers: list[int]) -> None:
    """Adding and taking away again leaves nothing behind."""
    amounts = [parse_quantity(f"{number}m") for number in numbers]
    assert Fraction(sum(amounts, Decimal())) == Fraction(sum(numbers), 1000)
