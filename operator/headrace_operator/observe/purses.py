"""
What budgets are spent on, kept run by run, so that asking what is left costs nothing.

What the status in the API says comes first; to that are added the runs that have ended since, and what the ended attempts of
runs under way have cost. Nothing is kept for a Deployment without a budget but the costs of its finished runs, which are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from headrace.api.budget import Spent
from headrace_operator.decide.cost import Expense, expenses_of
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey, Run
from headrace_operator.decide.spending import Count, Period, Spending, concerns, cost_in


class Purse:
    """
    One budget's.

    Args:
        kept: Finished runs with a cost that are there, by UID; kept true from outside.

    Attributes: `total` is what has been spent in the period of the status, as far as it is known at this moment.
    """

    def __init__(self, kept: Mapping[str, FinishedRun]) -> None:
        self.memory: Spent | None = None
        self.total = Decimal(0)
        self._kept = kept
        self._uncounted: dict[str, tuple[Expense, ...]] = {}
        self._unfinished: dict[ObjectKey, tuple[Expense, ...]] = {}
        self._charged: dict[str | ObjectKey, Decimal] = {}
        self._named: frozenset[str] = frozenset()
        self._written: Count | None = None

    @property
    def uncounted(self) -> frozenset[str]:
        """The UIDs of the runs that are over, and that the status in the API does not count."""
        return frozenset(self._uncounted)

    def seen(self) -> Spending:
        """What there is to count."""
        return Spending(self._kept, dict(self._uncounted), tuple(self._unfinished.values()))

    def writing(self, count: Count) -> None:
        """This is about to be written."""
        self._written = count

    def tell(self, memory: Spent | None) -> bool:
        """What the status in the API says. Returns whether that is news."""
        if memory == self.memory:
            return False
        written, self._written, self.memory = self._written, None, memory
        self._named = frozenset(memory.counted) if memory else frozenset()
        left = self._uncounted
        if written is not None and written.spent == memory:
            left = {uid: expenses for uid, expenses in left.items() if uid not in written.counted}
        else:  # after a start, an answer that was lost, or somebody's edit: by what it says itself
            left = {uid: run.expenses for uid, run in self._kept.items() if not self._is_counted(run)}
        self._uncounted = {uid: expenses for uid, expenses in left.items() if self._concerns(expenses)}
        self._add_up()
        return True

    def finished(self, run: FinishedRun, *, is_news: bool) -> None:
        """A run is over; `is_news` tells that it ended since the start, so that no status can count it yet."""
        if self._unfinished.pop(run.key, None) is not None:
            self._charge(run.key, ())
        if self._concerns(run.expenses) and (is_news or not self._is_counted(run)):
            self._uncounted[run.uid] = run.expenses
            self._charge(run.uid, run.expenses)

    def under_way(self, run: Run) -> bool:
        """A run that is not over has changed. Returns whether what was spent has."""
        expenses = expenses_of(run.status.attempts)
        if self._unfinished.get(run.key, ()) == expenses:
            return False
        self._unfinished[run.key] = expenses
        self._charge(run.key, expenses)
        return True

    def deleted(self, run: ObjectKey, uid: str) -> None:
        """A run was deleted before it was over: what its attempts have cost till then is spent all the same."""
        expenses = self._unfinished.pop(run, ())
        if expenses and self._concerns(expenses):
            self._uncounted[uid] = expenses
            self._charge(run, ())
            self._charge(uid, expenses)

    def _is_counted(self, run: FinishedRun) -> bool:
        until = self.memory.counted_until if self.memory else None
        return run.uid in self._named or (until is not None and run.finished_at < until)

    def _concerns(self, expenses: tuple[Expense, ...]) -> bool:
        return self.memory is None or concerns(expenses, self.memory)

    def _add_up(self) -> None:
        self._charged = {}
        self.total = Decimal(self.memory.settled) if self.memory else Decimal(0)
        for uid, expenses in self._uncounted.items():
            self._charge(uid, expenses)
        for run, expenses in self._unfinished.items():
            self._charge(run, expenses)

    def _charge(self, key: str | ObjectKey, expenses: tuple[Expense, ...]) -> None:
        """That much, and nothing else, is charged for this run."""
        amount = Decimal(0)
        if self.memory is not None and expenses:
            amount = cost_in(expenses, Period(self.memory.since, self.memory.until), self.memory.currency)
        self.total += amount - self._charged.pop(key, Decimal(0))
        if amount:
            self._charged[key] = amount


class Purses:
    """Those of all Deployments that have a budget. Belongs to one event loop."""

    def __init__(self) -> None:
        self._kept: dict[ObjectKey, dict[str, FinishedRun]] = {}
        self._purses: dict[ObjectKey, Purse] = {}

    def of(self, deployment: ObjectKey) -> Purse | None:
        """The Deployment's; None where it has no budget."""
        return self._purses.get(deployment)

    def open(self, deployment: ObjectKey, memory: Spent | None, runs: Iterable[Run]) -> None:
        """
        A Deployment with a budget is there, or has changed.

        Args:
            memory: What its status says.
            runs: Those that are not over; looked at for a new budget alone.
        """
        purse = self._purses.get(deployment)
        if purse is None:
            purse = self._purses[deployment] = Purse(self._kept.setdefault(deployment, {}))
            for run in runs:
                purse.under_way(run)
        purse.tell(memory)

    def close(self, deployment: ObjectKey) -> None:
        """It has no budget any more, or is gone."""
        self._purses.pop(deployment, None)
        self._tidy(deployment)

    def finished(self, run: FinishedRun, *, is_news: bool) -> None:
        """A run is over: what it has cost belongs to its Deployment. `is_news`: it ended since the start."""
        key = _deployment_of(run)
        if key is None:
            return
        if run.expenses:
            self._kept.setdefault(key, {})[run.uid] = run
        purse = self._purses.get(key)
        if purse is not None:
            purse.finished(run, is_news=is_news)

    def retired(self, run: FinishedRun) -> None:
        """A finished run is not there any more; if it is not counted yet, it is to be counted all the same."""
        key = _deployment_of(run)
        kept = self._kept.get(key) if key is not None else None
        if key is not None and kept is not None:
            kept.pop(run.uid, None)
            self._tidy(key)

    def under_way(self, run: Run) -> bool:
        """A run that is not over has changed. Returns whether that changes what was spent."""
        if not self._purses or run.deployment_ref is None or not run.status.attempts:
            return False
        purse = self._purses.get(ObjectKey(run.key.namespace, run.deployment_ref))
        return purse is not None and purse.under_way(run)

    def deleted(self, run: ObjectKey, uid: str, deployment: ObjectKey | None) -> None:
        """A run was deleted before it was over."""
        purse = self._purses.get(deployment) if deployment is not None else None
        if purse is not None:
            purse.deleted(run, uid)

    def _tidy(self, deployment: ObjectKey) -> None:
        if deployment not in self._purses and not self._kept.get(deployment, True):
            del self._kept[deployment]


def _deployment_of(run: FinishedRun) -> ObjectKey | None:
    return None if run.deployment is None else ObjectKey(run.key.namespace, run.deployment)
