"""Which place the result of a task run has."""

from __future__ import annotations

from headrace.engine.keeping.cache import Cached
from headrace.engine.keeping.checkpoint import Checkpoint
from headrace.engine.keeping.deposits import NOWHERE, Deposit, Place
from headrace.engine.keeping.policies import Keeping
from headrace.engine.keeping.shelf import shelf_of
from headrace.engine.scope import Run, TaskRun
from headrace.engine.session import current_session
from headrace.engine.transacting.current import TRANSACTION

AS_USUAL = Keeping()


def deposit_for(run: Run) -> Deposit | None:
    """What takes the result of this run; None: it is not kept."""
    if not isinstance(run, TaskRun):
        return None
    place = _place_of(run)
    around = TRANSACTION.get()
    if around is None and not run.description.hooks.on_commit:
        return None if place is None else Deposit(run, place)
    from headrace.engine.transacting.scopes import task_transaction  # noqa: PLC0415 - most tasks are in none

    return Deposit(run, place or NOWHERE, task_transaction(run.name, around))


def _place_of(run: TaskRun) -> Place | None:
    keeping = run.description.keeping or AS_USUAL
    if keeping.policy is not None:
        return Cached(run, shelf_of(run), keeping)
    session = current_session()
    wanted = bool(session.results_url) if keeping.checkpoint is None else keeping.checkpoint
    if not wanted or not session.checkpoints or run.flow_run is None:
        return None
    return Checkpoint(run, shelf_of(run))
