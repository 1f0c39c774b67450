"""That a pod must end, told to everything in it, with the time until which it may take leave."""

from __future__ import annotations

import asyncio


class Ending:
    """Begun once; a later, shorter grace period moves the end forward and never back."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()
        self._kill_at = float("inf")

    @property
    def begun(self) -> bool:
        """Whether the pod must end."""
        return self._begun.is_set()

    def begin(self, grace_s: float) -> None:
        """From now on nothing is started; what runs is killed after `grace_s`."""
        self._kill_at = min(self._kill_at, asyncio.get_running_loop().time() + grace_s)
        self._begun.set()

    def left_s(self) -> float:
        """Seconds until what runs is killed; 0 at least, infinite before the begin."""
        return max(0.0, self._kill_at - asyncio.get_running_loop().time())

    async def wait(self) -> None:
        """Returns when it has begun."""
        await self._begun.wait()

    async def pause(self, seconds: float) -> bool:
        """Waits; False as soon as the ending has begun."""
        try:
            await asyncio.wait_for(self._begun.wait(), seconds)
        except TimeoutError:
            return True
        return False
