"""
Slots of ConcurrencyLimits: who holds them by the board's own word, and who by a Lease.

A run that was granted slots has no Leases yet; a run that ended has them still, for a moment; a task has Leases only.
So a holder counts with the larger of the two figures, and no slot is given twice.
"""

from __future__ import annotations

from headrace.slots import RunHolder, parse_holder, run_identity
from headrace_operator.decide.queueing.accounts import Accounts, put
from headrace_operator.decide.queueing.resources import slots_of
from headrace_operator.decide.queueing.terms import Holders
from headrace_operator.decide.snapshot import ObjectKey


def run_holder(run: ObjectKey, uid: str) -> str:
    """How a run signs its Leases."""
    return run_identity(run.namespace, run.name, uid)


def run_of(holder: str) -> ObjectKey | None:
    """The run that signs so; None for tasks and for what somebody else wrote."""
    parsed = parse_holder(holder)
    return ObjectKey(parsed.namespace, parsed.name) if isinstance(parsed, RunHolder) else None


def namespace_of(holder: str) -> str:
    """Whose use it counts as: the namespace that the holder names, "" where it names none."""
    parsed = parse_holder(holder)
    return parsed.namespace if parsed else ""


class SlotBook:
    """Slots by limit and holder; what counts is posted to the accounts."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._charged: dict[str, dict[str, int]] = {}
        self._leased: dict[str, dict[str, int]] = {}

    def charge(self, limit: str, holder: str, slots: int) -> None:
        """Count so many more slots as given to the holder; fewer, where negative."""
        charged = self._charged.setdefault(limit, {})
        leased = self._leased.get(limit, {}).get(holder, 0)
        before = charged.get(holder, 0)
        put(charged, holder, before + slots)
        self._post(limit, holder, max(before + slots, leased) - max(before, leased))

    def tell_leases(self, limit: str, holders: Holders) -> dict[str, int]:
        """
        What the Leases of the limit say of these holders now, of others what they said before.

        Args:
            holders: With how many slots each; 0: it holds none.
        Returns: Those of whom this says something new, each with how many slots more it counts with: none where it was charged for them.
        """
        leased = self._leased.setdefault(limit, {})
        charged = self._charged.get(limit, {})
        news = {}
        for holder, slots in holders.items():
            before = leased.get(holder, 0)
            if before != slots:
                put(leased, holder, slots)
                own = charged.get(holder, 0)
                news[holder] = max(slots, own) - max(before, own)
                self._post(limit, holder, news[holder])
        return news

    def held(self, limit: str, holder: str) -> int:
        """How many slots the holder counts with."""
        charged = self._charged.get(limit, {}).get(holder, 0)
        return max(charged, self._leased.get(limit, {}).get(holder, 0))

    def uncharged(self, limit: str, holder: str) -> int:
        """How many slots the holder has by Lease that nobody charged it for: left by an operator before this one."""
        return self.held(limit, holder) - self._charged.get(limit, {}).get(holder, 0)

    def holders(self, limit: str) -> dict[str, int]:
        """Everybody who counts, with how many slots."""
        known = self._charged.get(limit, {}).keys() | self._leased.get(limit, {}).keys()
        return {holder: self.held(limit, holder) for holder in sorted(known)}

    def _post(self, limit: str, holder: str, change: int) -> None:
        if change:
            self._accounts.post(namespace_of(holder), slots_of(limit), change)
