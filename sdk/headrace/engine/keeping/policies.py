"""What a cache key is made of, and the rules by which a task's result is kept. Data only: `places` acts on it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import UsageError, shown

if TYPE_CHECKING:
    from headrace.engine.scope import TaskRun

KeyFunction = Callable[["TaskRun", Mapping[str, Any]], str | None]
"""Called with the task run and its parameters by name; None: this result is not cached."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """
    Which facts of a call make its cache key: a result is taken for a call with the same ones.

    Policies are added (`INPUTS + TASK_SOURCE`); `INPUTS - "connection"` leaves a parameter out.

    Args:
        inputs: The parameters by name, but those `without`.
        source: The text of the task's function.
        run: The flow run, so that its attempts share results, and other runs do not.
        flow_parameters: The parameters of the flow.
        functions: What these return.
    """

    inputs: bool = False
    source: bool = False
    run: bool = False
    flow_parameters: bool = False
    functions: tuple[KeyFunction, ...] = ()
    without: frozenset[str] = frozenset()

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Both together. Raises: UsageError: the other is no policy."""
        if not isinstance(other, CachePolicy):
            raise UsageError(f"a cache policy plus {shown(other)}: expected another one, such as INPUTS + TASK_SOURCE")
        return CachePolicy(
            inputs=self.inputs or other.inputs,
            source=self.source or other.source,
            run=self.run or other.run,
            flow_parameters=self.flow_parameters or other.flow_parameters,
            functions=self.functions + other.functions,
            without=self.without | other.without,
        )

    def __sub__(self, parameter: str) -> CachePolicy:
        """Without that parameter. Raises: UsageError: it is no name, or no inputs are in the policy."""
        if not isinstance(parameter, str):
            raise UsageError(f'a cache policy minus {shown(parameter)}: expected a name, such as INPUTS - "connection"')
        if not self.inputs:
            raise UsageError(f'a cache policy without INPUTS has no parameter "{parameter}" to leave out')
        return replace(self, without=self.without | {parameter})


INPUTS: Final = CachePolicy(inputs=True)
TASK_SOURCE: Final = CachePolicy(source=True)
RUN_ID: Final = CachePolicy(run=True)
FLOW_PARAMETERS: Final = CachePolicy(flow_parameters=True)
DEFAULT: Final = INPUTS + TASK_SOURCE + RUN_ID
NO_CACHE: Final = CachePolicy()


@dataclass(frozen=True, slots=True)
class Keeping:
    """
    What a task says of the keeping of its results.

    Args:
        checkpoint: Whether a later attempt of the flow run takes the result. None: where a results URL is set.
        policy: What the key of the cache is made of. None: nothing is cached.
        expiration_s: Age from which a cached result counts as absent. None: it never does.
        refresh: Whether a cached result is computed anew all the same.
        serializer: The format that results are stored in, of results.formats.CHOICES. None: the plainest that loses nothing.
    """

    checkpoint: bool | None = None
    policy: CachePolicy | None = None
    expiration_s: float | None = None
    refresh: bool = False
    serializer: str | None = None


def keeping_asked(label: str, options: Mapping[str, Any]) -> Keeping | None:
    """
    The rules that the options make; None: as usual.

    Raises: UsageError: one has a value that it does not take, or two contradict each other.
    """
    rules, serializer = _rules(label, options), _serializer(label, options.get("result_serializer"))
    return rules if serializer is None else replace(rules or Keeping(), serializer=serializer)


def _rules(label: str, options: Mapping[str, Any]) -> Keeping | None:
    persist, refresh = _flag(label, options, "persist_result"), _flag(label, options, "refresh_cache")
    expiration_s = _expiration_s(label, options.get("cache_expiration"))
    policy = _policy(label, options)
    if policy is None:
        for name in ("cache_expiration", "refresh_cache"):
            if options.get(name):
                raise UsageError(f"{label}: {name} needs a policy; add cache_policy=INPUTS, from headrace.caching")
        return None if persist is None else Keeping(checkpoint=persist)
    if policy == NO_CACHE:
        if persist:
            raise UsageError(
                f"{label}: persist_result=True stores a result that cache_policy=NO_CACHE never takes; leave one of them away"
            )
        return Keeping(checkpoint=False)
    if persist is False:
        raise UsageError(
            f"{label}: persist_result=False stores nothing that could be cached; leave it away, or the cache options"
        )
    return Keeping(checkpoint=False, policy=policy, expiration_s=expiration_s, refresh=bool(refresh))


def refuse_strange_names(label: str, keeping: Keeping, parameters: Collection[str]) -> None:
    """Raises: UsageError: the policy leaves out what is no parameter of the function."""
    left_out = keeping.policy.without if keeping.policy else ()
    for name in sorted(left_out):
        if name not in parameters and name != "self":
            known = ", ".join(parameters) or "none"
            raise UsageError(f'{label}: cache_policy leaves out "{name}", which is no parameter; there are: {known}')


def _serializer(label: str, asked: Any) -> str | None:
    if asked is None:
        return None
    from headrace.results.formats import CHOICES  # noqa: PLC0415 - few tasks say it

    if asked not in CHOICES:
        known = ", ".join(f'"{each}"' for each in CHOICES)
        raise UsageError(
            f"{label}: result_serializer is {shown(asked)}, expected one of {known}; large results are compressed by themselves"
        )
    return str(asked)


def _policy(label: str, options: Mapping[str, Any]) -> CachePolicy | None:
    policy, function = options.get("cache_policy"), options.get("cache_key_fn")
    if policy is not None and not isinstance(policy, CachePolicy):
        raise UsageError(
            f"{label}: cache_policy is {shown(policy)}, expected one of headrace.caching, such as "
            "cache_policy=INPUTS + TASK_SOURCE"
        )
    if function is None:
        return policy
    if policy is not None:
        raise UsageError(
            f"{label}: cache_policy and cache_key_fn are both set; write cache_policy=INPUTS + CacheKeyFnPolicy(…), or one of them"
        )
    return key_function_policy(label, function)


def key_function_policy(label: str, function: Any) -> CachePolicy:
    """The policy whose key the function makes. Raises: UsageError: it is no plain function."""
    import inspect  # noqa: PLC0415 - only those who have such a function need it

    if not callable(function) or inspect.iscoroutinefunction(function):
        raise UsageError(
            f"{label}: cache_key_fn is {shown(function)}, expected a function of the task run and its parameters that "
            "returns text, such as `def key(context, parameters)`"
        )
    return CachePolicy(functions=(function,))


def _flag(label: str, options: Mapping[str, Any], name: str) -> bool | None:
    value = options.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise UsageError(f"{label}: {name} is {shown(value)}, expected True or False")


def _expiration_s(label: str, value: Any) -> float | None:
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0:
        return float(seconds)
    raise UsageError(
        f"{label}: cache_expiration is {shown(value)}, expected more than 0 seconds or a timedelta, such as timedelta(days=1)"
    )
