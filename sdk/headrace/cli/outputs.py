"""How objects are printed: as a table, or as scripts want them (`-o json|yaml|wide|name`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from headrace.api import keys
from headrace.cli.printing import table

Object = Mapping[str, Any]
Format = Literal["table", "wide", "name", "json", "yaml"]
Output = Annotated[
    Format,
    typer.Option(
        "--output", "-o", help="wide has more columns, name only names; json and yaml are the objects of the API."
    ),
]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it tells of an object; one that is `wide` is left out unless it is asked for."""

    title: str
    cell: Callable[[Object], str]
    wide: bool = False


def printed(objects: Sequence[Object], output: Format, columns: Sequence[Column], *, none: str) -> str:
    """
    The objects as text.

    Args:
        none: What a table says that would be empty.
    """
    if output == "name":
        return "\n".join(map(name_of, objects))
    if output in {"json", "yaml"}:
        return document({"apiVersion": "v1", "kind": "List", "items": [tidy(each) for each in objects]}, output)
    if not objects:
        return none
    shown = [column for column in columns if output == "wide" or not column.wide]
    return table([column.title for column in shown], [[column.cell(each) for column in shown] for each in objects])


def say(text: str) -> None:
    """Prints it, unless there is nothing: a script that reads names must not get an empty one."""
    if text:
        print(text)


def document(value: Any, output: str) -> str:
    """As JSON or YAML."""
    if output == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml  # noqa: PLC0415 - other outputs go without

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")


def tidy(found: Object) -> dict[str, Any]:
    """The object without who wrote which field of it, which nobody reads."""
    metadata = {name: value for name, value in found["metadata"].items() if name != "managedFields"}
    head = {"apiVersion": keys.API_VERSION, "kind": found.get("kind")}
    return {**head, **found, "metadata": metadata}


def name_of(found: Object) -> str:
    """As `kubectl get -o name` tells it: "flowrun.headrace.dev/etl-7"."""
    return f"{str(found.get('kind')).lower()}.{keys.GROUP}/{found['metadata']['name']}"


def with_kind(objects: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The items of a list, which do not tell their kind."""
    return [{"apiVersion": keys.API_VERSION, "kind": kind, **each} for each in objects]
