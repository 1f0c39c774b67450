"""Amounts of money: exact decimals, written as texts, so that no reader rounds them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, WithJsonSchema

from headrace.api.common import StatusModel

CURRENCY = "^[A-Z]{3}$"
AMOUNT = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
TOTAL = r"^[0-9]{1,20}(\.[0-9]{1,6})?$"
"""As AMOUNT, for what a million runs cost together."""
PLACES = 6
"""Digits behind the point: a millionth of a dollar is what a pod of a tenth of a core costs in a second."""

Amount = Annotated[
    Annotated[int, Field(ge=0, lt=10**12)] | Annotated[str, Field(pattern=AMOUNT)],
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "maxLength": 19,
            "pattern": AMOUNT,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
"""An amount that is not negative, as people write it: 250, "250.50". At most six digits behind the point."""


class Cost(StatusModel):
    """What something has cost."""

    amount: Annotated[str, Field(pattern=TOTAL, max_length=27)] = Field(
        description='The amount, a decimal text such as "0.014250".'
    )
    currency: str = Field(pattern=CURRENCY, description="Currency, as ISO 4217 writes it.")

    @property
    def exact(self) -> Decimal:
        """The amount as a number."""
        return Decimal(self.amount)
