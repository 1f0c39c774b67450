"""
The circuit breaker of a Deployment: runs that keep failing are stopped for a while.

    Closed ──(failures in a row)──> Open ──(cooldown)──> HalfOpen ──(the next run succeeds)──> Closed
                                     ^                      │
                                     └──(the next run fails)┘

What is remembered of a Deployment's runs is an instant and uids: every run that ended before the instant is counted,
and of those that ended then or later the ones that are named. The instant moves with each success, so the list stays
short. Runs are taken in the order of their ends, and all times are theirs: a pass that is repeated after a crash comes
to the same end. A run whose end is heard of late (its write was slower than another's) is counted all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.api.conditions import FAILURES, Phase, Reason
from headrace.api.deployment import Circuit, CircuitBreaker, CircuitState
from headrace.instants import stamp
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.retention import FinishedRun

COUNTING = FAILURES | {Phase.SUCCEEDED}
"""Ends that say something of the Deployment; a run that was cancelled or skipped does not."""

MAX_NAMED = 100
"""Uids in the status. Of more failures in a row the later half stays named; one told of later than those is lost."""


@dataclass(frozen=True, slots=True)
class CircuitDecision:
    """
    What to remember and to tell.

    Args:
        circuit: For the status, as is `consecutive_failures`.
        allowed: Runs that may be active at once: 0 while open, 1 while half-open, None for no bound.
        look_again_at: When the cooldown is over; None if it is not open.
    """

    circuit: Circuit
    consecutive_failures: int
    allowed: int | None
    events: tuple[RecordEvent, ...]
    look_again_at: datetime | None


def advance(
    memory: Circuit,
    consecutive: int,
    spec: CircuitBreaker | None,
    ended: Iterable[FinishedRun],
    *,
    reset: str | None,
    now: datetime,
) -> CircuitDecision:
    """
    Count the runs that are not counted yet, and move the circuit.

    Args:
        memory: Its status' circuit; before the first one `Circuit(counted_until=…)`, where counting begins.
        consecutive: Its status' consecutiveFailures.
        ended: Finished runs of the Deployment, counted ones among them, all that ended at `memory.counted_until` or
            later and still exist.
        reset: The annotation that closes the circuit; honoured once.
    """
    known = sorted((run for run in ended if run.phase in COUNTING), key=_order)
    tally = _Tally(memory, spec, known, consecutive=consecutive)
    for run in known:
        if not is_counted(run, memory):
            tally.count(run)
    if reset not in {None, memory.reset}:
        tally.close_by_hand()
    tally.cool_down(now)
    return CircuitDecision(
        circuit=tally.circuit(reset),
        consecutive_failures=tally.consecutive,
        allowed=_bound(tally.state),
        events=tuple(tally.events),
        look_again_at=tally.retry_at if tally.state is CircuitState.OPEN else None,
    )


def is_counted(run: FinishedRun, circuit: Circuit) -> bool:
    """Whether the run's end is in the count already, or says nothing."""
    until = circuit.counted_until
    before = until is not None and run.finished_at < until
    return run.phase not in COUNTING or before or run.uid in circuit.counted


def circuit_limit(
    circuit: Circuit | None,
    spec: CircuitBreaker | None,
    *,
    consecutive: int = 0,
    uncounted: Iterable[FinishedRun] = (),
    departed: int = 0,
) -> int | None:
    """
    How many runs the circuit breaker allows to be active at once: 0, 1, or None for no bound.

    Args:
        circuit: As the Deployment's status in the API has it, `consecutive` too: what is not yet written opens nothing.
        uncounted: Runs that ended and are not in that count. Where they may open the circuit nothing starts until
            the status has it, so that the slot of a failed run is not given on while that is written.
        departed: Runs that may have ended, and failed: what became of them is being found out.
    """
    if spec is None:
        return None
    state = circuit.state if circuit else None
    ends = [run for run in uncounted if circuit is None or not is_counted(run, circuit)]
    if state is CircuitState.HALF_OPEN:
        return 0 if ends or departed else 1
    failed = sum(run.phase in FAILURES for run in ends) + departed
    return 0 if failed and consecutive + failed >= spec.failures else _bound(state)


def circuit_wait(circuit: Circuit | None) -> tuple[Reason, str] | None:
    """Why a run of the Deployment waits for its circuit, and until when; None while it is closed."""
    if circuit is None or circuit.retry_at is None:
        return None
    if circuit.state is CircuitState.HALF_OPEN:
        return Reason.CIRCUIT_HALF_OPEN, "its deployment has failed too often in a row; one run at a time tries it"
    mended = "headrace circuit close ends the wait"
    return Reason.CIRCUIT_OPEN, (
        f"its deployment has failed too often in a row (spec.circuitBreaker); one run tries at {stamp(circuit.retry_at)}, "
        f"{mended}"
    )


def circuit_condition(decision: CircuitDecision, spec: CircuitBreaker) -> tuple[bool, Reason, str]:
    """Whether the condition CircuitOpen holds, and why."""
    circuit = decision.circuit
    if circuit.state is CircuitState.CLOSED or circuit.retry_at is None:
        return False, Reason.CIRCUIT_CLOSED, f"runs start; {spec.failures} that fail in a row open the circuit"
    if circuit.state is CircuitState.HALF_OPEN:
        return True, Reason.CIRCUIT_HALF_OPEN, _half_open(circuit.retry_at)
    return True, Reason.CIRCUIT_OPEN, _open(circuit.retry_at)


class _Tally:
    """The count as it goes on, run by run; `known` are the Deployment's ends, in order."""

    def __init__(
        self, memory: Circuit, spec: CircuitBreaker | None, known: Sequence[FinishedRun], *, consecutive: int
    ) -> None:
        is_new = spec is not None and memory.state is None
        self.consecutive = 0 if is_new else consecutive
        self.state = None if spec is None else memory.state or CircuitState.CLOSED
        self.retry_at = memory.retry_at if spec else None
        self.events: list[RecordEvent] = []
        self._begins = memory.counted_until
        self._spec = spec
        self._known = known
        self._counted = {run.uid for run in known if is_counted(run, memory)}
        successes = [run for run in known if run.uid in self._counted and run.phase is Phase.SUCCEEDED]
        self._last_success = max(successes, key=_order, default=None)

    def count(self, run: FinishedRun) -> None:
        """Take one end into the count, and let the circuit follow it."""
        self.cool_down(run.finished_at)
        self._counted.add(run.uid)
        if self._last_success is None or _order(run) > _order(self._last_success):
            self._add(run)
        self._follow(run)

    def _add(self, run: FinishedRun) -> None:
        if run.phase in FAILURES:
            self.consecutive += 1
            return
        self._last_success = run
        if not self.consecutive:  # a backfill's thousand ends of one second would be looked at a million times
            return
        since = [each for each in self._known if each.uid in self._counted and _order(each) > _order(run)]
        self.consecutive = min(self.consecutive, len(since))

    def _follow(self, run: FinishedRun) -> None:
        if self._spec is None:
            return
        is_probe = self.state is CircuitState.HALF_OPEN and self.retry_at and run.finished_at >= self.retry_at
        if is_probe and run.phase is Phase.SUCCEEDED:
            self._close(f"run {run.key.name} has succeeded")
        elif is_probe or (self.state is CircuitState.CLOSED and self._is_too_many(run, self._spec)):
            self._open(run, self._spec)

    def _is_too_many(self, run: FinishedRun, spec: CircuitBreaker) -> bool:
        return run.phase in FAILURES and self.consecutive >= spec.failures

    def _open(self, run: FinishedRun, spec: CircuitBreaker) -> None:
        self.state = CircuitState.OPEN
        self.retry_at = run.finished_at + timedelta(seconds=spec.cooldown_seconds)
        told = f"{self.consecutive} run(s) failed in a row, the last is {run.key.name} ({run.reason})"
        self.events.append(RecordEvent(Reason.CIRCUIT_OPEN, f"{told}; {_open(self.retry_at)}", warning=True))

    def _close(self, why: str) -> None:
        self.state, self.retry_at = CircuitState.CLOSED, None
        self.events.append(RecordEvent(Reason.CIRCUIT_CLOSED, f"{why}; runs start again"))

    def close_by_hand(self) -> None:
        """None is counted so far; an open circuit is closed."""
        if self.retry_at is not None:
            self._close(f"closed by hand; it would have tried at {stamp(self.retry_at)}")
        self.consecutive = 0

    def cool_down(self, instant: datetime) -> None:
        """Half-open, if it was open and the cooldown is over by then."""
        if self.state is CircuitState.OPEN and self.retry_at is not None and instant >= self.retry_at:
            self.state = CircuitState.HALF_OPEN
            self.events.append(RecordEvent(Reason.CIRCUIT_HALF_OPEN, _half_open(self.retry_at)))

    def circuit(self, reset: str | None) -> Circuit:
        """What to remember."""
        until, named = self._named()
        return Circuit(state=self.state, retry_at=self.retry_at, counted_until=until, counted=tuple(named), reset=reset)

    def _named(self) -> tuple[datetime | None, list[str]]:
        """From when on counted runs are named, and their uids; those that no longer exist cannot come again."""
        runs = [run for run in self._known if run.uid in self._counted]
        starts = [self._begins, self._last_success and self._last_success.finished_at]
        if len(runs) > MAX_NAMED:
            starts.append(runs[-MAX_NAMED // 2].finished_at)
        until = max((start for start in starts if start), default=None)
        return until, [run.uid for run in runs if until is None or run.finished_at >= until]


def _bound(state: CircuitState | None) -> int | None:
    return {CircuitState.OPEN: 0, CircuitState.HALF_OPEN: 1}.get(state) if state else None


def _order(run: FinishedRun) -> tuple[datetime, int, str]:
    """Ends of the same second are told apart by the version that the API server gave them."""
    return run.finished_at, run.version, run.uid


def _open(retry_at: datetime) -> str:
    return f"no run starts until {stamp(retry_at)}, then one tries; headrace circuit close ends the wait"


def _half_open(retry_at: datetime) -> str:
    return f"cooled down at {stamp(retry_at)}; one run at a time tries whether it works again"
