"""
A part of CEL, for filters, groups and templates.

What is accepted means what CEL means by it: fields, indices, comparisons, `in`, `&&`, `||`, `!`, `? :`, lists, `has()`, `size()`,
`startsWith`, `endsWith`, `contains`. There is no arithmetic, no regular expression and no macro over lists. So an evaluation visits each
part of an expression once at most: the author of an Automation cannot keep the operator busy, which runs for all teams.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, NamedTuple, NoReturn

from headrace.api.automation import MAX_EXPRESSION

Event = Mapping[str, Any]
Evaluate = Callable[[Event], Any]

ROOT: Final = "event"
MAX_DEPTH: Final = 32
COMPARED_LEVELS: Final = 100
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>"(?:[^"\\\n]|\\["'\\nt])*"|'(?:[^'\\\n]|\\["'\\nt])*')"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[=!<>]=|[-!<>()\[\].,?:]))"""
)
_ESCAPES: Final = {"n": "\n", "t": "\t"}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=", "in")
_METHODS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}


class InvalidExpression(ValueError):
    """It cannot be understood. Attributes: `expression`, and what is wrong with it: `problem`."""

    def __init__(self, expression: str, problem: str) -> None:
        super().__init__(f'"{expression}" is no expression: {problem}')
        self.expression = expression
        self.problem = problem


class EvaluationError(ValueError):
    """It has no value for this event: a field is missing, or has another type."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of something, which has() can ask for."""

    of: Evaluate
    name: str

    def __call__(self, event: Event) -> Any:
        value = self.of(event)
        if isinstance(value, Mapping) and self.name in value:
            return value[self.name]
        raise EvaluationError(f'there is no field "{self.name}"')

    def is_there(self, event: Event) -> bool:
        """Whether it has the field. Raises: EvaluationError: it has no fields at all."""
        value = self.of(event)
        if not isinstance(value, Mapping):
            raise EvaluationError(f'what has no fields is asked for "{self.name}"')
        return self.name in value


class Token(NamedTuple):
    """A word of an expression; `kind` is number, text, name, sign or end."""

    kind: str
    text: str


def compiled(expression: str) -> Evaluate:
    """What the expression comes to for an event. Raises: InvalidExpression."""
    if len(expression) > MAX_EXPRESSION:  # each field of a field is a call within a call
        raise InvalidExpression(f"{expression[:60]}…", f"it has more than {MAX_EXPRESSION} characters")
    return _Parser(expression).whole()


def _tokens(expression: str) -> list[Token]:
    found, at, end = [], 0, len(expression.rstrip())
    while at < end:
        match = _TOKEN.match(expression, at)
        if match is None or match.lastgroup is None:
            raise InvalidExpression(expression, f'"{expression[at:].strip()[:20]}" cannot be read')
        found.append(Token(match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return [*found, Token("end", "")]


class _Parser:
    """By recursive descent, the loosest operator first."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = _tokens(expression)
        self._at = 0
        self._depth = 0

    def whole(self) -> Evaluate:
        value = self._choice()
        if self._next.kind != "end":
            self._fail(f'"{self._next.text}" is not expected')
        return value

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _takes(self, *words: str) -> str | None:
        """The next word if it is one of these and no text, taken."""
        if self._next.kind in {"sign", "name"} and self._next.text in words:
            return self._take().text
        return None

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            self._fail(f'"{sign}" is missing before "{self._next.text}"')

    def _fail(self, problem: str) -> NoReturn:
        raise InvalidExpression(self._expression, problem)

    def _choice(self) -> Evaluate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"it is nested more than {MAX_DEPTH} deep")
        value = self._either()
        if self._takes("?"):
            yes = self._choice()
            self._expect(":")
            value = _choosing(value, yes, self._choice())
        self._depth -= 1
        return value

    def _either(self) -> Evaluate:
        parts = [self._both()]
        while self._takes("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _deciding(parts, decided_by=True)

    def _both(self) -> Evaluate:
        parts = [self._compared()]
        while self._takes("&&"):
            parts.append(self._compared())
        return parts[0] if len(parts) == 1 else _deciding(parts, decided_by=False)

    def _compared(self) -> Evaluate:
        value = self._turned()
        while sign := self._takes(*_COMPARISONS):
            value = _comparing(sign, value, self._turned())
        return value

    def _turned(self) -> Evaluate:
        turns = 0
        while self._takes("!"):
            turns += 1
        value = self._followed()
        return _negating(value, twice=turns % 2 == 0) if turns else value

    def _followed(self) -> Evaluate:
        value = self._single()
        while sign := self._takes(".", "["):
            if sign == "[":
                value = _indexing(value, self._choice())
                self._expect("]")
                continue
            name = self._take()
            if name.kind != "name":
                self._fail(f'"{name.text}" is no name of a field')
            value = self._called(value, name.text) if self._takes("(") else Field(value, name.text)
        return value

    def _called(self, value: Evaluate, name: str) -> Evaluate:
        if name == "size":
            self._expect(")")
            return _sizing(value)
        if name not in _METHODS:
            self._fail(f'"{name}" is no method (known: size, {", ".join(_METHODS)})')
        argument = self._choice()
        self._expect(")")
        return _asking(name, value, argument)

    def _single(self) -> Evaluate:
        if self._takes("("):
            value = self._choice()
            self._expect(")")
            return value
        if self._takes("["):
            return self._list()
        is_negative = self._takes("-") is not None
        token = self._take()
        if token.kind == "number":
            number = float(token.text) if "." in token.text else int(token.text)
            return _constant(-number if is_negative else number)
        if is_negative or token.kind not in {"text", "name"}:
            self._fail(f'"{token.text}" is not expected' if token.text else "it ends too early")
        if token.kind == "name":
            return self._named(token.text)
        return _constant(re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), token.text[1:-1]))

    def _list(self) -> Evaluate:
        items: list[Evaluate] = []
        while not self._takes("]"):
            if items:
                self._expect(",")
            items.append(self._choice())
        return lambda event: [item(event) for item in items]

    def _named(self, name: str) -> Evaluate:
        if name in _CONSTANTS:
            return _constant(_CONSTANTS[name])
        if name == ROOT:
            return lambda event: event
        if name not in {"has", "size"} or not self._takes("("):
            self._fail(f'"{name}" is not known; an event begins with "{ROOT}."')
        asked = self._choice()
        self._expect(")")
        if name == "size":
            return _sizing(asked)
        if not isinstance(asked, Field):
            self._fail("has() takes a field, such as has(event.alert)")
        return asked.is_there


def _constant(value: Any) -> Evaluate:
    return lambda _event: value


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise EvaluationError("what is neither true nor false is taken for a condition")


def _choosing(condition: Evaluate, yes: Evaluate, no: Evaluate) -> Evaluate:
    return lambda event: yes(event) if _truth(condition(event)) else no(event)


def _negating(value: Evaluate, *, twice: bool) -> Evaluate:
    return lambda event: _truth(value(event)) is twice


def _deciding(parts: list[Evaluate], *, decided_by: bool) -> Evaluate:
    """As in CEL, a part that settles it does so whatever errors the others have."""

    def evaluate(event: Event) -> bool:
        problem: EvaluationError | None = None
        for part in parts:
            try:
                if _truth(part(event)) is decided_by:
                    return decided_by
            except EvaluationError as error:
                problem = error
        if problem is not None:
            raise problem
        return not decided_by

    return evaluate


def _comparing(sign: str, left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda event: _compare(sign, left(event), right(event))


def _compare(sign: str, left: Any, right: Any) -> bool:
    if sign in {"==", "!="}:
        return _is_same(left, right) is (sign == "==")
    if sign == "in":
        return _is_in(left, right)
    if _kind(left) != _kind(right) or _kind(left) not in {"number", "text", "bool"}:
        raise EvaluationError(f"{_kind(left)} and {_kind(right)} have no order")
    less, same = left < right, left == right
    return bool({"<": less, "<=": less or same, ">": not less and not same, ">=": not less}[sign])


def _is_in(item: Any, where: Any) -> bool:
    if isinstance(where, Mapping):
        return isinstance(item, str) and item in where
    if isinstance(where, list):
        return any(_is_same(item, each) for each in where)
    raise EvaluationError(f"nothing is in a {_kind(where)}")


def _is_same(left: Any, right: Any, levels: int = COMPARED_LEVELS) -> bool:
    """Unlike in Python, true is not 1. Raises: EvaluationError: they nest too deep."""
    if _kind(left) != _kind(right):
        return False
    if levels == 0:  # parameters of a run may nest as deep as the API server lets them
        raise EvaluationError("what is compared is nested too deep")
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_is_same, left, right, repeat(levels - 1)))
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key], levels - 1) for key in left)
    return bool(left == right)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return "list"
        case None:
            return "null"
    return "object"


def _indexing(value: Evaluate, index: Evaluate) -> Evaluate:
    def evaluate(event: Event) -> Any:
        of, at = value(event), index(event)
        if isinstance(of, Mapping) and isinstance(at, str) and at in of:
            return of[at]
        if isinstance(of, list) and type(at) is int and 0 <= at < len(of):
            return of[at]
        raise EvaluationError(f"there is no [{str(at)[:60]}]")

    return evaluate


def _sizing(value: Evaluate) -> Evaluate:
    def evaluate(event: Event) -> int:
        of = value(event)
        if isinstance(of, (str, list, Mapping)):
            return len(of)
        raise EvaluationError(f"a {_kind(of)} has no size")

    return evaluate


def _asking(name: str, value: Evaluate, argument: Evaluate) -> Evaluate:
    method = _METHODS[name]

    def evaluate(event: Event) -> bool:
        of, part = value(event), argument(event)
        if isinstance(of, str) and isinstance(part, str):
            return method(of, part)
        raise EvaluationError(f"{name} takes texts")

    return evaluate
