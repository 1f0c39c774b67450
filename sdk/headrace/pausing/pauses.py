"""`pause()`, `sleep_until()` and `sleep_for()`: a flow that waits, in a cluster without a pod."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from headrace.errors import RunPaused, UsageError, shown

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import BaseModel

    from headrace.engine.scope import FlowRun
    from headrace.engine.ways import Way
    from headrace.pausing.requests import PauseRequest

M = TypeVar("M", bound="BaseModel")

SHORT_SLEEP_S: Final = 60.0
"""A sleep up to this long stays in its pod: another one might take as long to come."""


class Pause:
    """Waits for a person: `answer = pause("deploy?")`, in an `async def` `await pause.aio("deploy?")`."""

    @overload
    def __call__(
        self, message: str = "", *, wait_for_input: type[M], timeout_seconds: float | None = None, name: str = ""
    ) -> M: ...
    @overload
    def __call__(
        self, message: str = "", *, wait_for_input: None = None, timeout_seconds: float | None = None, name: str = ""
    ) -> None: ...
    def __call__(
        self, message: str = "", *, wait_for_input: Any = None, timeout_seconds: float | None = None, name: str = ""
    ) -> Any:
        """
        Returns when a person has approved, with the input that was asked for.

        In a cluster this ends the attempt, by an exception that is no `Exception`; the next attempt comes here again, and
        this returns at once. On a laptop the terminal is asked.

        Args:
            message: The question, for people; at most 600 bytes.
            wait_for_input: A pydantic model: its fields are asked for. None: only a yes or no, and the result is None.
            timeout_seconds: How long the cluster waits for an answer. None: as long as it takes.
            name: Unique in the flow run; the answer is given under it. Empty: "pause-0", "pause-1", … in the order of
                the calls. Give one where a flow does not always come by the same pauses.
        Raises: PauseRejected: the person said no. PauseTimedOut. UsageError: called in a task, or outside a flow.
        """
        from headrace.engine.ways import BLOCKING, run_to_end  # noqa: PLC0415 - the engine is loaded by the first call

        run = _flow_run("pause", awaits=False)
        asked = _approval(run, message, wait_for_input, timeout_seconds, name=name)
        return run_to_end(_approved(run, asked, wait_for_input, BLOCKING))

    async def aio(
        self, message: str = "", *, wait_for_input: Any = None, timeout_seconds: float | None = None, name: str = ""
    ) -> Any:
        """The same for `async def`."""
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        run = _flow_run("pause", awaits=True)
        asked = _approval(run, message, wait_for_input, timeout_seconds, name=name)
        return await _approved(run, asked, wait_for_input, ON_LOOP)


class SleepUntil:
    """Waits for a time: `sleep_until(when)`, in an `async def` `await sleep_until.aio(when)`."""

    def __call__(self, when: datetime, *, name: str = "") -> None:
        """
        Returns at that time. In a cluster the pod goes meanwhile, if that is more than a minute ahead.

        Args:
            when: Aware; one that has passed is no wait.
            name: As of pause(); empty: "sleep-0", "sleep-1", …
        Raises: UsageError: called in a task, or outside a flow; `when` has no time zone.
        """
        from headrace.engine.ways import BLOCKING, run_to_end  # noqa: PLC0415 - the engine is loaded by the first call

        run_to_end(_slept(_flow_run("sleep_until", awaits=False), _aware(when), name, BLOCKING))

    async def aio(self, when: datetime, *, name: str = "") -> None:
        """The same for `async def`."""
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        await _slept(_flow_run("sleep_until", awaits=True), _aware(when), name, ON_LOOP)


class SleepFor:
    """Waits for some time: `sleep_for(3600)`, in an `async def` `await sleep_for.aio(3600)`."""

    def __call__(self, seconds: float, *, name: str = "") -> None:
        """
        Returns after that time. As sleep_until(); it is counted from the first attempt that comes here.

        Args:
            seconds: How long, at least 0.
            name: As of pause(); empty: "sleep-0", "sleep-1", …
        Raises: UsageError: as sleep_until(); `seconds` is no time to wait.
        """
        from headrace.engine.ways import BLOCKING, run_to_end  # noqa: PLC0415 - the engine is loaded by the first call

        run = _flow_run("sleep_for", awaits=False)
        run_to_end(_slept(run, _ahead(run, seconds), name, BLOCKING))

    async def aio(self, seconds: float, *, name: str = "") -> None:
        """The same for `async def`."""
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        run = _flow_run("sleep_for", awaits=True)
        await _slept(run, _ahead(run, seconds), name, ON_LOOP)


pause = Pause()
sleep_until = SleepUntil()
sleep_for = SleepFor()


def _approval(run: FlowRun, message: str, model: Any, timeout_s: float | None, *, name: str) -> PauseRequest:
    from headrace.pausing import requests  # noqa: PLC0415 - as above

    schema = None if model is None else requests.schema_of(model)
    question, timeout_s = requests.checked_message(message), requests.checked_timeout(timeout_s)
    return requests.PauseRequest("Approval", _taken(run, name, "pause"), question, schema, timeout_s)


async def _approved(run: FlowRun, asked: PauseRequest, model: Any, way: Way) -> Any:
    from headrace.pausing.answers import ANSWERS_ENV, UnusableAnswer, outcome_of  # noqa: PLC0415 - as above

    on_laptop = run.session.answers is None
    answer = _answers(run).get(asked.name)
    if answer is not None:
        try:
            return outcome_of(asked.name, answer, model)
        except UnusableAnswer as error:
            if on_laptop:
                raise UsageError(f'{ANSWERS_ENV}: the input for pause "{asked.name}" cannot be used: {error}') from None
            asked = replace(asked, problem=str(error))
    if not on_laptop:
        raise _leaving(run, asked)
    from headrace.pausing.terminal import asked_here  # noqa: PLC0415 - on a laptop only

    return await asked_here(asked, model, way)


async def _slept(run: FlowRun, when: datetime, name: str, way: Way) -> None:
    from headrace.pausing.requests import PauseRequest  # noqa: PLC0415 - as above

    asked = PauseRequest("Sleep", _taken(run, name, "sleep"), until=when)
    clock = run.session.clock
    ahead_s = when.timestamp() - clock.wall_s()
    if ahead_s <= 0 or asked.name in _answers(run):
        return
    if run.session.answers is not None and ahead_s > SHORT_SLEEP_S:
        raise _leaving(run, asked)
    await way.sleep(clock, ahead_s)


def _flow_run(what: str, *, awaits: bool) -> FlowRun:
    """The flow run that pauses. Raises: UsageError: none may, here."""
    from headrace.engine.scope import CURRENT, FlowRun  # noqa: PLC0415 - as above

    run = CURRENT.get()
    if run is None:
        raise UsageError(f"{what}() belongs into a flow: it is the run of a flow that pauses")
    if not isinstance(run, FlowRun):
        raise UsageError(
            f'{what}() in task "{run.description.name}": a task cannot pause, as its pod would go; call {what}() in the '
            "flow, and pass what it returns to the task"
        )
    if run.description.is_async and not awaits:
        raise UsageError(f"{what}() would block the event loop of the flow: write `await {what}.aio(…)`")
    return run


def _taken(run: FlowRun, name: str, kind: str) -> str:
    """The name of the next pause, used up. Raises: UsageError: it cannot be one, or was used before."""
    from headrace.pausing.requests import checked_name  # noqa: PLC0415 - as above

    taken = run.pauses
    if not name:
        name = next(made for number in range(len(taken) + 1) if (made := f"{kind}-{number}") not in taken)
    if checked_name(name) in taken:
        raise UsageError(
            f'the name "{name}" is of another pause of this run, whose answer it would get; choose another'
        )
    taken[name] = frozenset(_names_around(run))
    return name


def _names_around(run: FlowRun | None) -> Iterator[str]:
    while run is not None:
        yield run.name
        run = run.parent


def _answers(run: FlowRun) -> Mapping[str, Any]:
    if run.session.answers is not None:
        return run.session.answers
    import os  # noqa: PLC0415 - as above

    from headrace.pausing.answers import ANSWERS_ENV, answers_from  # noqa: PLC0415 - as above

    return answers_from(os.environ.get(ANSWERS_ENV, ""))


def _leaving(run: FlowRun, asked: PauseRequest) -> RunPaused:
    """What ends the attempt; if an author's `except` holds it up, it is raised once more at the end of the flow."""
    import logging  # noqa: PLC0415 - as above

    from headrace.engine import logs  # noqa: PLC0415 - as above

    if not run.session.results_url and run.tally.counts().total:
        message = f"{asked}; tasks before it run again after it, as nothing keeps their results: set spec.results.url"
        logs.emit(logging.WARNING, run, "pause_keeps_nothing", message, pause=asked.name)
    run.top.paused = RunPaused(asked)
    return run.top.paused


def _aware(when: datetime) -> datetime:
    from datetime import datetime  # noqa: PLC0415 - as above

    if isinstance(when, datetime) and when.tzinfo is not None:
        return when
    raise UsageError(f"sleep_until({shown(when)}): expected a datetime with a time zone, such as datetime.now(UTC)")


def _ahead(run: FlowRun, seconds: float) -> datetime:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415 - as above

    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise UsageError(f"sleep_for({shown(seconds)}): expected a number of seconds, 0 or more")
    return datetime.fromtimestamp(run.session.clock.wall_s(), UTC) + timedelta(seconds=seconds)
