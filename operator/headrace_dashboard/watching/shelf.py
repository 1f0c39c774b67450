"""The objects of one kind, as slim records: the sink of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import structlog

from headrace.kubeapi.errors import ApiError
from headrace_dashboard.watching.news import Change, News

log = structlog.get_logger()


class Record(Protocol):
    """What is kept of an object. Two that are equal look the same on every page."""

    @property
    def uid(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...


R = TypeVar("R", bound=Record)
Key = tuple[str, str]
"""Namespace and name."""


class Shelf(Generic[R]):
    """
    Records by namespace and name.

    Args:
        plural: Of the kind.
        slim: An object as the API gives it, as a record. Raises: KeyError, TypeError, ValueError: it makes no sense.
        order: What records are sorted by.
        last_first: Whether the greatest comes first.
    """

    def __init__(
        self,
        plural: str,
        slim: Callable[[Mapping[str, Any]], R],
        news: News,
        *,
        order: Callable[[R], Any],
        last_first: bool = False,
    ) -> None:
        self.plural = plural
        self._last_first = last_first
        self.is_filled = asyncio.Event()
        self.problem = ""
        """Why it may be out of date; empty: it is not."""
        self.edition = 0
        """Another one with each change."""
        self._slim = slim
        self._order = order
        self._news = news
        self._records: dict[Key, R] = {}
        self._sorted: tuple[R, ...] = ()
        self._sorted_edition = -1
        self._namespaces: dict[str, int] = {}

    def get(self, namespace: str, name: str) -> R | None:
        """The record of this name; None: there is none."""
        return self._records.get((namespace, name))

    def all(self) -> tuple[R, ...]:
        """Every record, in order."""
        if self._sorted_edition != self.edition:
            self._sorted = tuple(sorted(self._records.values(), key=self._order, reverse=self._last_first))
            self._sorted_edition = self.edition
        return self._sorted

    def namespaces(self) -> frozenset[str]:
        """Those that any record is of."""
        return frozenset(self._namespaces)

    def __len__(self) -> int:
        return len(self._records)

    # The sink of the stream
    def seen(self, obj: dict[str, Any]) -> None:
        """An object was listed, added or modified."""
        self.problem = ""
        try:
            record = self._slim(obj)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            metadata = obj.get("metadata") or {}
            log.warning(
                "object_not_understood",
                kind=self.plural,
                namespace=metadata.get("namespace"),
                name=metadata.get("name"),
                error=repr(error),
            )
            return
        key = (record.namespace, record.name)
        before = self._records.get(key)
        if before is not None and before.uid == record.uid and before.version >= record.version:
            return
        self._records[key] = record
        if before is None:
            self._namespaces[record.namespace] = self._namespaces.get(record.namespace, 0) + 1
        self._tell(key)

    def gone(self, obj: dict[str, Any]) -> None:
        """An object was deleted."""
        metadata = obj["metadata"]
        key = (str(metadata.get("namespace") or ""), str(metadata["name"]))
        known = self._records.get(key)
        if known is not None and known.uid == metadata["uid"]:
            self._drop(key)

    def synced(self, uids: set[str], version: int) -> None:
        """Only objects with these uids exist, of those that are not newer."""
        lost = [key for key, each in self._records.items() if each.uid not in uids and each.version <= version]
        for key in lost:
            self._drop(key)
        self.problem = ""
        self.is_filled.set()
        self._news.add_everything()

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke and will be taken up again."""
        self.problem = f"{error.reason}: {error.message}"
        log.warning("watch_interrupted", kind=self.plural, error=str(error), retry_in_s=round(retry_in_s, 2))

    def _drop(self, key: Key) -> None:
        del self._records[key]
        left = self._namespaces[key[0]] - 1
        if left:
            self._namespaces[key[0]] = left
        else:
            del self._namespaces[key[0]]
        self._tell(key)

    def _tell(self, key: Key) -> None:
        self.edition += 1
        self._news.add(Change(self.plural, *key))
