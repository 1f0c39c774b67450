"""Which unfinished runs end with which: the end of a run ends its tasks, and the runs that it waits for."""

from __future__ import annotations

from headrace.api.flowrun import ParentRef
from headrace_operator.decide.snapshot import ObjectKey, Run


class TaskRuns:
    """An index of the runs that are held; belongs to one event loop."""

    def __init__(self) -> None:
        self._of: dict[ObjectKey, set[ObjectKey]] = {}
        self._parents: dict[ObjectKey, ObjectKey] = {}

    def changed(self, run: Run) -> list[ObjectKey]:
        """Take note of a run. The runs that end with it and must look at it: all, if it ends."""
        parent = run.parent
        if parent is None or run.finished:
            self._forget(run.key)
        else:
            self._remember(run.key, parent)
        return self.of(run.key) if is_ending(run) else []

    def gone(self, run: ObjectKey) -> list[ObjectKey]:
        """Forget a run that has left. The runs that end with it, which must look for it."""
        self._forget(run)
        return self.of(run)

    def of(self, parent: ObjectKey) -> list[ObjectKey]:
        """The unfinished runs that end with a run."""
        return sorted(self._of.get(parent, ()))

    def _remember(self, run: ObjectKey, parent: ParentRef) -> None:
        key = ObjectKey(run.namespace, parent.name)
        if self._parents.get(run) != key:
            self._forget(run)  # deleted and made anew, its end unseen
            self._parents[run] = key
            self._of.setdefault(key, set()).add(run)

    def _forget(self, run: ObjectKey) -> None:
        parent = self._parents.pop(run, None)
        if parent is not None:
            self._of[parent].discard(run)
            if not self._of[parent]:
                del self._of[parent]


def is_ending(run: Run) -> bool:
    """Whether it is over, or was told to end: what ends with it need not go on."""
    return run.finished or run.cancel or run.deleting
