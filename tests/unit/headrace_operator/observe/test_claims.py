"""Of all runs with one idempotency key, one counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.api.conditions import Phase
from headrace_operator.decide.snapshot import Run, RunStatus
from headrace_operator.observe.claims import Claimant, Claims
from tests.builders import NOW, a_run
from tests.unit.headrace_operator.observe.objects import key


def a_claimant(name: str, *, after_s: float = 0, phase: Phase | None = None, **changes: Any) -> Run:
    fields = {
        "key": key(name),
        "uid": f"{name}-uid",
        "created": NOW + timedelta(seconds=after_s),
        "deployment_ref": "daily",
        "flow_ref": None,
        "idempotency_key": "k",
        "status": RunStatus(phase=phase),
    }
    return a_run(**{**fields, **changes})


def never(_claimant: Claimant) -> bool:
    return False


def claims(*runs: Run) -> Claims:
    made = Claims()
    for run in runs:
        made.put(run)
    return made


def holder(of: Claims, run: Run, *begun: str) -> str | None:
    found = of.holder(run, lambda claimant: claimant.run.name in begun)
    return found.run.name if found else None


OLD, NEW = a_claimant("old"), a_claimant("new", after_s=1)


def test_the_older_run_has_the_key() -> None:
    """Whichever is heard of first, and whichever asks."""
    for made in (claims(OLD, NEW), claims(NEW, OLD)):
        assert holder(made, NEW) == holder(made, OLD) == "old"


def test_of_two_of_the_same_second_one_has_it() -> None:
    """The same one every time: creationTimestamp has seconds only."""
    one, two = a_claimant("a"), a_claimant("b")
    assert holder(claims(one, two), two) == holder(claims(two, one), one) == "a"


def test_a_run_that_has_begun_goes_before_an_older_one() -> None:
    """It was let start before the other was heard of."""
    assert holder(claims(OLD, NEW), OLD, "new") == "new"


def test_a_run_that_has_ended_goes_before_all() -> None:
    """However it ended; but one that was skipped did nothing."""
    ended = a_claimant("ended", after_s=2, phase=Phase.FAILED)
    assert holder(claims(OLD, NEW, ended), OLD, "new") == "ended"
    skipped = a_claimant("skipped", phase=Phase.SKIPPED)
    assert holder(claims(skipped, NEW), NEW) == "new"


def test_who_has_it_keeps_it() -> None:
    """Two runs never give way to each other, though one seems to have begun and then has not."""
    made = claims(OLD, NEW)
    assert holder(made, OLD, "new") == "new"
    assert holder(made, NEW) == "new"


def test_when_the_holder_is_gone_the_next_one_has_it() -> None:
    """Deleted, or skipped."""
    made = claims(OLD, NEW)
    assert holder(made, NEW) == "old"
    made.drop("old-uid")
    assert holder(made, NEW) == "new"
    made.put(a_claimant("new", phase=Phase.SKIPPED))
    assert made.holder(NEW, never) is None
    made.drop("unknown")


def test_other_keys_deployments_flows_and_namespaces_are_others() -> None:
    """A key is one within its Deployment, or within its Flow."""
    others = [
        a_claimant("a", idempotency_key="other"),
        a_claimant("b", deployment_ref="weekly"),
        a_claimant("c", deployment_ref=None, flow_ref="etl"),
        a_claimant("d", deployment_ref=None, flow_ref="elt"),
        a_claimant("e", key=key("e")._replace(namespace="team-b")),
    ]
    made = claims(*others, NEW)
    assert [holder(made, run) for run in (*others, NEW)] == ["a", "b", "c", "d", "e", "new"]


def test_a_run_has_one_key_only() -> None:
    """The API server lets nobody change it; were it so, the run would hold its last one."""
    made = claims(OLD, NEW)
    made.put(a_claimant("old", idempotency_key="other"))
    assert holder(made, NEW) == "new"
    made.drop("old-uid")
    assert holder(made, NEW) == "new"


def test_a_run_without_a_key_is_none_of_ours() -> None:
    """It always counts."""
    plain = a_claimant("plain", idempotency_key=None)
    assert claims(plain).holder(plain, never) is None


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([None, Phase.RUNNING])), min_size=1, max_size=6), st.data()
)
def test_exactly_one_counts_over_restarts(drawn: list[tuple[int, Phase | None]], data: st.DataObject) -> None:
    """Heard of in any order, asked in any order, forgotten at any time: all but one give way, never all."""
    runs = {
        f"r{number}": a_claimant(f"r{number}", after_s=after_s, phase=phase)
        for number, (after_s, phase) in enumerate(drawn)
    }
    begun = data.draw(st.sampled_from([(), *((name,) for name in runs)]))
    skipped: set[str] = set()
    for _restart in range(3):
        left = [name for name in runs if name not in skipped]
        made = claims(*(runs[name] for name in data.draw(st.permutations(left))))
        for name in data.draw(st.permutations(left)):
            if name not in begun and holder(made, runs[name], *begun) != name and data.draw(st.booleans()):
                made.put(a_claimant(name, phase=Phase.SKIPPED))
                skipped.add(name)
    left = [name for name in runs if name not in skipped]
    made = claims(*(runs[name] for name in left))
    counted = {holder(made, runs[name], *begun) for name in left}
    assert len(counted) == 1
    assert counted <= set(left)
    assert not begun or counted == set(begun)
