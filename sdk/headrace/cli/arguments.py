"""What commands share: parameters as they are given on a command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.errors import UsageError, shown
from headrace.json_values import json_from, json_or_text

if TYPE_CHECKING:
    from headrace.flows import Flow

Entrypoint = Annotated[
    str, typer.Argument(help='The flow: "etl.py:main" (file and function) or "etl:main" (module and function).')
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--param", "-p", metavar="NAME=VALUE", help="A parameter; the value is JSON, or else text. May be repeated."
    ),
]
GivenFile = Annotated[
    Path | None, typer.Option("--params-file", metavar="FILE", help="A JSON object of parameters; -p wins over it.")
]

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "--param",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter; the value is JSON, or else text. May be repeated.",
    ),
]
OverridesFile = Annotated[
    Path | None,
    typer.Option(
        "--parameters", "--params-file", metavar="FILE", help="A JSON object of parameters; --set wins over it."
    ),
]


def untyped_parameters(given: Sequence[str], file: Path | None) -> dict[str, Any]:
    """
    The parameters of a flow whose types are not known here: JSON where a value is JSON, else text.

    Raises: UsageError: one has no "=", or the file holds no JSON object, or what the API does not carry.
    """
    texts = dict(_split(item) for item in given)
    return {
        **(_from_file(file, json_from) if file else {}),
        **{name: json_or_text(text) for name, text in texts.items()},
    }


def text_parameters(given: Sequence[str]) -> dict[str, str]:
    """The values as they were typed, by name. Raises: UsageError: one has no "="."""
    return dict(_split(item) for item in given)


def fitting_parameters(texts: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    What was typed, as a Flow takes it: JSON, but for text that happens to be JSON of a kind that the parameter does not take.

    Args:
        schema: Of the parameters, as in spec.parameters.schema of the Flow; empty where it is not known.
    """
    by_name = schema.get("properties") or {}
    return {name: _fitting(text, by_name.get(name) or {}) for name, text in texts.items()}


def _fitting(text: str, schema: Mapping[str, Any]) -> Any:
    value, kinds = json_or_text(text), _kinds(schema)
    return text if "string" in kinds and _kind(value).isdisjoint(kinds) else value


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema names; empty where it does not say."""
    named = schema.get("type", ())
    kinds = {named} if isinstance(named, str) else set(named)
    return kinds.union(*(_kinds(each) for each in schema.get("anyOf", ())))


def _kind(value: Any) -> set[str]:
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    named = {str: "string", float: "number", list: "array", dict: "object"}
    return {named.get(type(value), "null")}


def parameters(flow: Flow[..., Any], given: Sequence[str], file: Path | None) -> Mapping[str, Any]:
    """
    The parameters by name, not yet checked.

    Raises: UsageError: a -p has no "=", or the file holds no JSON object.
    """
    texts = dict(_split(item) for item in given)
    return {**(_from_file(file, json.loads) if file else {}), **flow.parameters.from_text(texts)}


def _split(item: str) -> tuple[str, str]:
    name, equals, text = item.partition("=")
    if not equals or not name:
        raise UsageError(f"-p {item}: expected NAME=VALUE, such as -p day=2026-01-01")
    return name, text


def _from_file(file: Path, parsed: Callable[[str], Any]) -> Mapping[str, Any]:
    try:
        found = parsed(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--params-file {file}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--params-file {file}: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"--params-file {file}: {shown(found)} is no JSON object")
    return found
