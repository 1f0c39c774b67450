"""What a task declares to read and write: texts with {parameters}, datasets, or a function of the parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import UsageError, shown
from headrace.lineage.datasets import Dataset, Datasets, dataset_of, datasets_of
from headrace.option_values import refuse_strange_fields

Declaration = tuple[str | Dataset, ...] | Callable[[Mapping[str, Any]], Datasets]


@dataclass(frozen=True, slots=True)
class Declared:
    """The options `reads` and `writes` of a task."""

    reads: Declaration
    writes: Declaration

    def inputs(self, parameters: Mapping[str, Any]) -> tuple[Dataset, ...]:
        """What a run with these parameters reads. Raises: what a function of the author raises; UsageError."""
        return _resolved("reads", self.reads, parameters)

    def outputs(self, parameters: Mapping[str, Any]) -> tuple[Dataset, ...]:
        """What it writes. Raises: as inputs()."""
        return _resolved("writes", self.writes, parameters)


def declared(label: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Declared | None:
    """The options among these, None without them. Raises: UsageError: one of them can be none."""
    given = {name: options[name] for name in ("reads", "writes") if options.get(name) is not None}
    if not given:
        return None
    return Declared(**{name: _declaration(label, name, given.get(name, ()), function) for name in ("reads", "writes")})


def _declaration(label: str, option: str, value: Any, function: Callable[..., Any]) -> Declaration:
    if callable(value):
        if inspect.iscoroutinefunction(value):
            raise UsageError(f"{label}: {option} is {shown(value)}, an `async def`; write it as a `def`")
        asked: Callable[[Mapping[str, Any]], Datasets] = value
        return asked
    each = tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)
    for one in each:
        if not isinstance(one, str) or "{" not in one.partition("://")[0]:
            dataset_of(f"{label}: {option}", _unfilled(one))
        refuse_strange_fields(label, option, one if isinstance(one, str) else None, function)
    return each


def _unfilled(one: Any) -> Any:
    """A text whose {fields} stand for a port or anything else."""
    return one.translate(str.maketrans("{}", "00")) if isinstance(one, str) else one


def _resolved(option: str, declaration: Declaration, parameters: Mapping[str, Any]) -> tuple[Dataset, ...]:
    if callable(declaration):
        return datasets_of(option, declaration(parameters))
    filled = (one.format(**parameters) if isinstance(one, str) else one for one in declaration)
    return datasets_of(option, tuple(filled))
