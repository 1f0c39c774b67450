"""The metrics of budgets: how much there is in a period, and how much of it is spent."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Gauge

from headrace.api.budget import PeriodBudget, Spent
from headrace_operator.decide.snapshot import ObjectKey


class BudgetMetrics:
    """One line for each Deployment that has a budget."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("namespace", "deployment", "currency")
        self._amount = Gauge(
            "headrace_budget_amount",
            "What a Deployment's budget allows in its present period. currency: ISO 4217.",
            labels,
            registry=registry,
        )
        self._spent = Gauge(
            "headrace_budget_spent_amount",
            "What a Deployment's runs have cost in the present period of its budget. currency: ISO 4217.",
            labels,
            registry=registry,
        )
        self._exceeded = Gauge(
            "headrace_budget_exceeded",
            "Deployments with a budget: 1 while their condition BudgetExceeded is True, else 0. currency: ISO 4217.",
            labels,
            registry=registry,
        )
        self._currencies: dict[ObjectKey, str] = {}

    def told(
        self, deployment: ObjectKey, budget: PeriodBudget | None, spent: Spent | None, *, is_exceeded: bool = False
    ) -> None:
        """What its status tells; None: it has no budget, or is gone, or nothing is counted yet."""
        currency = budget.currency if budget is not None and spent is not None else None
        before = self._currencies.pop(deployment, None)
        if before is not None and before != currency:
            for gauge in (self._amount, self._spent, self._exceeded):
                with suppress(KeyError):
                    gauge.remove(*deployment, before)
        if budget is not None and spent is not None:
            self._currencies[deployment] = budget.currency
            self._amount.labels(*deployment, budget.currency).set(float(budget.amount))
            self._spent.labels(*deployment, budget.currency).set(float(spent.amount))
            self._exceeded.labels(*deployment, budget.currency).set(is_exceeded)
