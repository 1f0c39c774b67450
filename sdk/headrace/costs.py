"""What runs have cost together: added up by name and currency, by whoever shows it. Currencies are never exchanged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Total:
    """
    What the runs of one name have cost together in one currency.

    Attributes: `runs` are those with a price, `unpriced` those without; the currency is "" where no price is known.
    """

    name: str
    currency: str
    amount: Decimal = Decimal(0)
    runs: int = 0
    unpriced: int = 0


def of_run(name: str, amount: Decimal | None, currency: str) -> Total:
    """What one run has cost; the amount None: no price is known."""
    return Total(name, "", unpriced=1) if amount is None else Total(name, currency, amount, runs=1)


def totals(parts: Iterable[Total]) -> list[Total]:
    """
    One for each name and currency, the dearest first.

    Runs without a price are in no currency: they are told beside those of their name where these are in one, and else by themselves.
    """
    found: dict[tuple[str, str], Total] = {}
    unpriced: Counter[str] = Counter()
    for part in parts:
        unpriced[part.name] += part.unpriced
        if part.runs:
            at = (part.name, part.currency)
            known = found.get(at) or Total(*at)
            found[at] = replace(known, amount=known.amount + part.amount, runs=known.runs + part.runs)
    currencies: defaultdict[str, list[str]] = defaultdict(list)
    for name, currency in found:
        currencies[name].append(currency)
    for name, count in (+unpriced).items():
        at = (name, currencies[name][0] if len(currencies[name]) == 1 else "")
        found[at] = replace(found.get(at) or Total(*at), unpriced=count)
    return sorted(found.values(), key=lambda total: (-total.amount, total.name, total.currency))


def together(found: Iterable[Total]) -> dict[str, Decimal]:
    """What it all is in each currency, by the currencies' names."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for each in found:
        if each.currency:
            sums[each.currency] += each.amount
    return dict(sorted(sums.items()))
