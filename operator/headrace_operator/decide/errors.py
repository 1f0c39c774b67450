"""
What a decision cannot be made from.

    InvalidSchedule     a schedule that names no instants: the user must mend it
    InvalidQuantity     an amount of a resource that cannot be read: as above
"""

from __future__ import annotations


class InvalidSchedule(ValueError):
    """
    A schedule that cannot be read, or that never fires.

    Attributes: `field` is the field of the schedule as manifests spell it ("cron", "timeZone", ...), `value` what
    was found there, `message` a sentence that says what is wrong and what to write instead.
    """

    def __init__(self, field: str, value: object, message: str) -> None:
        super().__init__(field, value, message)
        self.field = field
        self.value = value
        self.message = message

    def __str__(self) -> str:
        return f'{self.field} "{self.value}": {self.message}'


class InvalidQuantity(ValueError):
    """An amount that is no Kubernetes quantity. Attribute: `value`, what was found."""

    def __init__(self, value: object) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f'"{self.value}" is no quantity; write a number that is not negative, as in 2, "500m" or "4Gi"'
