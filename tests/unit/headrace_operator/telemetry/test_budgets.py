"""The metrics of budgets follow the statuses, and go with them."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import CollectorRegistry

from headrace.api.budget import PeriodBudget, Spent
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.telemetry.budgets import BudgetMetrics
from tests.builders import NOW

KEY = ObjectKey("ml", "train")


def spent(amount: str) -> Spent:
    return Spent(since=NOW, until=NOW + timedelta(days=1), amount=amount, currency="USD", settled=amount)


def test_they_say_what_there_is_and_what_is_spent() -> None:
    """In the currency of the budget; another one takes the former's place, and none leaves nothing."""
    registry = CollectorRegistry()
    metrics = BudgetMetrics(registry)

    def value(name: str, currency: str = "USD") -> float | None:
        return registry.get_sample_value(name, {"namespace": "ml", "deployment": "train", "currency": currency})

    metrics.told(KEY, PeriodBudget(amount="500"), None)
    assert value("headrace_budget_amount") is None
    metrics.told(KEY, PeriodBudget(amount="500"), spent("12.5"), is_exceeded=True)
    assert value("headrace_budget_exceeded") == 1
    assert (value("headrace_budget_amount"), value("headrace_budget_spent_amount")) == (500, 12.5)
    metrics.told(KEY, PeriodBudget(amount=20, currency="EUR"), spent("3"))
    assert (value("headrace_budget_amount"), value("headrace_budget_spent_amount", "EUR")) == (None, 3)
    assert (value("headrace_budget_exceeded"), value("headrace_budget_exceeded", "EUR")) == (None, 0)
    metrics.told(KEY, None, None)
    assert value("headrace_budget_amount", "EUR") is None
