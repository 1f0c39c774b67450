"""What was deleted: a late word about it must not raise it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 8192


class Gone:
    """Uids of deleted objects, the latest few thousand."""

    def __init__(self) -> None:
        self._uids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, uid: str) -> bool:
        return uid in self._uids

    def add(self, uid: str) -> None:
        """Remember it; the oldest is forgotten."""
        self._uids[uid] = None
        if len(self._uids) > REMEMBERED:
            self._uids.popitem(last=False)
