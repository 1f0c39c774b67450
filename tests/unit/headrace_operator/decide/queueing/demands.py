"""Demands and holdings, valid by default, changes by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.terms import Admission, Demand, Holding
from headrace_operator.decide.snapshot import ObjectKey

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ETL = ObjectKey("team-a", "etl")


def after(seconds: float) -> datetime:
    """So long after noon."""
    return NOON + timedelta(seconds=seconds)


def key(name: str) -> ObjectKey:
    """A run of team-a, unless the name says "team-b/x"."""
    namespace, _, short = name.rpartition("/")
    return ObjectKey(namespace or "team-a", short)


def a_demand(name: str, *, due: float = 0, **changes: Any) -> Demand:
    """A run that needs nothing, due so many seconds after noon."""
    run = key(name)
    return replace(Demand(run, f"uid-of-{run.name}", after(due)), **changes)


def a_holding(name: str, *, since: float = 0, **changes: Any) -> Holding:
    """An active run that holds nothing but its place in the namespace."""
    return replace(Holding(f"uid-of-{key(name).name}", after(since)), **changes)


def granted(admission: Admission) -> list[str]:
    """Names of the runs that were let in, in order."""
    return [grant.run.name for grant in admission.grants]


def enrol(board: Board, *demands: Demand) -> None:
    """Have them all wait."""
    for demand in demands:
        board.enrol(demand)
