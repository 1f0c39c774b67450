"""
Runs one description to its final state: attempts, pauses between them, and what they leave behind.

Written once, over a Way; `call` and `call_on_loop` wrap it for functions with `def` and with `async def`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.engine import reporting
from headrace.engine.calls import Call, refuse_unawaited
from headrace.engine.description import Description
from headrace.engine.futures import FutureList, TaskFuture
from headrace.engine.hooks import NO_HOOKS
from headrace.engine.inputs import NOTHING, Inputs, inputs_of, resolved, value_of
from headrace.engine.mapping import Mapped, bounded, rows_of
from headrace.engine.prints import printing_to_log
from headrace.engine.retries import NO_RETRIES
from headrace.engine.scope import CURRENT, FlowRun, Run, TaskRun, current_flow_run, flow_run_name
from headrace.engine.session import current_session
from headrace.engine.transacting.current import TRANSACTION
from headrace.engine.transitions import after_error
from headrace.engine.turns import carry_out, entitle
from headrace.engine.watching import inside_both
from headrace.engine.ways import BLOCKING, ON_LOOP, Arguments, Way, is_cancellation, run_to_end
from headrace.engine.workers import STOP_GRACE_S
from headrace.errors import TimedOut, UsageError
from headrace.states import Retrying, Running, State, Succeeded

MAX_DEPTH = 30
"""Runs inside each other: they fit into Python's own limit, whose RecursionError says nothing to anybody."""

if TYPE_CHECKING:
    from headrace.engine.keeping.deposits import Deposit

OpenRun = Callable[[int], Run]


def call(of: Description, arguments: Arguments, *, return_state: bool = False, wait_for: Any = None) -> Any:
    """What a function written with `def` returns, or its final state. Raises: what it raised."""
    return delivered(run_to_end(final_state(of, arguments, BLOCKING, wait_for)), return_state=return_state)


def call_on_loop(of: Description, arguments: Arguments, *, return_state: bool = False, wait_for: Any = None) -> Call:
    """As `call`, for a function written with `async def`, when it is awaited."""
    return Call(of, partial(_on_loop, of, arguments, return_state=return_state, wait_for=wait_for))


async def _on_loop(of: Description, arguments: Arguments, *, return_state: bool, wait_for: Any) -> Any:
    return delivered(await final_state(of, arguments, ON_LOOP, wait_for), return_state=return_state)


def submit(of: Description, arguments: Arguments, *, wait_for: Any = None) -> TaskFuture[Any]:
    """
    Starts a task of the current flow beside it, when the futures among its arguments and in `wait_for` have ended.

    Async tasks of an async flow share its event loop; all others get a thread.
    Raises: UsageError: called outside a flow, or in a task; `wait_for` holds something else.
    """
    future = _submitted(of, arguments, wait_for)
    transaction = TRANSACTION.get()
    return future if transaction is None else transaction.joined(future)


def _submitted(of: Description, arguments: Arguments, wait_for: Any) -> TaskFuture[Any]:
    flow_run = _flow_run_for(of, "submit")
    inputs = inputs_of(_label(of), arguments, wait_for)
    name = flow_run.next_task_run(of.name)
    of, asked = placed(of), of
    open_run = partial(TaskRun, of, name, flow_run)
    if of.is_async and flow_run.description.is_async:
        return flow_run.workers.submit_to_loop(name, _after(inputs, arguments, ON_LOOP, open_run))
    # What stands in for a task in a pod of its own only waits: no process has to.
    way = ON_LOOP if of.is_async else flow_run.workers.way() if of is asked else BLOCKING
    work = partial(_in_thread, inputs, arguments, way, open_run)
    return flow_run.workers.submit(name, work, after=inputs.futures)


def submit_each(of: Description, arguments: Arguments, *, wait_for: Any = None) -> FutureList[Any]:
    """
    Submits a task of the current flow for each element of its arguments. The futures in the order of the inputs.

    Raises: UsageError: as submit(); there is nothing to walk, or the inputs differ in length: then nothing was started.
    """
    _flow_run_for(of, "map")
    rows = list(rows_of(_label(of), arguments))
    return FutureList(submit(of, row, wait_for=wait_for) for row in rows)


def map_bounded(of: Description, arguments: Arguments, *, max_concurrency: int, wait_for: Any = None) -> Mapped[Any]:
    """As submit_each(), with at most so many at a time; the inputs are taken little by little."""
    workers = _flow_run_for(of, "map").workers
    mapped: Mapped[Any] = Mapped(
        rows_of(_label(of), arguments),
        lambda row: submit(of, row, wait_for=wait_for),
        max_concurrency=bounded(_label(of), max_concurrency),
        forget=workers.forget,
    )
    workers.mapped.append(mapped)
    transaction = TRANSACTION.get()
    return mapped if transaction is None else transaction.joined_map(mapped)


def _flow_run_for(of: Description, what: str) -> FlowRun:
    flow_run = CURRENT.get()
    if not isinstance(flow_run, FlowRun):
        raise UsageError(_misplaced(of, flow_run, what))
    return flow_run


def delivered(state: State[Any], *, return_state: bool) -> Any:
    """The state itself, where asked for, else what the run returned or raised. A cancellation or pause is always raised."""
    error = getattr(state, "exception", None)
    if return_state and (error is None or isinstance(error, Exception)):
        return state
    return state.result()


async def final_state(of: Description, arguments: Arguments, way: Way, wait_for: Any = None) -> State[Any]:
    """The state in which a flow or task run ends, all its attempts made."""
    flow_run = current_flow_run()
    inputs = inputs_of(_label(of), arguments, wait_for)
    if of.kind == "task":
        name = flow_run.next_task_run(of.name) if flow_run else f"{of.name}-0"
        return await _after(inputs, arguments, way, partial(TaskRun, placed(of), name, flow_run))
    if flow_run is None and not current_session().repeats_flows:
        of = replace(of, retries=NO_RETRIES)
    return await _after(inputs, arguments, way, partial(FlowRun, of, flow_run_name(of, flow_run), flow_run))


async def task_state(of: Description, arguments: Arguments, way: Way, *, name: str, around: Description) -> State[Any]:
    """The state in which the task run `name` ends, of a flow that runs elsewhere and is described by `around`."""
    flow_run = FlowRun(around, flow_run_name(around, None), None, 1)
    return await _attempts(arguments, way, partial(TaskRun, of, name, flow_run))


def placed(of: Description) -> Description:
    """What runs here: a task with a pod of its own leaves a stand-in, where there is a place for such pods."""
    elsewhere = current_session().elsewhere
    return of if of.pod is None or elsewhere is None else elsewhere.stand_in(of)


async def _after(inputs: Inputs, arguments: Arguments, way: Way, open_run: OpenRun) -> State[Any]:
    """Waits for the futures, and makes the attempts with their results; none if one of them is in the way."""
    if inputs is NOTHING:
        return await _attempts(arguments, way, open_run)
    await way.ended(inputs.futures)
    run = _opened(open_run, 1, arguments)
    obstacle = inputs.obstacle(_what(run))
    if obstacle is not None:
        reporting.not_started(run, obstacle)
        return obstacle
    return await _attempts(resolved(arguments), way, open_run)


async def _attempts(arguments: Arguments, way: Way, open_run: OpenRun) -> State[Any]:
    run = _opened(open_run, 1, arguments)
    of = run.description
    if not (current_session().results_url or of.keeping or TRANSACTION.get() or of.hooks.on_commit):
        return await _tried(run, way, open_run=open_run)
    from headrace.engine.keeping.places import deposit_for  # noqa: PLC0415 - many runs keep nothing

    deposit = deposit_for(run)
    if deposit is None:
        return await _tried(run, way, open_run=open_run)
    try:
        return await _found(deposit, way) or await _tried(run, way, open_run=open_run, deposit=deposit)
    finally:
        deposit.let_go()


async def _found(deposit: Deposit, way: Way) -> State[Any] | None:
    """The state of a task run whose result is there already, or that was told to stop while it waited for it."""
    run = deposit.run
    token = CURRENT.set(run)
    try:
        state = await deposit.found(way)
    except BaseException as error:
        if not is_cancellation(error):
            raise
        stopped = after_error(error, run.description, attempt=1, cancelled=True)
        reporting.started(run, again=False)
        reporting.ended(run, stopped, attempt=1, duration_s=0.0)
        return stopped
    finally:
        CURRENT.reset(token)
    if state is not None:
        reporting.taken(run, state)
        if run.description.hooks is not NO_HOOKS:
            await carry_out(run.description.hooks.on_success, run, state)
    return state


async def _tried(run: Run, way: Way, *, open_run: OpenRun, deposit: Deposit | None = None) -> State[Any]:
    clock, arguments = current_session().clock, run.arguments
    attempt = 1
    while True:
        started_s = clock.now_s()
        reporting.started(run, again=attempt > 1)
        hooks = run.description.hooks
        if hooks is not NO_HOOKS:
            await carry_out(hooks.on_running, run, Running(attempt=attempt))
        state = await _one_attempt(run, way, attempt, deposit)
        reporting.ended(run, state, attempt=attempt, duration_s=clock.now_s() - started_s)
        if hooks is not NO_HOOKS:
            await carry_out(hooks.after(reporting.shown_as(run, state)), run, state)
        if not isinstance(state, Retrying):
            return state
        await way.sleep(clock, state.delay_s)
        attempt += 1
        run = _opened(open_run, attempt, arguments)


def _opened(open_run: OpenRun, attempt: int, arguments: Arguments) -> Run:
    run = open_run(attempt)
    run.arguments = arguments
    if run.depth > MAX_DEPTH:
        raise UsageError(
            f"{_label(run.description)}: {MAX_DEPTH} flows and tasks run inside each other; if it calls itself, write a "
            f"loop, or call {run.description.name}.fn(…) where no run of its own is needed"
        )
    entitle(run)
    return run


async def _one_attempt(run: Run, way: Way, attempt: int, deposit: Deposit | None) -> State[Any]:
    of, arguments = run.description, run.arguments
    token = CURRENT.set(run)
    try:
        with _surroundings(run):
            async with nullcontext() if of.timeout_s is None else way.limit(of.timeout_s, _what(run)):
                data = await way.call(of.function, arguments)
                if isinstance(run, FlowRun):
                    _pause_after_all(run)
                    refuse_unawaited(run, data)
                    await _wait_for_submitted(run, way)
                    data = value_of(data)
        if deposit is not None:  # before anybody sees the end of the run: what follows from it must not be lost alone
            await deposit.take(data, way)
    except GeneratorExit:  # the coroutine is thrown away: nothing may be awaited, and nobody asks for a state
        if isinstance(run, FlowRun):
            run.workers.close()
        raise
    except BaseException as error:  # noqa: BLE001 - every end of an attempt becomes a state
        cancelled = is_cancellation(error)
        if isinstance(run, FlowRun):
            await _stop_submitted(run, way, at_once=cancelled or isinstance(error, TimedOut))
        return after_error(_misuse(of, arguments, error) or error, of, attempt=attempt, cancelled=cancelled)
    finally:
        CURRENT.reset(token)
    return Succeeded(data=data)


def _in_thread(inputs: Inputs, arguments: Arguments, way: Way, open_run: OpenRun) -> State[Any]:
    if way is not ON_LOOP:
        return run_to_end(_after(inputs, arguments, way, open_run))
    import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

    return asyncio.run(_after(inputs, arguments, way, open_run))


def _surroundings(run: Run) -> AbstractContextManager[object]:
    """What is around the function of a run: its prints become log lines, and who watches has a block of its own."""
    wanted = run.description.log_prints
    prints = nullcontext() if wanted is None else printing_to_log(wanted=wanted)
    return prints if run.watch is None else inside_both(run.watch.inside(run), prints)


def _pause_after_all(run: FlowRun) -> None:
    """Raises what the author's own `except` held up: nobody has answered the pause yet."""
    if run.top.paused is not None:
        raise run.top.paused


async def _wait_for_submitted(run: FlowRun, way: Way) -> None:
    """A flow ends after its tasks. One that failed, and whose outcome nobody asked for, fails the flow."""
    workers = run.workers
    for mapped in workers.mapped:
        while await mapped.fetched(way):
            pass
    await way.ended(tuple(workers.futures))
    workers.close()
    for future in workers.futures:
        if not future.seen:
            future.result()


async def _stop_submitted(run: FlowRun, way: Way, *, at_once: bool) -> None:
    """What has not begun is taken back. What runs goes on to its end, or is broken off `at_once`."""
    workers = run.workers
    if at_once:
        workers.stop()
    workers.close()
    await way.ended(tuple(workers.futures), STOP_GRACE_S if at_once else None)


def _misuse(of: Description, arguments: Arguments, error: BaseException) -> UsageError | None:
    """What to write instead, if the function was called with arguments that it does not take."""
    if not isinstance(error, TypeError):
        return None
    try:
        inspect.signature(of.function).bind(*arguments[0], **arguments[1])
    except TypeError as mismatch:
        taken = inspect.signature(of.function)
        return UsageError(f'{of.kind} "{of.name}": {mismatch}; call it as {of.name}{taken}')
    return None


def _what(run: Run) -> str:
    """The name that people know: of the flow, or of the task run."""
    return f'flow "{run.fields["flow"]}"' if isinstance(run, FlowRun) else f'task "{run.name}"'


def _misplaced(of: Description, run: Run | None, what: str) -> str:
    if run is None:
        return f'task "{of.name}": {what}() belongs into a flow, which waits for it; call {of.name}(…) instead'
    return f'task "{of.name}": {what}() belongs into a flow; in task "{run.description.name}" call {of.name}(…) instead'


def _label(of: Description) -> str:
    return f'{of.kind} "{of.name}"'
