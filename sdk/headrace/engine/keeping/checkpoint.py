"""What a flow run has finished, for its later attempts: each task run's result in the folder of the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from headrace.engine.keeping.fingerprints import Undigestible
from headrace.engine.keeping.names import call_digest, finished_name, run_folder
from headrace.engine.keeping.shelf import Shelf
from headrace.engine.scope import TaskRun
from headrace.engine.transitions import told
from headrace.engine.ways import Way
from headrace.states import Succeeded

FOUND = "its result is there from an earlier attempt"


class Checkpoint:
    """
    The Place of a task run's result in its flow run.

    It is found by task, arguments, and how many calls with the same ones there were before: concurrent tasks begin in
    another order in each attempt, but calls that are the same may change places.
    """

    __slots__ = ("_call", "_key", "_number", "_run", "_shelf")

    def __init__(self, run: TaskRun, shelf: Shelf) -> None:
        self._run = run
        self._shelf = shelf
        self._key: str | None = None
        self._call = b""
        self._number = 0

    async def found(self, way: Way) -> Succeeded[Any] | None:
        """As promised by Place."""
        return await way.off_loop(self._found)

    def enter(self) -> None:
        """As promised by Place."""

    def leave(self) -> None:
        """As promised by Place."""

    def store(self, value: Any) -> None:
        """As promised by Place."""
        self.stage(value, {})

    def stage(self, value: Any, under: Mapping[str, str]) -> None:
        """As promised by Place: it lies under its key at once, so that it need not be in memory until the commit."""
        if self._key is not None:
            attempt = self._run.flow_run.attempt if self._run.flow_run else 1
            self._shelf.store(self._run, self._key, value, attempt=attempt, **under)

    def publish(self) -> None:
        """As promised by Place."""

    def withdraw(self) -> None:
        """As promised by Place."""
        if self._key is not None:
            self._shelf.withdraw(self._key)

    def give_back(self) -> None:
        """As promised by Place: a later attempt, which knows nothing of this one, finds the next such call in its place."""
        if self._key is not None:
            self._shelf.give_back(self._call, self._number)

    def drop(self) -> None:
        """As promised by Place."""

    def _found(self) -> Succeeded[Any] | None:
        run, shelf = self._run, self._shelf
        folder = run_folder(run)
        try:
            call = call_digest(run, shelf.source(run.description.function))
        except Undigestible as error:
            message = f"its result is not stored, as its arguments cannot be told from others: {error}"
            shelf.tell(run, "result_not_stored", message, level=logging.INFO)
            return None
        self._call, self._number = call, shelf.number_of(call)
        self._key = f"{folder}/{finished_name(run, call, self._number)}"
        try:
            there = self._key in shelf.finished(folder)
        except Exception as error:  # noqa: BLE001 - a storage that is gone must not end the flow
            shelf.tell(
                run, "result_not_read", f"what was finished cannot be listed, so it runs: {told(error)}", about=folder
            )
            return None
        stored = shelf.stored(run, self._key) if there else None
        return None if stored is None else Succeeded(data=stored.value, message=FOUND)
