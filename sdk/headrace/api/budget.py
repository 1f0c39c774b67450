"""Budgets of Deployments: what their runs may cost in a period, and what has been spent of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from headrace.api.common import ATOMIC, ApiModel, Count, Instant, StatusModel, checked_by
from headrace.api.money import CURRENCY, TOTAL, Amount
from headrace.api.timezone import TIME_ZONE_RULES

MAX_COUNTED = 5000
"""Runs that status.spent.counted names at most."""

Total = Annotated[str, Field(pattern=TOTAL, max_length=27)]


class BudgetPeriod(StrEnum):
    """For how long a budget is meant."""

    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


class BudgetAction(StrEnum):
    """What happens when a budget is spent."""

    ALERT = "Alert"
    STOP = "Stop"


class PeriodBudget(ApiModel):
    """What the runs may cost together in each period."""

    amount: Amount = Field(description="What the runs of one period may cost together.")
    currency: str = Field(
        default="USD",
        pattern=CURRENCY,
        description="Currency, as ISO 4217 writes it; that of the WorkPools' pricing. Costs in others do not count.",
    )
    period: BudgetPeriod = Field(
        default=BudgetPeriod.MONTH,
        description="Day, Week or Month of the calendar; a week begins on Monday. What is left over is not carried on.",
    )
    time_zone: Annotated[str, Field(max_length=64)] = Field(
        default="Etc/UTC",
        description="IANA name of the time zone at whose midnight a period begins, such as Europe/London.",
        json_schema_extra=checked_by(*TIME_ZONE_RULES),
    )
    action: BudgetAction = Field(
        default=BudgetAction.ALERT,
        description="Alert: it is told, and nothing else. Stop: no run starts that the rest does not pay for, until the "
        "next period or a higher amount; what runs goes on.",
    )
    alert_at_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        default=80, description="From which part of the amount on it is told that the budget is nearly spent."
    )


class Spent(StatusModel):
    """What has been spent in the present period, each run counted once."""

    since: Instant = Field(description="When the period began.")
    until: Instant = Field(description="When it ends.")
    amount: Total = Field(description="What the attempts that ended in the period have cost, a decimal text.")
    currency: str = Field(pattern=CURRENCY, description="That of the budget.")
    settled: Total = Field(description="What of it belongs to runs that are over.")
    runs: Count = Field(default_factory=int, description="Runs that are over, and had a cost in the period.")
    per_run: Total | None = Field(
        default=None,
        description="What one more run is reckoned to cost: the mean of the runs that are over, of the period before "
        "until there is one. Absent: none is known.",
    )
    counted_until: Instant | None = Field(
        default=None, description="Runs that ended before this are counted. Absent: those of counted alone are."
    )
    counted: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        default_factory=tuple,
        max_length=MAX_COUNTED,
        description="UIDs of runs that are counted and still there.",
        json_schema_extra=ATOMIC,
    )
