"""What a Backfill cannot be carried out from."""

from __future__ import annotations


class InvalidBackfill(ValueError):
    """
    A spec that breaks a rule which the API server cannot check; `str()` is the sentence for the status.

    Attributes: `field` is its path as manifests spell it ("spec.partitions.range.cron"), `message` says what is wrong
    there and what to write instead.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"
