"""Results that runs share: computed once from the same, by one run at a time, and taken by all others."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, Final

from headrace.engine.keeping.claims import Claim, KeyLock, claim_of
from headrace.engine.keeping.fingerprints import Undigestible
from headrace.engine.keeping.names import cache_folder, run_id
from headrace.engine.keeping.policies import CachePolicy, Keeping
from headrace.engine.keeping.shelf import Shelf, Stored
from headrace.engine.scope import TaskRun
from headrace.engine.session import current_session
from headrace.engine.transacting.current import TRANSACTION
from headrace.engine.transitions import told
from headrace.engine.ways import Way
from headrace.states import Succeeded

RESULT: Final = "result"
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 2.0
GROWTH: Final = 1.5
WAIT_AT_MOST_S: Final = 3600.0
"""Then the task is computed here too: a holder that hangs must not hold up all others for ever."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another run computes the result."""


BUSY: Final = Busy()
_INSIDE: ContextVar[tuple[str | None, ...]] = ContextVar("headrace_cached", default=())
"""Folders of the results that are being computed around the running code."""


class Cached:
    """The Place of a result in the cache."""

    def __init__(self, run: TaskRun, shelf: Shelf, keeping: Keeping) -> None:
        assert keeping.policy is not None
        self._run = run
        self._shelf = shelf
        self._policy: CachePolicy = keeping.policy
        self._expiration_s = keeping.expiration_s
        self._refresh = keeping.refresh or current_session().refresh_cache
        self._clock = current_session().clock
        self._attempt = run.flow_run.attempt if run.flow_run else 1
        self._folder: str | None = None
        self._lock: KeyLock | None = None
        self._pardon = False
        self._token: Token[tuple[str | None, ...]] | None = None
        self._stale = False
        """Whether a result that cannot be used was seen: the next one is there when the lock is free."""
        self._staged: bytes | None = None

    async def found(self, way: Way) -> Succeeded[Any] | None:
        """As promised by Place."""
        if not await way.off_loop(self._has_key):
            return None
        since_s, pause_s = self._clock.now_s(), FIRST_WAIT_S
        while True:
            seen: Succeeded[Any] | Busy | None = self._found_staged()
            if seen is None:
                seen = await way.off_loop(self._looked)
            if not isinstance(seen, Busy):
                return seen
            waited_s = self._clock.now_s() - since_s
            if waited_s >= WAIT_AT_MOST_S:
                self._tell(
                    "cache_wait_ended", f"computes the result too, after {waited_s:.0f} s of waiting", logging.WARNING
                )
                return None
            await way.sleep(self._clock, pause_s)
            pause_s = min(pause_s * GROWTH, LONGEST_WAIT_S)

    def enter(self) -> None:
        """As promised by Place."""
        self._token = _INSIDE.set((*_INSIDE.get(), self._folder))

    def leave(self) -> None:
        """As promised by Place."""
        if self._token is not None:
            _INSIDE.reset(self._token)
            self._token = None

    def store(self, value: Any) -> None:
        """As promised by Place."""
        if self._folder is None:
            return
        key, by = f"{self._folder}/{RESULT}", run_id(self._run)
        try:
            self._shelf.store(self._run, key, value, flow_run=by, attempt=self._attempt)
        except BaseException:  # told to stop: nobody else would give the lock back
            self.drop()
            raise
        self._release()

    def stage(self, value: Any, under: Mapping[str, str]) -> None:
        """As promised by Place: what others may use stays until the commit; they do not wait for that."""
        self.drop()
        if self._folder is None:
            return
        by = run_id(self._run)
        self._staged = self._shelf.sealed(self._run, value, flow_run=by, attempt=self._attempt, **under)
        transaction = TRANSACTION.get()
        if transaction is not None and transaction.block is not None:
            transaction.block.staged[self._folder] = value

    def publish(self) -> None:
        """As promised by Place."""
        if self._staged is not None:
            self._shelf.put(self._run, f"{self._folder}/{RESULT}", self._staged)

    def withdraw(self) -> None:
        """As promised by Place: nothing was put, or it does not count."""

    def give_back(self) -> None:
        """As promised by Place."""

    def drop(self) -> None:
        """As promised by Place."""
        if self._lock is not None:
            self._lock.release_later()

    def _has_key(self) -> bool:
        run, shelf = self._run, self._shelf
        try:
            folder = cache_folder(run, self._policy, shelf.source(run.description.function))
            if folder is None:
                return False
            claim = claim_of(_holder(run), run_id(run), self._attempt)
            self._lock = KeyLock(shelf.storage(), folder, claim, self._clock)
        except Undigestible as error:
            message = f'its result is not cached ({error}); leave that parameter out: cache_policy=INPUTS - "name"'
            shelf.tell(run, "result_not_stored", message)
            return False
        except Exception as error:  # noqa: BLE001 - the author's function may raise anything, and so may storages
            shelf.tell(run, "result_not_stored", f"its result is not cached: {told(error)}")
            return False
        self._folder = folder
        self._pardon = shelf.number_of(folder.encode()) == 0
        return True

    def _found_staged(self) -> Succeeded[Any] | None:
        """The state of a run whose result was computed in a transaction around it, which is not over."""
        transaction = TRANSACTION.get()
        block = transaction.block if transaction and not self._refresh else None
        while block is not None:
            if self._folder in block.staged:
                return Succeeded(data=block.staged[self._folder], message="its result is there from this transaction")
            block = block.around
        return None

    def _looked(self) -> Succeeded[Any] | Busy | None:
        """The state of a run whose result is there; None: it is to be computed here."""
        try:
            return self._looked_once()
        except Exception as error:  # noqa: BLE001 - a storage that is gone must not end the flow
            self._shelf.tell(self._run, "result_not_read", f"the cache cannot be read, so it runs: {told(error)}")
            self.drop()
            return None

    def _looked_once(self) -> Succeeded[Any] | Busy | None:
        assert self._lock is not None
        names = self._names()
        state = None if self._stale else self._usable(names)
        if state is not None:
            return state
        if self._folder in _INSIDE.get():  # it is called by the one that holds the lock, and would wait for itself
            return None
        self._stale = RESULT in names
        before = self._lock.others
        if not self._lock.taken(names):
            other = self._lock.others
            if before is None and other is not None:
                self._tell("cache_waiting", f"waits for the result that {other.holder} computes")
            return BUSY
        if before is not None and self._lock.others is not None:
            self._tell_end_of(self._lock.others)
        state = self._usable(self._names())  # it may have been stored just before the lock was free
        if state is not None:
            self._release()
        return state

    def _names(self) -> frozenset[str]:
        return frozenset(key.rpartition("/")[2] for key in self._shelf.storage().list(self._folder or ""))

    def _usable(self, names: frozenset[str]) -> Succeeded[Any] | None:
        stored = self._shelf.stored(self._run, f"{self._folder}/{RESULT}") if RESULT in names else None
        if stored is None or not (self._is_fresh(stored) or self._is_of_an_earlier_attempt(stored)):
            return None
        by = stored.facts.get("task_run")
        return Succeeded(
            data=stored.value,
            message=f"its result is in the cache, from {by} of {stored.facts.get('flow_run') or 'a task by itself'}",
        )

    def _is_fresh(self, stored: Stored) -> bool:
        if self._refresh:
            return False
        age_s = self._clock.wall_s() - float(stored.facts.get("stored_at") or 0)
        return self._expiration_s is None or age_s < self._expiration_s

    def _is_of_an_earlier_attempt(self, stored: Stored) -> bool:
        """What this run has finished is not done again, though it is to be refreshed, or has expired meanwhile."""
        mine = run_id(self._run)
        return (
            self._pardon
            and bool(mine)
            and stored.facts.get("flow_run") == mine
            and stored.facts.get("attempt", 0) < self._attempt
        )

    def _release(self) -> None:
        try:
            if self._lock is not None:
                self._lock.release()
        except Exception as error:  # noqa: BLE001 - the lease ends by itself
            self._shelf.tell(
                self._run,
                "result_not_stored",
                f"the lock of its cached result stays until its lease ends: {told(error)}",
            )

    def _tell_end_of(self, other: Claim) -> None:
        if not other.released:
            self._tell(
                "cache_taken_over", f"computes the result in place of {other.holder}, which was not heard of any more"
            )

    def _tell(self, event: str, message: str, level: int = logging.INFO) -> None:
        self._shelf.tell(self._run, event, message, level=level, about=f"{self._run.name} {event}")


def _holder(run: TaskRun) -> str:
    return f"{run.name} of {run_id(run) or 'a task by itself'} (process {os.getpid()} on {socket.gethostname()})"
