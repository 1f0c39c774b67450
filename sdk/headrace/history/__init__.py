"""
The history store: what is left of finished runs when they have gone from the Kubernetes API (docs/history.md).

Here are its schema, the two databases that it may be, and what reads it. Who writes when is the operator's business.
No driver is imported before a store of its kind is opened.
"""

from __future__ import annotations

from headrace.history.errors import HistoryError, HistoryRefused, HistoryTooNew, HistoryTooOld, HistoryUnavailable
from headrace.history.records import Record, record_of
from headrace.history.store import HistoryStore, open_history

__all__ = [
    "HistoryError",
    "HistoryRefused",
    "HistoryStore",
    "HistoryTooNew",
    "HistoryTooOld",
    "HistoryUnavailable",
    "Record",
    "open_history",
    "record_of",
]
