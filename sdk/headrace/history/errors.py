"""
Errors of the history store. No text shows a password.

    HistoryError            (a HeadraceError)
    ├── HistoryRefused      it does not take what is asked: the same again will not do, anything else may
    ├── HistoryUnavailable  it cannot be reached, is full or broken: the same again may do later
    ├── HistoryTooNew       a newer version of headrace has migrated it
    └── HistoryTooOld       only a writer migrates it, and this is a reader
"""

from __future__ import annotations

from headrace.errors import HeadraceError


class HistoryError(HeadraceError):
    """Base of the errors of a history store. Attributes: `store` its URL without a password."""

    def __init__(self, store: str, problem: str) -> None:
        super().__init__(f"history store {store}: {problem}")
        self.store = store


class HistoryUnavailable(HistoryError):
    """It cannot be used now; nothing of the last transaction was kept, or all of it."""


class HistoryRefused(HistoryError):
    """It can be used, and not asked this: a value is one that its database has no place for."""


class HistoryTooNew(HistoryError):
    """Its schema is newer than this program knows. Attributes: `found`, `known` are versions of the schema."""

    def __init__(self, store: str, found: int, known: int) -> None:
        super().__init__(
            store,
            f"its schema has version {found}, and this headrace knows those up to {known}; use a newer headrace, or another store",
        )
        self.found = found
        self.known = known


class HistoryTooOld(HistoryError):
    """Its schema is older than this program reads, or not there. Attributes: `found`, `known` as above."""

    def __init__(self, store: str, found: int, known: int) -> None:
        told = f"its schema has version {found}" if found else "it has no tables yet"
        super().__init__(
            store, f"{told}, and version {known} is read; an operator of this version brings it there when it starts"
        )
        self.found = found
        self.known = known
