"""Expressions mean what CEL means by them, and what is not understood is refused when it is written."""

from __future__ import annotations

import pytest

from headrace_operator.decide.automation.expressions import EvaluationError, InvalidExpression, compiled
from headrace_operator.decide.automation.templates import template

EVENT = {"n": 3, "yes": True, "text": "abc", "list": [1, "a", None], "map": {"k.x": 1.5, "none": None}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("event.n", 3),
        ('event.map["k.x"]', 1.5),
        ("event.list[1]", "a"),
        ("event.n == 3.0", True),
        ("event.yes == 1", False),
        ("1 in [true]", False),
        ('"k.x" in event.map', True),
        ("event.map.none == null", True),
        ("has(event.map.none)", True),
        ("has(event.nothing)", False),
        ("event.nothing || true", True),
        ("false && event.nothing", False),
        ("true || false && false", True),
        ("!event.yes || !!event.yes", True),
        ("event.n >= 3 ? 'many' : 'few'", "many"),
        ("size(event.list) == event.text.size()", True),
        ("event.text.startsWith('ab') && event.text.endsWith('c') && event.text.contains('b')", True),
        ("-1 < 0", True),
        (r'"a\"\\n"', 'a"\\n'),
        ("[event.n, [event.yes]]", [3, [True]]),
        ("event.list == [1, 'a', null]", True),
    ],
)
def test_an_expression_has_this_value(expression, value):
    """By the rules of CEL: true is not 1, and a part that settles a condition does so whatever the others come to."""
    found = compiled(expression)(EVENT)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "expression",
    ["event.nothing", "event.n.x", "event.list[3]", "event.list['a']", "event.n < 'a'", "event.n && true", "!event.n"],
)
def test_an_expression_has_no_value(expression):
    """It is told, and not taken for false."""
    with pytest.raises(EvaluationError):
        compiled(expression)(EVENT)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "ends too early"),
        ("event.", "no name"),
        ("other.x", "not known"),
        ("event.x.matches('a+')", "no method"),
        ("event.list.map(x, x)", "no method"),
        ("event.x == ", "too early"),
        ("event.n + 1", "cannot be read"),
        ("event.x event.y", "not expected"),
        ("(" * 40 + "1" + ")" * 40, "deep"),
        ("has(event)", "takes a field"),
        ("'open", "cannot be read"),
        ("__import__('os')", "not known"),
    ],
)
def test_what_is_not_understood_is_refused(expression, problem):
    """The text is shown, and what is wrong with it."""
    with pytest.raises(InvalidExpression) as refused:
        compiled(expression)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ event.n }}", 3),
        (" {{event.list}} ", [1, "a", None]),
        ("n is {{ event.n }}, {{ event.yes }}, {{ event.map.none }}", "n is 3, true, null"),
        ({"a": ["{{ event.text }}", 1, None]}, {"a": ["abc", 1, None]}),
        ("plain { } text", "plain { } text"),
    ],
)
def test_a_template_has_this_value(text, value):
    """With its type where it is one hole."""
    assert template(text)(EVENT) == value


def test_what_comes_in_is_no_template():
    """Braces in an event stay braces."""
    assert template("got {{ event.text }}")({"text": "{{ event.secret }}"}) == "got {{ event.secret }}"
