"""`headrace cost --budgets`: what Deployments have spent of their budgets; and one budget in a line, for other commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from headrace.cli.printing import table
from headrace.diagnose.wording import condition

HEADINGS = ("NAMESPACE", "DEPLOYMENT", "SPENT", "BUDGET", "UNTIL", "ACTION", "STATE")


def budgets_of(deployments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Those that have a budget, the one of which the largest part is spent first."""
    found = [_budget(each) for each in deployments if each["spec"].get("budget")]
    return sorted(found, key=lambda each: (-(each["percent"] or 0), each["namespace"], each["deployment"]))


def budget_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The table of these budgets, a line each; a sentence where there are none."""
    if not found:
        return "no Deployment has a budget (spec.budget)"
    rows = [
        (
            each["namespace"],
            each["deployment"],
            "not counted" if each["spent"] is None else f"{each['spent']} ({each['percent']:g} %)",
            f"{each['amount']} {each['currency']} a {each['period'].lower()}",
            each["until"] or "",
            each["action"],
            each["reason"] or "",
        )
        for each in found
    ]
    return table(HEADINGS, rows)


def spent_text(deployment: Mapping[str, Any]) -> str:
    """For a line about a Deployment: "412.50 of 500 USD a month"; empty where it has no budget, or nothing is counted."""
    if not deployment["spec"].get("budget"):
        return ""
    found = _budget(deployment)
    return (
        ""
        if found["spent"] is None
        else f"{found['spent']} of {found['amount']} {found['currency']} a {found['period'].lower()}"
    )


def is_budget_spent(deployment: Mapping[str, Any]) -> bool:
    """Whether no run is paid for any more, and none starts."""
    return (
        deployment["spec"].get("budget", {}).get("action") == "Stop"
        and condition(deployment, "BudgetExceeded").get("status") == "True"
    )


def _budget(deployment: Mapping[str, Any]) -> dict[str, Any]:
    budget, metadata = deployment["spec"]["budget"], deployment["metadata"]
    spent = (deployment.get("status") or {}).get("spent") or {}
    return {
        "namespace": metadata["namespace"],
        "deployment": metadata["name"],
        "spent": spent.get("amount"),
        "amount": str(budget["amount"]),
        "currency": budget.get("currency", "USD"),
        "period": budget.get("period", "Month"),
        "percent": _percent(spent.get("amount"), budget["amount"]),
        "until": spent.get("until"),
        "action": budget.get("action", "Alert"),
        "reason": condition(deployment, "BudgetExceeded").get("reason"),
    }


def _percent(spent: Any, amount: Any) -> float | None:
    if spent is None:
        return None
    try:
        return round(float(Decimal(spent) * 100 / Decimal(amount)), 1)
    except (InvalidOperation, ZeroDivisionError):  # a budget of nothing
        return 100.0
