"""The figures that have budgets: told where they are measured, and all in one table at the end of a whole run."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_ENV = "HEADRACE_BENCH_FIGURES"
"""File that the parts of a whole run add their figures to; absent: a part runs alone."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement, which must not be larger than its budget."""

    what: str
    value: float
    unit: str
    budget: float

    @property
    def exceeds(self) -> bool:
        """Whether it is larger."""
        return self.value > self.budget


def tell(*figures: Figure) -> int:
    """Prints each beside its budget, and keeps it for the table. Returns 1 if one exceeds its budget."""
    for figure in figures:
        print(f"{figure.what}: {shown(figure.value)} {figure.unit} (budget {shown(figure.budget)} {figure.unit})")
    if path := os.environ.get(FILE_ENV):
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(figure)) + "\n" for figure in figures)
    return int(any(figure.exceeds for figure in figures))


def taken_from(path: Path) -> list[Figure]:
    """Those told since the file was emptied, which it is."""
    figures = [Figure(**json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("")
    return figures


def row(part: str, figure: Figure) -> str:
    """A line of the table."""
    verdict = "over budget" if figure.exceeds else "ok"
    value = f"{shown(figure.value)} {figure.unit}"
    return f"{part:<12} {figure.what:<48} {value:>20} {shown(figure.budget):>10}  {verdict}"


def shown(value: float) -> str:
    """With three digits, or as a whole number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
