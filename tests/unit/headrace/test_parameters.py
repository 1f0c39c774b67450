"""Parameters by type hints."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from headrace import ParameterError, UsageError, flow


class Level(Enum):
    LOW = "low"
    HIGH = "high"


class Row(BaseModel):
    id: int
    tags: list[str] = []


@dataclass
class Point:
    x: float


class Handle:
    """No type that pydantic knows."""


@flow
def taking(day: date, n: int = 3, mode: Literal["full", "delta"] = "full", *, note: str | None = None):
    return day, n, mode, note


@flow
def rich(
    rows: list[Row],
    level: Level,
    point: Point,
    amount: Decimal,
    at: datetime,
    share: Annotated[float, Field(le=1)] = 0.5,
):
    return rows, level, point, amount, at, share


@flow
def loose(a, **rest: int):
    return a, rest


def test_values_are_coerced_to_their_types():
    """By position and by name; defaults stay the function's own."""
    assert taking("2026-01-01", n="5") == (date(2026, 1, 1), 5, "full", None)
    assert rich(rows=[{"id": "1"}], level="high", point={"x": 1}, amount="1.10", at="2026-01-01T00:00:00Z") == (
        [Row(id=1)],
        Level.HIGH,
        Point(1.0),
        Decimal("1.10"),
        datetime(2026, 1, 1, tzinfo=UTC),
        0.5,
    )
    assert loose(1, b="2") == (1, {"b": 2})


def test_objects_of_the_right_type_pass_as_they_are():
    """A model is not copied."""
    row = Row(id=1)

    @flow
    def keeps(row: Row, handle: Handle):
        return row, handle

    handle = Handle()
    assert keeps(row, handle)[0] is row
    assert keeps(row, handle)[1] is handle


WRONG = {
    "a value of another type": (
        {"day": "2026-01-01", "n": "three"},
        """flow "taking": parameter "n" is 'three', expected int (a valid integer, unable to parse string as an integer); it takes day: datetime.date, n: int, mode: Literal['full', 'delta'], note: str | None""",
    ),
    "missing": ({}, 'flow "taking": parameter "day" is missing, expected datetime.date; it takes'),
    "unknown": (
        {"day": "2026-01-01", "m": 1},
        'parameter "m" is unknown, expected one of: day, n, mode, note',
    ),
    "not one of the choices": (
        {"day": "2026-01-01", "mode": "half"},
        """parameter "mode" is 'half', expected Literal['full', 'delta'] ('full' or 'delta')""",
    ),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_wrong_parameters_are_named(given, message):
    """Flow, parameter, value, expected type, and what the flow takes."""
    with pytest.raises(ParameterError, match=re.escape(message)):
        taking(**given)


def test_all_problems_are_told_at_once():
    """Who mends one should not run into the next."""
    with pytest.raises(ParameterError) as caught:
        taking(n="x", z=1)
    assert [problem.parameter for problem in caught.value.problems] == ["z", "day", "n"]


def test_a_mistake_inside_a_value_is_named_by_its_path():
    """And a long list of mistakes is cut."""
    rest = {"level": "low", "point": {"x": 1}, "amount": 1, "at": "2026-01-01T00:00:00Z"}
    with pytest.raises(ParameterError, match=re.escape('parameter "rows.1.id" is missing')):
        rich(rows=[{"id": 1}, {}], **rest)
    with pytest.raises(ParameterError) as caught:
        rich(rows=[{}] * 50, **rest)
    assert len(caught.value.problems) == 3


def test_too_many_and_twice():
    """Arguments that no parameter takes."""
    with pytest.raises(ParameterError, match=re.escape('parameter "…" is one too many (5), expected 4 at most')):
        taking("2026-01-01", 1, "full", "x", 5)
    with pytest.raises(ParameterError, match='parameter "n" is given twice'):
        taking("2026-01-01", 1, n=2)


def test_validation_can_be_switched_off():
    """Then Python's own rules hold."""

    @flow(validate_parameters=False)
    def raw(n: int):
        return n

    assert raw("x") == "x"
    with pytest.raises(UsageError, match=re.escape("flow \"raw\": missing a required argument: 'n'; call it as raw(n")):
        raw()


def test_schema_tells_what_the_flow_takes():
    """Properties, required ones, defaults, and shared definitions in one place."""
    assert taking.parameters_schema() == {
        "type": "object",
        "properties": {
            "day": {"type": "string", "format": "date"},
            "n": {"type": "integer", "default": 3},
            "mode": {"enum": ["full", "delta"], "type": "string", "default": "full"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
        "required": ["day"],
        "additionalProperties": False,
    }
    schema = rich.parameters_schema()
    assert schema["properties"]["rows"] == {"type": "array", "items": {"$ref": "#/$defs/Row"}}
    assert set(schema["$defs"]) == {"Row", "Level", "Point"}
    assert loose.parameters_schema()["additionalProperties"] == {"type": "integer"}
    assert taking.parameters.defaults() == {"n": 3, "mode": "full"}


def test_a_default_that_json_cannot_carry_is_left_to_the_function():
    """The schema is silent about it."""

    @flow
    def odd(handle: Any = Handle):
        return handle

    assert odd.parameters_schema()["properties"] == {"handle": {}}
    assert odd.parameters.defaults() == {}
    assert odd() is Handle


def test_a_type_that_json_cannot_carry_has_no_schema():
    """It can be called in Python, and not from a manifest."""

    @flow
    def local(handle: Handle):
        return handle

    with pytest.raises(UsageError, match=r'flow "local": parameter "handle" is .*Handle, which JSON cannot carry'):
        local.parameters_schema()


def test_a_type_hint_that_is_not_there_is_named():
    """As happens with imports under TYPE_CHECKING."""

    @flow
    def hidden(frame: "DataFrame"):  # noqa: F821 - the point
        return frame

    with pytest.raises(UsageError, match='flow "hidden": a type hint names "DataFrame", which is not there'):
        hidden(1)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        ({"n": "3"}, {"n": 3}),
        ({"note": "3"}, {"note": "3"}),
        ({"note": "null"}, {"note": None}),
        ({"note": '"null"'}, {"note": "null"}),
        ({"day": "2026-01-01"}, {"day": "2026-01-01"}),
        ({"mode": "delta"}, {"mode": "delta"}),
        ({"n": "x"}, {"n": "x"}),
        ({"other": "[1]"}, {"other": [1]}),
    ],
    ids=str,
)
def test_text_is_json_where_the_type_takes_it(texts, values):
    """As `-p name=value` is read."""
    assert taking.parameters.from_text(texts) == values


def test_values_as_json_carries_them():
    """Checked on the way; what is missing is no matter."""
    assert rich.parameters.to_json({"amount": "1.5", "at": "2026-01-01T00:00:00+00:00", "rows": [{"id": 1}]}) == {
        "amount": "1.5",
        "at": "2026-01-01T00:00:00Z",
        "rows": [{"id": 1, "tags": []}],
    }
    with pytest.raises(ParameterError, match='parameter "share" is 2, expected'):
        rich.parameters.to_json({"share": 2})
