"""For how long slots of ConcurrencyLimits have been free: a slot that goes from run to run is free for a moment each time."""

from __future__ import annotations


class Vacancies:
    """Belongs to one event loop. After a restart they count anew."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}

    def free_for_s(self, limit: str, *, is_free: bool, now_s: float) -> float:
        """Seconds since which each look has found one of the limit's slots free; 0 if none is now."""
        if not is_free:
            self._since_s.pop(limit, None)
            return 0.0
        return now_s - self._since_s.setdefault(limit, now_s)
