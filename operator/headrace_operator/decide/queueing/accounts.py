"""How much there is of each scarce thing, how much of it is used, and by which namespaces."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal
from typing import TypeVar

from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.queueing.resources import Amount, Resource

Key = TypeVar("Key", bound=Hashable)
Total = TypeVar("Total", int, Amount)


class Accounts:
    """
    Use and capacity of every resource but starts.

    `touched` gathers the resources of which there may be more since somebody last took the set away.
    """

    def __init__(self) -> None:
        self.touched: set[Resource] = set()
        self._capacity: dict[Resource, Amount] = {}
        self._used: dict[Resource, Amount] = {}
        self._used_by: dict[tuple[str, Resource], Amount] = {}

    def resize(self, resource: Resource, capacity: Amount | None) -> bool:
        """Set how much there is, None for no bound. Returns whether that is news."""
        if self._capacity.get(resource) == capacity:
            return False
        if capacity is None:
            del self._capacity[resource]
        else:
            self._capacity[resource] = capacity
        self.touched.add(resource)
        return True

    def post(self, namespace: str, resource: Resource, amount: Amount) -> None:
        """Count so much more as used by the namespace; less, where the amount is negative."""
        put(self._used, resource, self._used.get(resource, 0) + amount)
        owned = (namespace, resource)
        put(self._used_by, owned, self._used_by.get(owned, 0) + amount)
        if amount < 0:
            self.touched.add(resource)

    def capacity(self, resource: Resource) -> Amount | None:
        """How much there is; None for no bound."""
        return self._capacity.get(resource)

    def used(self, resource: Resource) -> Amount:
        """How much of it is used."""
        return self._used.get(resource, 0)

    def free(self, resource: Resource) -> Amount | None:
        """How much of it is left: negative after a shrink, None for no bound."""
        capacity = self._capacity.get(resource)
        return None if capacity is None else capacity - self._used.get(resource, 0)

    def requests_in(self, pool: str) -> Amounts:
        """What the runs in the pool request together."""
        used = ((resource, amount) for resource, amount in self._used.items() if resource.kind == "requests")
        return tuple(sorted((resource.unit, Decimal(amount)) for resource, amount in used if resource.owner == pool))

    def fraction(self, namespace: str, resource: Resource) -> float:
        """The part of the capacity that the namespace uses; 0 where there is no bound or no capacity."""
        capacity = self._capacity.get(resource)
        return float(self._used_by.get((namespace, resource), 0) / capacity) if capacity else 0.0


def put(totals: dict[Key, Total], key: Key, total: Total) -> None:
    """Keep a total; one of nothing is not kept."""
    if total:
        totals[key] = total
    else:
        totals.pop(key, None)
