"""
How a value becomes bytes, and comes back: JSON, pickle, or as a table.

The plainest format that gives the value back as it was is chosen, unless its author names one.
"""

from __future__ import annotations

import json
import pickle
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from io import BytesIO, TextIOWrapper
from math import isfinite
from typing import Any, Final

from headrace.engine.transitions import told
from headrace.errors import UsageError
from headrace.results import tables
from headrace.results.extras import optional
from headrace.results.tables import ARROW, PARQUET

JSON: Final = "json"
PICKLE: Final = "pickle"
CLOUDPICKLE: Final = "cloudpickle"
BYTES: Final = "bytes"
CHOICES: Final = (JSON, PICKLE, ARROW, PARQUET)
"""What an author may ask for."""
KNOWN: Final = (*CHOICES, CLOUDPICKLE, BYTES)
"""What may lie in a storage."""
PICKLE_PROTOCOL: Final = 5
SCALARS: Final = frozenset({type(None), bool, int, str})
ORJSON: Final = {"json": "orjson"}
TEXT: Final = frozenset({str})


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as bytes; `facts` are what its reader must know besides the format."""

    format: str
    data: bytes
    facts: Mapping[str, str] = field(default_factory=dict)


def encoded(value: Any, what: str, wanted: str | None = None) -> Encoded:
    """
    The value as bytes.

    Args:
        what: Names the value in the error, such as 'task "train": its result'.
        wanted: One of CHOICES. None: JSON, Arrow or pickle, the first of them that loses nothing.
    Raises: UsageError: the value cannot be written so, or there is no such format.
    """
    if wanted is None:
        return _chosen(value, what)
    if wanted == JSON:
        if is_plain(value):
            return _json(value)
        raise UsageError(
            f"{what} is a {type(value).__name__} that JSON does not give back as it was (tuples, objects, NaN and keys "
            'that are no text); make it of lists, dicts, text, numbers and None, or write result_serializer="pickle"'
        )
    if wanted == PICKLE:
        return _pickled(value, what)
    if wanted in {ARROW, PARQUET}:
        return _table(value, what, wanted)
    raise UsageError(f'{what}: there is no format "{wanted}"; choose one of {", ".join(CHOICES)}')


def decoded(found: Encoded) -> Any:
    """
    The value.

    Raises: UsageError: a library is missing here. Whatever its classes raise when they are unpickled, which is anything.
    """
    if found.format == JSON:
        return _from_json(found)
    if found.format in {ARROW, PARQUET}:
        return tables.read(found.data, found.facts.get("table", tables.TABLE), found.format)
    if found.format == BYTES:
        return found.data
    if found.format == CLOUDPICKLE:
        _imported("cloudpickle", "processes")
    return pickle.loads(found.data)  # noqa: S301 - whoever may write to the storage is trusted: docs/results.md


def is_plain(value: Any) -> bool:
    """Whether JSON gives the value back as it is: no tuple, no subclass, no key but text."""
    try:
        return _are_plain((value,))
    except RecursionError:
        return False


def _are_plain(values: Iterable[Any]) -> bool:
    """In one frame for each list or dict, as most of a large value is plain, and is walked through to know it."""
    for each in values:
        kind = type(each)
        if kind in SCALARS or (kind is float and isfinite(each)):
            continue
        if kind is dict and TEXT.issuperset(map(type, each)):
            inside = each.values()
        elif kind is list:
            inside = each
        else:
            return False
        if not SCALARS.issuperset(map(type, inside)) and not _are_plain(inside):
            return False
    return True


def _chosen(value: Any, what: str) -> Encoded:
    if is_plain(value):
        return _json(value)
    kind = tables.kind_of(value)
    if kind and tables.is_kept_whole(value, kind):
        try:
            return Encoded(ARROW, tables.written(value, kind, ARROW), {"table": kind})
        except Exception:  # noqa: BLE001 - no pyarrow, or a column that Arrow does not know: pickle takes it
            return _pickled(value, what)
    return _pickled(value, what)


def _json(value: Any) -> Encoded:
    """By orjson where it is there; it refuses what it would change: large numbers, halves of characters."""
    orjson = optional("orjson")
    if orjson:
        try:
            return Encoded(JSON, orjson.dumps(value), ORJSON)
        except TypeError:
            return Encoded(JSON, json.dumps(value, separators=(",", ":")).encode())
    return Encoded(JSON, json.dumps(value, separators=(",", ":")).encode())


def _from_json(found: Encoded) -> Any:
    """By orjson only what orjson wrote: it reads larger numbers than it writes, as floats."""
    orjson = optional("orjson") if found.facts.get("json") == ORJSON["json"] else None
    return orjson.loads(found.data) if orjson else json.loads(found.data)


def _pickled(value: Any, what: str) -> Encoded:
    try:
        return Encoded(PICKLE, pickle.dumps(value, protocol=PICKLE_PROTOCOL))
    except Exception as error:
        by_value = _pickled_by_value(value)
        if by_value is not None:
            return Encoded(CLOUDPICKLE, by_value)
        raise UsageError(
            f"{what} cannot be pickled ({told(error)}), and another process needs it; open files, connections, "
            "locks and generators cannot go there: pass what they are made from, such as a path or a URL; lambdas "
            'and functions inside functions can, with "headrace[processes]" in the image'
        ) from error


def _pickled_by_value(value: Any) -> bytes | None:
    """As cloudpickle does it, which takes functions and classes along; None where it is missing, or cannot either."""
    try:
        cloudpickle: Any = import_module("cloudpickle")
        file = BytesIO()
        reducers = ChainMap({TextIOWrapper: _refused}, cloudpickle.Pickler.dispatch_table)
        pickler = type("Pickler", (cloudpickle.Pickler,), {"dispatch_table": reducers})
        pickler(file, protocol=PICKLE_PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001 - the reason that pickle gives is the plainer one
        return None
    return file.getvalue()


def _refused(file: TextIOWrapper) -> str:
    """Of an open file, cloudpickle would take the content along, which nobody expects."""
    raise pickle.PicklingError(f"{file.name} is an open file")


def _table(value: Any, what: str, wanted: str) -> Encoded:
    kind = tables.kind_of(value)
    if kind is None:
        raise UsageError(
            f"{what} is a {type(value).__name__}, and {wanted} takes a table: one of {', '.join(tables.KINDS)}"
        )
    try:
        return Encoded(wanted, tables.written(value, kind, wanted), {"table": kind})
    except ImportError as error:
        raise UsageError(f'{what} as {wanted} takes pyarrow; install "headrace[arrow]" in the flow\'s image') from error
    except Exception as error:
        raise UsageError(
            f'{what} cannot be written as {wanted} ({told(error)}); write result_serializer="pickle"'
        ) from error


def _imported(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f'the object was written with {module}, which is missing here; install "headrace[{extra}]" in the flow\'s image'
        ) from error
