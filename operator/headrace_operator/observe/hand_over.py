"""
Which slots go from a run that has ended straight to one that waits: one write to the Lease in place of two.

Only where this process alone decides who comes next, and runs wait for the slot. Tasks take free slots without asking anybody, so that of
a busy limit at least one a second becomes free for them, too; and of one that is not busy, each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headrace_operator.decide.leases import Slot
from headrace_operator.decide.queueing.board import Board
from headrace_operator.observe.slots import Slots

FREED_EVERY_S: Final = 1.0
OFFER_LASTS_S: Final = 1.0
"""The next in line takes it in milliseconds, unless it is short of something else."""


class HandOver:
    """
    Belongs to one event loop.

    Args:
        is_alone: No other shard's runs wait for the same slots.
        monotonic: Seconds that never go back.
    """

    def __init__(self, board: Board, slots: Slots, *, is_alone: bool, monotonic: Callable[[], float]) -> None:
        self._board = board
        self._slots = slots
        self._is_alone = is_alone
        self._monotonic = monotonic
        self._freed_at_s: dict[str, float] = {}

    def offer(self, slot: Slot) -> bool:
        """Offer the slot of a run that is over to the next in line. Returns whether that was done; otherwise it is to be given back."""
        now_s, limit = self._monotonic(), slot.limit
        if self._has_takers(limit) and now_s < self._freed_at_s.get(limit, 0.0) + FREED_EVERY_S:
            return self._slots.offer(slot, now_s)
        self._freed_at_s[limit] = now_s
        return False

    def end_offers(self, limit: str) -> float | None:
        """End those of this limit that nobody takes. Returns seconds until that is to be asked again; None: there is no offer."""
        self._slots.end_offers(limit, before_s=self._monotonic() - OFFER_LASTS_S)
        return OFFER_LASTS_S if self._slots.offered(limit) else None

    def forget(self, limit: str) -> None:
        """The limit is gone."""
        self._freed_at_s.pop(limit, None)

    def _has_takers(self, limit: str) -> bool:
        return self._is_alone and self._board.waiting_for_limit(limit) > self._slots.offered(limit)
