"""
Amounts of resources: read as Kubernetes writes them, counted exactly, written back.

Every amount is a Decimal of whole thousandths, in cores, bytes or pieces. Kubernetes allows no finer and none above
2**63 - 1, so that sums of up to a million pods stay exact in Decimal's 28 digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Final

from headrace_operator.decide.errors import InvalidQuantity

Amounts = tuple[tuple[str, Decimal], ...]
"""Resources by name, sorted, no zeros: equal amounts are equal and hash alike. Made by `amounts_of`."""

LARGEST: Final = Decimal(2**63 - 1)
"""Kubernetes caps larger quantities at this."""

MIB: Final = 2**20

_QUANTITY = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]{1,4})|(?P<suffix>[KMGTPE]i|[numkMGTPE]))?"
)
_SUFFIXES: Final[Mapping[str | None, Fraction]] = {
    None: Fraction(1),
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate(("n", "u", "m"), start=-3)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}
_MEMORY_UNITS: Final = tuple((1024**power, f"{unit}i") for power, unit in reversed(list(enumerate("KMGTPE", start=1))))


@lru_cache(maxsize=4096, typed=True)  # the same few are read again with each pod, at a twentieth of the CPU
def parse_quantity(value: str | int) -> Decimal:
    """
    The amount that a quantity such as 2, "500m", "4Gi" or "1e3" stands for, in whole units.

    Rounded up to whole thousandths and capped at `LARGEST`, as the API server does.

    Raises: InvalidQuantity: not a quantity, or negative.
    """
    text = str(value).strip()
    found = _QUANTITY.fullmatch(text)
    if isinstance(value, bool) or found is None:
        raise InvalidQuantity(value)
    scale = Fraction(10) ** int(found["exponent"]) if found["exponent"] else _SUFFIXES[found["suffix"]]
    thousandths = ceil(Fraction(found["number"].rstrip(".")) * scale * 1000)
    return min(LARGEST, Decimal(thousandths) / 1000) if thousandths < LARGEST * 1000 else LARGEST


def amounts_of(quantities: Mapping[str, str | int | Decimal]) -> Amounts:
    """
    The resources of a `requests` mapping, in the form that is counted; what is not asked for is left out.

    Raises: InvalidQuantity: one of the values is none.
    """
    read = ((name, _amount(value)) for name, value in quantities.items())
    return tuple(sorted((name, amount) for name, amount in read if amount))


def _amount(value: str | int | Decimal) -> Decimal:
    return value if isinstance(value, Decimal) else parse_quantity(value)


def format_memory(amount: float | Decimal) -> str:
    """Bytes as "512Mi": rounded up to whole mebibytes, in the largest unit that stays whole. Zero is "0"."""
    size = ceil(Fraction(amount) / MIB) * MIB
    return next((f"{size // unit}{name}" for unit, name in _MEMORY_UNITS if size and size % unit == 0), "0")


def format_cpu(cores: float | Decimal) -> str:
    """Cores as "2" where whole, else as "500m": rounded up to whole thousandths."""
    thousandths = ceil(Fraction(cores) * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def format_amount(resource: str, amount: Decimal) -> str:
    """An amount of this resource as people write it: CPU in cores, memory and storage in powers of 1024."""
    if resource == "cpu":
        return format_cpu(amount)
    if resource == "memory" or resource.endswith("storage") or resource.startswith("hugepages-"):
        return format_memory(amount)
    return str(amount.to_integral_value(ROUND_CEILING))
