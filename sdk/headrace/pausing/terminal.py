"""A pause on a laptop: the person at the terminal is asked."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.engine.ways import BLOCKING
from headrace.errors import PauseRejected, RunCancelled, UsageError
from headrace.pausing.answers import ANSWERS_ENV, validated
from headrace.pausing.forms import Console, agreed, filled
from headrace.terminal_text import harmless

if TYPE_CHECKING:
    from headrace.engine.ways import Way
    from headrace.pausing.requests import PauseRequest

T = TypeVar("T")

LONGEST_LINE = 64 * 1024


async def asked_here(asked: PauseRequest, model: Any, way: Way) -> Any:
    """
    What the person at the terminal answers: the input as the model, None without a model.

    Raises: PauseRejected; RunCancelled: the input ended (Ctrl-D); UsageError: nobody is there.
    """
    if not sys.stdin.isatty():
        example = {asked.name: {"decision": "Approve", **({} if model is None else {"input": {}})}}
        raise UsageError(
            f'pause "{asked.name}" needs an answer, and there is no terminal to ask on: set {ANSWERS_ENV}={json.dumps(example)!r}'
        )
    if way is BLOCKING:
        return answered(asked, model, PERSON)
    return await _beside(lambda: answered(asked, model, PERSON))


def answered(asked: PauseRequest, model: Any, console: Console) -> Any:
    """What a person answers. Raises: PauseRejected, RunCancelled."""
    try:
        if not agreed(asked.message or f'pause "{asked.name}": go on?', console):
            raise PauseRejected(asked.name, console.read("  why not (may be empty): ").strip())
        if model is None:
            return None
        return validated(model, filled(asked.schema or {}, console, lambda given: validated(model, given), {}))
    except EOFError:
        raise RunCancelled("the end of the input, with a pause to be answered") from None


async def _beside(work: Callable[[], T]) -> T:
    """What the work returns; it waits for a person, so neither the event loop nor the end of the process waits for it."""
    import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(put: Callable[[Any], None], value: object) -> None:
        if not done.done():
            put(value)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            loop.call_soon_threadsafe(settle, done.set_exception, error)
        else:
            loop.call_soon_threadsafe(settle, done.set_result, result)

    threading.Thread(target=run, name="headrace-pause", daemon=True).start()
    return await done


def _read(prompt: str) -> str:
    # On standard error, as the log: what the flow prints may go to a file.
    sys.stderr.write(harmless(prompt))
    sys.stderr.flush()
    # Not by sys.stdin: a thread that waits in it holds a lock that the end of the interpreter asks for.
    line = os.read(sys.stdin.fileno(), LONGEST_LINE)
    if not line:
        raise EOFError
    return line.decode(errors="replace").rstrip("\n")


def _write(line: str) -> None:
    sys.stderr.write(harmless(line) + "\n")


PERSON = Console(_read, _write)
