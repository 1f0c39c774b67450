"""A form on the terminal: the fields of a JSON Schema, asked for one by one, and again where the answer does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.json_values import json_or_text
from headrace.pausing.answers import UnusableAnswer

NOTHING: Final = object()
YES: Final = frozenset({"y", "yes"})
NO: Final = frozenset({"n", "no"})
SAID_BY_TYPE: Final = {"object": "a JSON object", "array": "a JSON list", "null": "null"}


@dataclass(frozen=True, slots=True)
class Console:
    """
    A person at a terminal.

    Args:
        read: Shows a prompt, and returns the line that the person types. Raises: EOFError: there is no more.
        write: Shows a line.
    """

    read: Callable[[str], str]
    write: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Field:
    """
    One field of a form.

    Args:
        types: Names of JSON Schema that it may have; empty: any.
        told: Its type for people.
        default: What an empty line stands for; NOTHING: none.
    """

    name: str
    types: frozenset[str]
    told: str
    required: bool
    default: Any = NOTHING
    description: str = ""

    @property
    def prompt(self) -> str:
        """What is shown in front of the answer."""
        default = "" if self.default is NOTHING else f" [{json.dumps(self.default, ensure_ascii=False)}]"
        optional = "" if self.required or default else ", may be empty"
        return f"  {self.name} ({self.told}{optional}){default}: "

    def value(self, text: str) -> Any:
        """What a person means by the text: JSON where it may be more than text, else the text."""
        return text if self.types == {"string"} else json_or_text(text)


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """The fields of an object's schema, in their order."""
    required = schema.get("required") or ()
    return [
        _field(name, form if isinstance(form, Mapping) else {}, schema, required=name in required)
        for name, form in (schema.get("properties") or {}).items()
    ]


def filled(
    schema: Mapping[str, Any], console: Console, check: Callable[[Mapping[str, Any]], object], given: Mapping[str, Any]
) -> dict[str, Any]:
    """
    The input, as a person types it; fields that `check` complains about are asked for again.

    Args:
        check: Raises UnusableAnswer, whose problems are by field.
        given: Fields that need not be asked for, unless they are wrong.
    """
    fields, values = fields_of(schema), dict(given)
    wanted = [field for field in fields if field.name not in values]
    while True:
        for field in wanted:
            values.pop(field.name, None)
            answer = _asked(field, console)
            if answer is not NOTHING:
                values[field.name] = answer
        try:
            check(values)
        except UnusableAnswer as error:
            for each, problem in error.problems.items():
                console.write(f"  {each}: {problem}" if each else f"  {problem}")
            wrong = {each.partition(".")[0] for each in error.problems}
            # What is wrong with the whole is no single field's fault.
            wanted = [field for field in fields if field.name in wrong] or fields
            continue
        return values


def agreed(question: str, console: Console) -> bool:
    """Whether the person says yes; anything but yes or no is asked again."""
    while True:
        said = console.read(f"{question} [y/n]: ").strip().lower()
        if said in YES | NO:
            return said in YES
        console.write("  please type y or n")


def _field(name: str, form: Mapping[str, Any], schema: Mapping[str, Any], *, required: bool) -> Field:
    forms = list(_alternatives(form, schema))
    types = frozenset(str(each["type"]) for each in forms if isinstance(each.get("type"), str))
    told = " or ".join(dict.fromkeys(map(_told, forms)))
    return Field(name, types, told, required, form.get("default", NOTHING), str(form.get("description") or ""))


def _asked(field: Field, console: Console) -> Any:
    if field.description:
        console.write(f"  {field.description}")
    while True:
        text = console.read(field.prompt).strip()
        if text:
            return field.value(text)
        if not field.required:
            return NOTHING
        console.write(f"  {field.name} is required")


def _alternatives(form: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The forms that a field may have, references followed."""
    for each in form.get("anyOf") or (form,):
        name = str(each.get("$ref") or "").removeprefix("#/$defs/")
        yield (schema.get("$defs") or {}).get(name) or each


def _told(form: Mapping[str, Any]) -> str:
    if isinstance(form.get("enum"), list):
        return "one of " + ", ".join(map(str, form["enum"]))
    if "const" in form:
        return str(form["const"])
    kind = str(form.get("type") or "anything")
    return SAID_BY_TYPE.get(kind) or str(form.get("format") or kind)
