"""What the author adds to a run: a title from its parameters, and hooks at its turns. Neither can end the run."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable

from headrace.engine import logs
from headrace.engine.hooks import Hook
from headrace.engine.scope import CURRENT, Run
from headrace.engine.transitions import told
from headrace.secrecy.redaction import redacted
from headrace.states import State


def entitle(run: Run) -> None:
    """Gives the run its title, and the log lines of it too; what cannot be made is told, and left out."""
    template = run.description.title
    if template is None:
        return
    try:
        title = template.format(**run.parameters) if isinstance(template, str) else str(template(run.parameters))
    except Exception as error:  # noqa: BLE001 - the author's function and parameters may raise anything
        _tell(run, "title_failed", f"its title cannot be made: {told(error)}")
        return
    run.title = redacted(title)
    run.fields = {**run.fields, "run_title": run.title}


async def carry_out(hooks: Iterable[Hook], run: Run, state: State[object]) -> None:
    """Calls the hooks in the context of the run; what one raises is told, and changes nothing."""
    token = CURRENT.set(run)
    try:
        for hook in hooks:
            try:
                outcome = hook(run.description.decorated, run, state)
                if run.description.is_async and inspect.isawaitable(outcome):
                    await outcome
            except Exception as error:  # noqa: BLE001 - the author's function may raise anything
                _tell(run, "hook_failed", f"hook {getattr(hook, '__name__', hook)} raised {told(error)}")
    finally:
        CURRENT.reset(token)


def _tell(run: Run, event: str, message: str) -> None:
    if logs.LOGGER.isEnabledFor(logging.WARNING):
        logs.emit(logging.WARNING, run, event, message)
