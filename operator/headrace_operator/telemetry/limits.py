"""The metrics of ConcurrencyLimits."""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Gauge

from headrace_operator.decide.concurrency_limit import LimitSnapshot


class LimitMetrics:
    """The slots of each ConcurrencyLimit, and who waits for them; one that is gone is not told any more."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("limit",), registry=registry)

        slots = "Slots that the ConcurrencyLimit has by its spec; absent where it has a rate only."
        self._slots = gauge("headrace_limit_slots", slots)
        self._held = gauge("headrace_limit_slots_held", "Slots of the ConcurrencyLimit that are held.")
        waiting = "Runs that wait for the ConcurrencyLimit's slots or rate."
        self._waiting = gauge("headrace_limit_waiting_runs", waiting)

    def told(self, seen: LimitSnapshot) -> None:
        """How it is; one that does not exist is gone."""
        if not seen.exists:
            self.gone(seen.name)
            return
        self._held.labels(seen.name).set(sum(bool(slot.holder) for slot in seen.slots))
        self._waiting.labels(seen.name).set(seen.waiting)
        if seen.spec is not None and seen.spec.slots is not None:
            self._slots.labels(seen.name).set(seen.spec.slots)
        else:
            _forget(self._slots, seen.name)

    def gone(self, name: str) -> None:
        """It was deleted, or is looked after by another replica."""
        for gauge in (self._slots, self._held, self._waiting):
            _forget(gauge, name)


def _forget(gauge: Gauge, name: str) -> None:
    with suppress(KeyError):  # it was never told
        gauge.remove(name)
