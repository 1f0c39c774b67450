"""Renews what the blocks of this process hold, all in one thread, and tells them what was lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from headrace import slots
from headrace.limits.holding import Held, Monotonic, Taken
from headrace.limits.view import Api
from headrace.podapi import PodApiError

REQUESTS_PER_DURATION = 6
"""A renewal is given up after this part of the lease, and tried again."""
RETRY_S = 2.0
"""After an API server that did not answer, at most this long."""
LOST = frozenset({404, 422})
"""Answers that say for sure that the slot is not ours: its Lease is gone, or names another holding."""


class Keeper:
    """What this process holds."""

    def __init__(
        self, api: Api, lease_path: Callable[[str], str], *, clock: Monotonic, now: Callable[[], datetime]
    ) -> None:
        self._api = api
        self._path = lease_path
        self._clock = clock
        self._now = now
        self._changed = threading.Condition()
        self._holdings: list[Held] = []
        self._owed: list[Taken] = []
        self._thread: threading.Thread | None = None

    def keep(self, held: Held) -> None:
        """Renews its slots from now on."""
        with self._changed:
            self._holdings.append(held)
            self._wake()

    def let_go(self, held: Held) -> None:
        """Renews them no more."""
        with self._changed:
            self._holdings = [each for each in self._holdings if each is not held]

    def owe(self, taken: Taken) -> None:
        """Gives the slot back as soon as the API server answers, or leaves it to expire."""
        with self._changed:
            self._owed.append(taken)
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._thread is None or not self._thread.is_alive():  # a fork takes the object along and not the thread
            self._thread = threading.Thread(target=self._run, name="headrace-limits", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._holdings and not self._owed:
                    self._thread = None
                    return
                holdings, owed = tuple(self._holdings), tuple(self._owed)
            wait_s = self.look_after(holdings, owed)
            with self._changed:
                if holdings == tuple(self._holdings) and owed == tuple(self._owed):
                    self._changed.wait(wait_s)

    def look_after(self, holdings: tuple[Held, ...], owed: tuple[Taken, ...] = ()) -> float | None:
        """Renews what is due; seconds until the next look, None if nothing is held. Who has lost a slot is told."""
        answers = True
        for taken in owed:
            answers = answers and self._given_back(taken)
        for held in holdings:
            for taken in held.taken:
                answers = self._renewed(held, taken, answers=answers)
        with self._changed:
            self._holdings = [held for held in self._holdings if not held.lost]
            kept = tuple(self._holdings)
        return self._until_next_look(kept, answers=answers)

    def _renewed(self, held: Held, taken: Taken, *, answers: bool) -> bool:
        """Whether the API server answers, as far as is known. One that does not is not asked for the others too."""
        sent_s = self._clock()
        if sent_s >= taken.expires_s:
            held.lose(taken, f"it was not renewed for {taken.duration_s:g} s")
        if held.lost or not answers or sent_s < taken.renewal_due_s:
            return answers
        patch = slots.renewing(taken.holder, taken.token, self._now())
        try:
            self._api.patch(self._path(taken.lease), patch, timeout_s=taken.duration_s / REQUESTS_PER_DURATION)
        except PodApiError as error:
            if error.status in LOST:
                held.lose(taken, "its Lease is gone" if error.status == 404 else "its Lease names another holder")
                return True
            return False
        taken.confirmed_s = sent_s
        return True

    def _given_back(self, taken: Taken) -> bool:
        """Whether the API server answers."""
        answered = self._clock() >= taken.expires_s
        try:
            if not answered:
                self._api.patch(self._path(taken.lease), slots.giving_back(taken.holder, taken.token))
        except PodApiError as error:
            if error.passes:
                return False
        with self._changed:
            self._owed = [each for each in self._owed if each is not taken]
        return True

    def _until_next_look(self, holdings: tuple[Held, ...], *, answers: bool) -> float | None:
        now_s = self._clock()
        times_s = [held.expires_s for held in holdings]
        times_s += [taken.renewal_due_s for held in holdings for taken in held.taken] if answers else [now_s + RETRY_S]
        return max(0.0, min(times_s) - now_s) if times_s else None
