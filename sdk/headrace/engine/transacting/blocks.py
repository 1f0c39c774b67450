"""
The block of a transaction: what is done inside is committed when it ends, or rolled back.

An inner block that ends well hands what it holds to the one around it. The outermost one commits:

    1. results for the cache are put there      those of checkpoints were: all name the record
    2. the commit record is written             from now on all of them count
    3. keys are recorded
    4. hooks on commit are called               each entry of the journal goes after its hooks

A process that dies before 2 leaves nothing that counts, and owes hooks on rollback; after it, it owes steps 3 and 4.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Coroutine
from contextvars import Token
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from headrace.engine.keeping.names import key_record, transaction_folder
from headrace.engine.keeping.shelf import shelf_of
from headrace.engine.scope import CURRENT, FlowRun
from headrace.engine.transacting.calling import tell
from headrace.engine.transacting.current import TRANSACTION
from headrace.engine.transacting.decisive import decided
from headrace.engine.transacting.journal import Journal, Past
from headrace.engine.transacting.recovery import Recovery
from headrace.engine.transacting.scopes import Phase, Transaction
from headrace.engine.transacting.steps import Step
from headrace.engine.transitions import told
from headrace.engine.ways import BLOCKING, Way, is_cancellation, run_to_end
from headrace.engine.workers import STOP_GRACE_S
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.engine.futures import TaskFuture
    from headrace.engine.keeping.deposits import Deposit
    from headrace.engine.mapping import Mapped


Settle = Callable[[Step, Way], Coroutine[Any, Any, None]]


class Block:
    """One block of one attempt of a flow run; tasks stage their results in it from any thread."""

    def __init__(self, flow_run: FlowRun, key: str | None, around: Block | None) -> None:
        session = flow_run.session
        self.flow_run = flow_run
        self.around = around
        self.outermost: Block = around.outermost if around else self
        # By the time, as of several that died the latest is rolled back first.
        self.token = f"{int(session.clock.wall_s() * 1000):013x}{secrets.token_hex(4)}"
        self.noting = bool(session.results_url and session.checkpoints)
        """Whether a later attempt learns what was done."""
        self.submitted: list[TaskFuture[Any]] = []
        self.mapped: list[Mapped[Any]] = []
        self.begun: list[Deposit] = []
        """Of all task runs inside, as they began."""
        self.steps: list[Step] = []
        self.staged: dict[str, Any] = {}
        """Results for the cache, by their folders there."""
        self.parts = [self.token]
        """Its token, and those of blocks inside that have ended well."""
        self.keys: list[str] = []
        """Records to write once it is committed."""
        self._kind = "block" if key is None else f"key-{key}"
        self._order = count()
        self._number = flow_run.transactions.get(self._kind, 0)
        self.journal: Journal = around.journal if around else self._own_journal()
        self.transaction: Transaction = Transaction(
            key or f"{self._kind}-{self._number}",
            around.transaction if around else None,
            key=key,
            id=self.token,
            block=self,
            note=self.noted,
        )
        self._lock = threading.Lock()
        self._closed = False
        self._final = False
        """Whether the commit record may be there, or the block around it has taken over: this one rolls nothing back any more."""
        self._set: Token[Transaction | None] | None = None

    def _own_journal(self) -> Journal:
        folder = transaction_folder(self.flow_run, self._kind, self._number)
        return Journal(shelf_of(self.flow_run), folder, self.token)

    async def enter(self, way: Way) -> None:
        """
        Begins, after what an attempt that died owes of the same block was done.

        Raises: ResultsError: it cannot be known. UsageError: there is no storage for its key.
        """
        if self.around is None:
            self.flow_run.transactions[self._kind] = self._number + 1
            recovery = Recovery(self.flow_run, self.journal, self.transaction.name, self.transaction.key)
            for past in await way.off_loop(self._past):
                await recovery.settle(past, way)
        if self.transaction.key is not None:
            record = key_record(self.flow_run, self.transaction.key)
            self.transaction.was_committed = await way.off_loop(self.journal.has_key, record)
            self.keys.append(record)
        self.transaction.phase = Phase.ACTIVE
        self._set = TRANSACTION.set(self.transaction)

    def _past(self) -> list[Past]:
        return self.journal.past() if self.noting else []

    def stage(self, deposit: Deposit) -> None:
        """Takes what a task has returned; it waits for the storage. A block that was rolled back rolls it back too."""
        step = Step(next(self.outermost._order), deposit)  # noqa: SLF001 - of the same class
        with self._lock:
            late = self._closed
            if not late:
                self.steps.append(step)  # first: whatever breaks off what follows, it will be rolled back
        if late:
            run_to_end(step.roll_back(BLOCKING))
            return
        deposit.stage({"transaction": self.journal.record, "part": self.token})
        deposit.value = None  # thousands of results need not be in memory until the commit
        if self.noting and step.owes:
            step.entry, problem = self.journal.note_done(step.facts(self.token))
            if problem:
                self._tell_unnoted(f"what {deposit.run.name} has done", problem)

    def noted(self, scope: str, name: str, value: Any) -> None:
        """Notes a value that was set in this block, or in a task of it."""
        if not self.noting:
            return
        problem = self.journal.note_value(scope, name, value)
        if problem:
            self._tell_unnoted(f'value "{name}"', problem)

    async def leave(self, error: BaseException | None, way: Way) -> None:
        """
        Ends: commits, or rolls back after `error`.

        Raises: what a submitted task raised whose outcome nobody asked for; UsageError: it is left elsewhere than entered.
        """
        failure, interruption = error, None
        try:
            self._step_out(after=error)
            if failure is None:
                await self._all_ended(way)
                interruption = await self._decided(way)
        except BaseException as caught:
            if self._final:
                raise
            failure = caught
        if failure is not None:
            failure = await self._fail(failure, way)
            if failure is not error:
                raise failure
        elif self.around is None:
            await self._commit(interruption, way)

    def _step_out(self, *, after: BaseException | None) -> None:
        """Raises: UsageError: the running code is in another transaction or flow than this, and nothing worse has happened."""
        inside, token = TRANSACTION.get(), self._set
        self._set = None
        if inside is self.transaction and token is not None and CURRENT.get() is self.flow_run:
            TRANSACTION.reset(token)
            return
        if inside is not None and self.token in inside.chain():
            TRANSACTION.set(self.around.transaction if self.around else None)
        if after is None:
            raise UsageError(
                f"transaction {self.transaction.name} is left in another flow, task or order than it was entered; write "
                "`with transaction():` around code of one flow, and yield nothing out of it"
            )

    async def _all_ended(self, way: Way) -> None:
        for mapped in self.mapped:
            while await mapped.fetched(way):
                pass
        await way.ended(tuple(self.submitted))
        for future in self.submitted:
            if not future.seen:
                future.result()

    async def _decided(self, way: Way) -> BaseException | None:
        """Counts from now on, or with the block around it; what this was told to stop by at that very moment."""
        if self.around is not None:
            self._hand_over(self.around)
            return None
        for step in self.steps:
            await way.off_loop(step.deposit.publish)
        return await self._recorded(way) if self._persists() else None

    def _hand_over(self, around: Block) -> None:
        self._final = self._closed = True
        self.transaction.phase = Phase.STAGED
        with around._lock:
            around.begun.extend(self.begun)
            around.steps.extend(self.steps)
            around.parts.extend(self.parts)
            around.keys.extend(self.keys)
            around.staged.update(self.staged)

    async def _commit(self, interruption: BaseException | None, way: Way) -> None:
        self._closed = True
        self.transaction.phase = Phase.COMMITTED
        if self.steps or not self.transaction.was_committed:
            self._tell("transaction_committed", f"committed, {len(self.steps)} tasks", logging.INFO)
        steps = sorted(self.steps, key=lambda step: step.number)
        interruption = await self._settled(steps, Step.commit, way) or interruption
        if interruption is not None:
            raise interruption

    async def _settled(self, steps: list[Step], settle: Settle, way: Way) -> BaseException | None:
        """
        Settles the steps, and clears the journal.

        Returns: What this was told to stop by meanwhile; the step that was broken off stays in the journal, the others follow.
        """
        interruption: BaseException | None = None
        for step in steps:
            try:
                await settle(step, way)
                await self._forgotten(step, way)
            except BaseException as error:
                if interruption is not None or not is_cancellation(error):
                    raise
                interruption = error
        if interruption is None and self.around is None:
            await self._cleared(way)
        return interruption

    def _persists(self) -> bool:
        is_new = bool(self.keys) and not self.transaction.was_committed
        return is_new or any(step.entry or step.deposit.is_kept for step in self.steps)

    async def _recorded(self, way: Way) -> BaseException | None:
        """
        Writes the commit record; what this was told to stop by meanwhile, to be raised in the end.

        Raises: the same at once, where it is not known whether the record is there: the next attempt will know.
        """
        entries = await way.off_loop(self._keys_noted) if self.noting else []
        self._final = True
        verdict = await decided(partial(self.journal.commit, self.parts), way)
        if not verdict.written and verdict.interruption is not None:
            raise verdict.interruption
        if not verdict.written:
            # It may be there all the same: rolled back, it would be taken for done. So it counts, and the journal stays.
            self.noting = False
            self._tell_unnoted("that it is committed", told(verdict.error) if verdict.error else "no answer")
            return None
        return await self._with_keys(entries, verdict.interruption, way)

    async def _with_keys(
        self, entries: list[str], interruption: BaseException | None, way: Way
    ) -> BaseException | None:
        """It is committed: what breaks the rest off is no reason to roll back."""
        try:
            await way.off_loop(self._record_keys, entries)
        except BaseException as error:
            if not is_cancellation(error):
                raise
            return error
        return interruption

    def _keys_noted(self) -> list[str]:
        return [self.journal.note_key(record)[0] for record in self.keys]

    def _record_keys(self, entries: list[str]) -> None:
        try:
            for record in self.keys:
                self.journal.record_key(record)
            for entry in entries:
                self.journal.forget(entry)
        except Exception as error:  # noqa: BLE001 - storages fail in many ways; the entries stay
            self.noting = False
            self._tell_unnoted("its key", told(error))

    async def _fail(self, failure: BaseException, way: Way) -> BaseException:
        """Rolls back; what it ends by in the end: the failure, or what this was told to stop by meanwhile."""
        if isinstance(failure, GeneratorExit):  # thrown away: nothing may be awaited
            way = BLOCKING
        else:
            failure = await self._stopped(failure, way)
        with self._lock:
            self._closed = True
        self.transaction.phase = Phase.ROLLED_BACK
        message = f"rolls back {len(self.steps)} tasks: {told(failure)}"
        self._tell("transaction_rolled_back", message, logging.WARNING)
        steps = sorted(self.steps, key=lambda step: step.number, reverse=True)
        interruption = await self._settled(steps, Step.roll_back, way)
        # A later attempt knows nothing of this block: to it, the next one and its calls are these.
        for deposit in reversed(self.begun):
            deposit.give_back()
        if self.around is None and self.flow_run.transactions.get(self._kind) == self._number + 1:
            self.flow_run.transactions[self._kind] = self._number
        return interruption or failure

    async def _stopped(self, failure: BaseException, way: Way) -> BaseException:
        """Waits for what was submitted inside, and goes on though that is broken off; as _fail()."""
        try:
            await self._ended_or_taken_back(failure, way)
        except BaseException as error:  # noqa: BLE001 - it is raised when all is rolled back
            if is_cancellation(error):
                await self._ended_or_taken_back(error, way)
            return error
        return failure

    async def _ended_or_taken_back(self, failure: BaseException, way: Way) -> None:
        at_once = is_cancellation(failure)
        for mapped in self.mapped:
            mapped.cancel()
        for future in self.submitted:
            if future.in_thread or at_once:
                future.cancel()
        if at_once:
            self.flow_run.workers.break_off(self.submitted)
        await way.ended(tuple(self.submitted), STOP_GRACE_S if at_once else None)
        for future in self.submitted:
            future.seen = True

    async def _forgotten(self, step: Step, way: Way) -> None:
        if self.noting and step.entry:
            await way.off_loop(self._quietly, partial(self.journal.forget, step.entry))

    async def _cleared(self, way: Way) -> None:
        if self.noting:
            await way.off_loop(self._quietly, self.journal.clear)

    def _quietly(self, forget: partial[None] | Any) -> None:
        try:
            forget()
        except Exception as error:  # noqa: BLE001 - storages fail in many ways
            self._tell_unnoted("that its hooks were called", told(error))

    def _tell_unnoted(self, what: str, problem: str) -> None:
        message = f"{what} is not in the storage, so a later attempt may not roll back, or do so twice: {problem}"
        self._tell("transaction_not_recorded", message, logging.WARNING)

    def _tell(self, event: str, message: str, level: int) -> None:
        tell(self.flow_run, event, f"transaction {self.transaction.name}: {message}", level)
