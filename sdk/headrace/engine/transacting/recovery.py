"""
What an attempt that died in a block still owes, done before the block begins anew.

A process may die here too: each entry goes after its hooks were called, so that they are called at least once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.engine.transacting.calling import called, tell
from headrace.engine.transacting.journal import DID, KEY, SET, Entry, Journal, Past
from headrace.engine.transacting.known import hooks_of
from headrace.engine.transacting.scopes import Phase, Transaction
from headrace.engine.transacting.steps import forget_outputs
from headrace.engine.ways import Way

if TYPE_CHECKING:
    from headrace.engine.hooks import Hooks
    from headrace.engine.scope import FlowRun


@dataclass(frozen=True, slots=True)
class Recovery:
    """Settles what is left of one block, for the flow run in which it begins anew."""

    flow_run: FlowRun
    journal: Journal
    name: str
    key: str | None

    async def settle(self, past: Past, way: Way) -> None:
        """Calls the hooks that are owed, on commit or on rollback, and forgets them. Raises: ResultsError."""
        scopes = self._scopes(past)
        done = [entry for entry in past.entries if entry.facts.get("entry") == DID]
        if past.parts is None:
            done.reverse()
        else:
            done = [entry for entry in done if entry.facts.get("part") in past.parts]
        if done:
            what = "rolls back" if past.parts is None else "ends the commit of"
            message = f"transaction {self.name} {what} what an attempt that died has done: {len(done)} tasks"
            tell(self.flow_run, "transaction_recovered", message, logging.WARNING)
        for entry in done:
            await self._settle(entry, scopes, way, committed=past.parts is not None)
        settled = {entry.key for entry in done}
        for entry in past.entries:
            if entry.key not in settled:
                await way.off_loop(self._forget, entry, past.parts is not None)

    def _forget(self, entry: Entry, committed: bool) -> None:  # noqa: FBT001 - called by off_loop()
        if committed and entry.facts.get("entry") == KEY:
            self.journal.record_key(str(entry.facts["record"]))
        self.journal.forget(entry.key)

    async def _settle(self, entry: Entry, scopes: dict[str, Transaction], way: Way, *, committed: bool) -> None:
        facts = entry.facts
        transaction = scopes[facts["chain"][-1]]
        hooks = self._hooks(facts["task"], str(facts.get("task_run"))) if facts.get("has_hooks") else None
        if hooks is not None:
            wanted = hooks.on_commit if committed else hooks.on_rollback
            await called(wanted, transaction, self.flow_run, way)
        if not committed:
            outputs = [(str(folder), str(key)) for folder, key in facts.get("outputs") or ()]
            await way.off_loop(forget_outputs, self.flow_run, outputs)
        await way.off_loop(self.journal.forget, entry.key)

    def _hooks(self, task: dict[str, str], task_run: str) -> Hooks | None:
        found = hooks_of(task)
        if found is None:
            message = (
                f"the hooks of {task_run} are not called: {task.get('module')} has no task {task.get('function')} with "
                "hooks any more; see to what it has done"
            )
            tell(self.flow_run, "hook_failed", message, logging.ERROR)
        return found

    def _scopes(self, past: Past) -> dict[str, Transaction]:
        """The transactions by their ids, with the values that were set."""
        scopes: dict[str, Transaction] = {}
        phase = Phase.ROLLED_BACK if past.parts is None else Phase.COMMITTED
        for entry in past.entries:
            around: Transaction | None = None
            for number, scope in enumerate(entry.facts.get("chain") or ()):
                if scope not in scopes:
                    key = self.key if number == 0 else None
                    scopes[scope] = Transaction(
                        scope.rpartition("/")[2] if number else self.name, around, key=key, id=scope
                    )
                    scopes[scope].phase = phase
                around = scopes[scope]
        for entry in past.entries:
            if entry.facts.get("entry") == SET and entry.facts.get("scope") in scopes:
                self._restore(scopes[entry.facts["scope"]], entry)
        return scopes

    def _restore(self, transaction: Transaction, entry: Entry) -> None:
        name = str(entry.facts.get("name"))
        if entry.error:
            message = f'value "{name}" of transaction {transaction.name} cannot be read here: {entry.error}'
            tell(self.flow_run, "transaction_not_recorded", message)
            return
        transaction.restore(name, entry.value)
