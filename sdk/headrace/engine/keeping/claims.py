"""
Who computes a cached result: one holder at a time, over any storage that can put a key only if it is new.

    lock-1   released                 the numbers of one key only grow, and the highest one counts
    lock-2   held, renewed            its holder writes it anew while it computes
    lock-3   …                        put by the first one who found lock-2 released, or not renewed for a lease

Whoever waits measures the lease on a clock of its own, from the moment when it first saw what is there; so clocks may differ.
Only a lock whose own time was up SKEW_S ago is taken at once: clocks are assumed to differ by less. A holder that was
stopped for longer than a lease, and goes on, computes beside the next one: both results are whole, the last one stays.
"""

from __future__ import annotations

import atexit
import json
import secrets
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Final
from weakref import WeakSet

from headrace.engine import logs
from headrace.engine.clock import Clock
from headrace.engine.transitions import told
from headrace.errors import NoSuchResult
from headrace.results import Storage

LEASE_S: Final = 30.0
RENEW_S: Final = 10.0
SKEW_S: Final = 300.0
RELEASE_S: Final = 5.0
"""How long the end of a process waits for locks to be given back; the leases of others end by themselves."""
PREFIX: Final = "lock-"
_RELEASING: Final[WeakSet[threading.Thread]] = WeakSet()


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What a lock says.

    Args:
        holder: For people.
        run: What tells its flow run from others, and `attempt` of it.
        token: Tells one holder from another.
        beat: Grows with each renewal.
        until_s: Unix time of the holder's clock at which the lease ends.
    """

    holder: str
    run: str
    attempt: int
    token: str
    beat: int = 0
    until_s: float = 0.0
    released: bool = False

    def sealed(self) -> bytes:
        """The bytes to store."""
        return json.dumps(asdict(self)).encode()


def claim_of(holder: str, run: str, attempt: int) -> Claim:
    """A claim that nobody else makes."""
    return Claim(holder, run, attempt, secrets.token_hex(8))


class KeyLock:
    """The lock of one key, as one task run wants it."""

    def __init__(self, storage: Storage, folder: str, claim: Claim, clock: Clock, *, renew_s: float = RENEW_S) -> None:
        self._storage = storage
        self._folder = folder
        self._claim = claim
        self._clock = clock
        self._renew_s = renew_s
        self._number = 0
        self._seen = b""
        self._seen_since_s = 0.0
        self._writing = threading.Lock()
        self._turning = threading.Lock()
        self._over = threading.Event()
        self.others: Claim | None = None
        """Whose lock was met last."""

    @property
    def held(self) -> bool:
        """Whether it was taken, and not given back."""
        return self._number > 0

    def taken(self, names: Iterable[str]) -> bool:
        """
        Whether it is held from now on.

        Args:
            names: What is in the folder.
        Raises: ResultsError.
        """
        last = max(_numbers(names), default=0)
        if last and not self._is_free(last):
            return False
        number = last + 1
        if not self._storage.put_new(self._key(number), self._renewed().sealed()):
            return False
        # Between the look and the put others may have come and gone, whose numbers were taken away.
        there = _numbers(key.rpartition("/")[2] for key in self._storage.list(self._folder))
        if max(there, default=0) > number:
            self._storage.delete(self._key(number))
            return False
        with self._turning:
            given_up = self._over.is_set()
            self._number = 0 if given_up else number
        if given_up:  # whoever asked was cancelled meanwhile, and nobody would give it back
            self._storage.put(self._key(number), replace(self._claim, released=True).sealed())
            return False
        threading.Thread(target=self._renew, name="headrace-cache-lock", daemon=True).start()
        for each in there:
            if each < number:
                self._storage.delete(self._key(each))
        return True

    def release(self) -> None:
        """Gives it back, if it is held. Raises: ResultsError: others wait until the lease is over."""
        with self._writing:
            with self._turning:
                number, self._number = self._number, 0
                self._over.set()
            if number:
                self._storage.put(self._key(number), replace(self._claim, released=True).sealed())

    def release_later(self) -> None:
        """As release(), without waiting; the process ends after it, or after RELEASE_S. It cannot be taken any more."""
        with self._turning:
            self._over.set()
        if self.held:
            # A daemon: a storage that hangs must not keep the process.
            thread = threading.Thread(target=self._release_quietly, name="headrace-cache-lock", daemon=True)
            _RELEASING.add(thread)
            thread.start()

    def _release_quietly(self) -> None:
        try:
            self.release()
        except Exception as error:  # noqa: BLE001 - the lease ends by itself
            logs.LOGGER.debug("a lock of the cache was not given back: %s", told(error))

    def _is_free(self, number: int) -> bool:
        try:
            found = self._storage.get(self._key(number))
        except NoSuchResult:
            return True
        other = _read(found)
        self.others = other
        if other and (other.released or self._clock.wall_s() > other.until_s + SKEW_S):
            return True
        if other and other.run and other.run == self._claim.run and other.attempt < self._claim.attempt:
            return True  # attempts of one run come one after the other: that one is over
        seen, now_s = b"%d " % number + found, self._clock.now_s()
        if seen != self._seen:
            self._seen, self._seen_since_s = seen, now_s
        return now_s - self._seen_since_s >= LEASE_S

    def _renew(self) -> None:
        while not self._over.wait(self._renew_s):
            try:
                if not self._beat():
                    return
            except Exception as error:  # noqa: BLE001 - the next beat may get through
                logs.LOGGER.debug("a lock of the cache was not renewed: %s", told(error))

    def _beat(self) -> bool:
        """Renews it; whether it is still to be renewed."""
        with self._writing:
            if not self.held or self._storage.exists(self._key(self._number + 1)):
                return False
            self._storage.put(self._key(self._number), self._renewed().sealed())
        return True

    def _renewed(self) -> Claim:
        claim = self._claim
        self._claim = replace(claim, beat=claim.beat + 1, until_s=self._clock.wall_s() + LEASE_S)
        return self._claim

    def _key(self, number: int) -> str:
        return f"{self._folder}/{PREFIX}{number}"


@atexit.register
def _wait_for_releases() -> None:
    until_s = monotonic() + RELEASE_S
    for thread in tuple(_RELEASING):
        thread.join(max(0.0, until_s - monotonic()))


def _numbers(names: Iterable[str]) -> list[int]:
    found = (name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))
    return [int(number) for number in found if number.isdecimal()]


def _read(data: bytes) -> Claim | None:
    """None: it is no lock of ours, or not whole; then only the lease counts."""
    try:
        return Claim(**json.loads(data))
    except (ValueError, TypeError):
        return None
