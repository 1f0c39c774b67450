"""What commands show of budgets."""

from __future__ import annotations

from typing import Any

from headrace.cli.budgets import budget_table, budgets_of, is_budget_spent, spent_text
from headrace.cli.deployments import state_of

UNTIL = "2026-04-01T00:00:00Z"


def a_deployment(
    name: str, amount: Any, spent: str | None, *, said: str = "WithinBudget", **budget: Any
) -> dict[str, Any]:
    """With a budget of which so much is spent; None: nothing is counted yet."""
    holds = "True" if said == "BudgetExceeded" else "False"
    status = {
        "spent": {"amount": spent, "until": UNTIL},
        "conditions": [{"type": "BudgetExceeded", "status": holds, "reason": said}],
    }
    return {
        "metadata": {"namespace": "ml", "name": name},
        "spec": {"flowRef": {"name": "etl"}, "budget": {"amount": amount, **budget}},
        "status": {} if spent is None else status,
    }


def test_budgets_are_listed_by_what_part_of_them_is_spent() -> None:
    """One that is not counted comes last; a Deployment without a budget is none."""
    plain: dict[str, Any] = {"metadata": {"namespace": "ml", "name": "free"}, "spec": {}}
    found = budgets_of(
        [
            a_deployment("new", 5, None),
            a_deployment("some", 500, "412.500000"),
            a_deployment("all", "10.50", "21", said="BudgetExceeded", action="Stop", period="Day", currency="EUR"),
            a_deployment("nothing", 0, "0.000000"),
            plain,
        ]
    )
    assert [(each["deployment"], each["percent"]) for each in found] == [
        ("all", 200.0),
        ("nothing", 100.0),
        ("some", 82.5),
        ("new", None),
    ]
    lines = budget_table(found).splitlines()
    assert lines[1].split() == [
        *("ml", "all", "21", "(200", "%)", "10.50", "EUR", "a", "day", UNTIL, "Stop", "BudgetExceeded")
    ]
    assert "not counted" in lines[4]
    assert budget_table([]) == "no Deployment has a budget (spec.budget)"


def test_a_line_about_a_deployment_says_what_is_spent() -> None:
    assert spent_text(a_deployment("some", 500, "412.500000")) == "412.500000 of 500 USD a month"
    assert spent_text(a_deployment("new", 5, None)) == ""
    assert spent_text({"spec": {}}) == ""


def test_a_spent_budget_is_a_state_where_it_stops_runs() -> None:
    """One that alerts holds nothing back."""
    stopped = a_deployment("all", 10, "21", said="BudgetExceeded", action="Stop")
    told = a_deployment("all", 10, "21", said="BudgetExceeded", action="Alert")
    assert (is_budget_spent(stopped), is_budget_spent(told)) == (True, False)
    assert state_of(stopped) == "budget spent"
