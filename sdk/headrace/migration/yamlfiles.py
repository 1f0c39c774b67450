"""YAML whose mappings know their lines; anchors, merge keys and `!include` are resolved."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from headrace.errors import shown
from headrace.migration.errors import MigrationError

MAP_TAG = "tag:yaml.org,2002:map"


class Lined(dict[str, Any]):
    """A mapping of a YAML file. `line` is its own, `lines` has that of each key."""

    line: int
    lines: dict[str, int]

    def at(self, key: str) -> int:
        """The line of this key, else that of the mapping."""
        return self.lines.get(key, self.line)


def documents(text: str, path: Path) -> list[Any]:
    """
    The documents of a YAML file, empty ones left out.

    Raises: MigrationError: it cannot be read as YAML.
    """

    class Loader(_Loader):
        """A loader that knows its file, for what it includes."""

        file = path

    try:
        return [each for each in yaml.load_all(text, Loader) if each is not None]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise MigrationError(str(path), line, "", f"no YAML: {error.problem}; correct the file") from None
    except yaml.YAMLError as error:
        raise MigrationError(str(path), 0, "", f"no YAML: {error}; correct the file") from None


def line_of(value: Any, key: str = "", fallback: int = 0) -> int:
    """The line of a mapping's key; `fallback` for what is no mapping of a file."""
    return value.at(key) if isinstance(value, Lined) else fallback


def refuse_other_shapes(raw: Mapping[str, Any], shapes: Mapping[str, str], source: str, part: str) -> None:
    """
    Checks fields of a mapping; an absent one and a null are right.

    Args:
        shapes: "mapping", "list" or "list of mappings" by the field's name.
    Raises: MigrationError: a field is something else.
    """
    for key, shape in shapes.items():
        value = raw.get(key)
        if value is not None and not _SHAPES[shape](value):
            problem = f"it is {shown(value)}, expected a {shape}; correct the source"
            raise MigrationError(source, line_of(raw, key), f"{part}.{key}".removeprefix("."), problem)


_SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "mapping": lambda value: isinstance(value, Mapping),
    "list": lambda value: isinstance(value, list),
    "list of mappings": lambda value: isinstance(value, list) and all(isinstance(each, Mapping) for each in value),
}


def plain(value: Any) -> Any:
    """The value as JSON holds it: dates and times as ISO 8601 text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    return value.isoformat() if isinstance(value, date | datetime) else value


class _Loader(yaml.SafeLoader):
    file: Path


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Any:
    found = Lined()
    found.line = node.start_mark.line + 1
    found.lines = {}
    yield found
    loader.flatten_mapping(node)
    pairs: dict[Hashable, Any] = loader.construct_mapping(node, deep=True)
    found.update({str(key): value for key, value in pairs.items()})
    for key, _ in node.value:
        found.lines[str(key.value)] = key.start_mark.line + 1


def _included(loader: _Loader, node: yaml.ScalarNode) -> Any:
    path = loader.file.parent / str(loader.construct_scalar(node))
    line = node.start_mark.line + 1
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = f'"{path}" cannot be read ({error.strerror}); put it there, or its content here'
        raise MigrationError(str(loader.file), line, "!include", problem) from None
    if path.resolve() == loader.file.resolve():
        raise MigrationError(str(loader.file), line, "!include", "a file cannot include itself; put the content here")
    found = documents(text, path)
    return found[0] if found else None


_Loader.add_constructor(MAP_TAG, _mapping)
_Loader.add_constructor("!include", _included)
