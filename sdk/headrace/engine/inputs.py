"""
Futures among the arguments of a task: what must end before it begins, and the results that take their place.

A future may be an argument, or an item of a list, tuple, set or dict that is one. Nothing is looked for deeper: large
arguments would cost more than the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from headrace.engine.calls import Call, told_unawaited
from headrace.engine.futures import FutureList, TaskFuture
from headrace.engine.marks import FailureAllowed, Unmapped
from headrace.errors import UsageError, shown
from headrace.states import Ended, State

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]

MARKED = frozenset((TaskFuture, FailureAllowed, Unmapped, Call))
COLLECTIONS = frozenset((list, tuple, set, frozenset, dict, FutureList))

HOLDERS = MARKED | COLLECTIONS
"""Types of arguments that may be or hold a future: most calls have none."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    The futures that a task run waits for.

    Args:
        needed: They must succeed, or the task does not begin.
        allowed: They must end.
    """

    needed: tuple[TaskFuture[Any], ...] = ()
    allowed: tuple[TaskFuture[Any], ...] = ()

    @property
    def futures(self) -> tuple[TaskFuture[Any], ...]:
        """All of them, those that must succeed first."""
        return (*self.needed, *self.allowed)

    def obstacle(self, name: str) -> State[Any] | None:
        """The final state of the task run `name` that cannot begin, as these have ended; None if it can."""
        for future in self.needed:
            state = future.state
            if isinstance(state, Ended):
                return replace(state, message=f"{name} did not begin, as {future.name} ended: {state.message}")
        return None


NOTHING = Inputs()


def inputs_of(label: str, arguments: Arguments, wait_for: Any) -> Inputs:
    """
    What a call with these waits for. Whoever calls it passes their outcomes on: they count as asked for.

    Raises: UsageError: `wait_for` is something else than futures.
    """
    if wait_for is None and HOLDERS.isdisjoint(map(type, (*arguments[0], *arguments[1].values()))):
        return NOTHING
    found = [*_among(arguments[0]), *_among(arguments[1].values()), *_waited_for(label, wait_for)]
    if not found and not any(type(value) in MARKED for value in (*arguments[0], *arguments[1].values())):
        return NOTHING
    for future, _ in found:
        future.seen = True
    needed = tuple(future for future, allowed in found if not allowed)
    return Inputs(needed, tuple(future for future, allowed in found if allowed))


def resolved(arguments: Arguments) -> Arguments:
    """The arguments with the result of each ended future in its place; the exception where a failure is allowed."""
    args, kwargs = arguments
    return tuple(map(value_of, args)), {name: value_of(value) for name, value in kwargs.items()}


def value_of(value: Any) -> Any:
    """The value with the result of each ended future in its place. Raises: what ended a future."""
    kind = type(value)
    if kind in MARKED:
        return _marked_value(value)
    if kind not in COLLECTIONS or not _holds_any(value):
        return value
    if kind is dict:
        return {key: _item_value(item) for key, item in value.items()}
    return (list if kind is FutureList else kind)(_item_value(item) for item in value)


def _item_value(item: Any) -> Any:
    return _marked_value(item) if type(item) in MARKED else item


def _marked_value(value: Any) -> Any:
    if isinstance(value, TaskFuture):
        return value.state.result()
    if isinstance(value, Call):
        raise UsageError(told_unawaited(value.of, is_async=True))
    if isinstance(value, Unmapped):
        return value_of(value.value)
    if isinstance(value.value, TaskFuture):
        state = value.value.state
        return state.exception if isinstance(state, Ended) else state.result()
    if type(value.value) in COLLECTIONS:
        return [_marked_value(FailureAllowed(item)) for item in value.value]
    return value.value


def _holds_any(collection: Any) -> bool:
    return any(type(item) in MARKED for item in (collection.values() if type(collection) is dict else collection))


def _among(values: Iterable[Any]) -> Iterator[tuple[TaskFuture[Any], bool]]:
    """Each future with whether it may fail."""
    for value in values:
        kind = type(value)
        if kind in MARKED:
            yield from _marked(value)
        elif kind in COLLECTIONS:
            for item in value.values() if kind is dict else value:
                if type(item) in MARKED:
                    yield from _marked(item)


def _marked(value: Any) -> Iterator[tuple[TaskFuture[Any], bool]]:
    if isinstance(value, TaskFuture):
        yield value, False
    elif isinstance(value, Call):
        raise UsageError(f"{told_unawaited(value.of, is_async=True)}: it is an argument, and its result belongs there")
    else:
        allowed = isinstance(value, FailureAllowed)
        yield from ((future, allowed or may_fail) for future, may_fail in _among((value.value,)))


def _waited_for(label: str, wait_for: Any) -> Iterator[tuple[TaskFuture[Any], bool]]:
    if wait_for is None:
        return
    each = [wait_for] if type(wait_for) in MARKED else wait_for
    if type(each) not in COLLECTIONS:
        raise UsageError(f"{label}: wait_for is {shown(wait_for)}, expected futures, such as wait_for=[future]")
    for item in each:
        found = list(_among((item,)))
        if not found and type(item) not in COLLECTIONS:
            raise UsageError(f"{label}: wait_for has {shown(item)}, expected the future that submit() returns")
        yield from found
