"""Backfills from what was typed, costs, pools, limits, Deployments, and what the doctor finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from headrace.api.backfill import Backfill
from headrace.api.crd import custom_resource_definitions
from headrace.cli.backfilling import Range, manifest, matrix, over, status_line
from headrace.cli.checks import _lacking, _pool_finding, _schema, operator_checked
from headrace.cli.cost import Spent, added_up, as_table
from headrace.cli.deployments import state_of
from headrace.cli.doctor import as_text
from headrace.cli.leases import standings, works
from headrace.cli.limits import as_text as limit_text
from headrace.costs import Total
from headrace.errors import UsageError

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("step", "part"),
    [
        ("day", {"cron": "0 0 * * *"}),
        ("month", {"cron": "0 0 1 * *"}),
        ("hour", {"intervalSeconds": 3600}),
        ("15m", {"intervalSeconds": 900}),
        ("0 6 * * 1-5", {"cron": "0 6 * * 1-5"}),
    ],
)
def test_a_range_is_cut_as_it_was_typed(step: str, part: dict[str, Any]) -> None:
    """The API's own model takes it."""
    partitions = Range("2026-01-01", "2026-02-01", step, "Etc/UTC").partitions()
    assert part.items() <= partitions["range"].items()
    body = manifest(
        "q1",
        "nightly",
        partitions,
        parameters={"n": "2"},
        bounds={"maxActive": 3, "ratePerMinute": None},
        budget="250 EUR",
    )
    spec = Backfill.model_validate(body).spec
    assert (spec.max_active, spec.rate_per_minute, spec.parameters) == (3, None, {"n": 2})
    assert spec.budget is not None
    assert (str(spec.budget.amount), spec.budget.currency) == ("250", "EUR")


def test_a_date_is_midnight_there() -> None:
    found = Range("2026-06-01", "2026-07-01T06:00:00Z", "day", "Europe/London").partitions()["range"]
    assert (found["from"], found["to"]) == ("2026-06-01T00:00:00+01:00", "2026-07-01T06:00:00+00:00")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("soon", "2026-02-01", "day", "Etc/UTC"), '--from "soon"'),
        (("2026-01-01", "2026-02-01", "fortnight", "Etc/UTC"), '--step "fortnight"'),
        (("2026-01-01", "2026-02-01", "day", "Mars/Olympus"), '--time-zone "Mars/Olympus"'),
    ],
)
def test_what_cannot_be_understood_is_told(wrong: tuple[str, str, str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Range(*wrong).partitions()


def test_values_make_combinations() -> None:
    assert matrix(["shop=north,south", "n=1,02"]) == {
        "matrix": [{"name": "shop", "values": ["north", "south"]}, {"name": "n", "values": [1, "02"]}]
    }
    with pytest.raises(UsageError, match="expected NAME=A,B,C"):
        matrix(["shop"])


def test_a_budget_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match='--budget "much"'):
        manifest("q", "d", {}, parameters={}, bounds={}, budget="much")


def test_how_far_a_backfill_is() -> None:
    status = {
        "phase": "Running",
        "reason": "Running",
        "progress": "43%",
        "succeeded": 40,
        "failed": 3,
        "active": 5,
        "pending": 52,
    }
    found = {
        "metadata": {"name": "q1", "generation": 2},
        "status": {**status, "ratePerMinute": 11.7, "observedGeneration": 2},
    }
    assert status_line(found) == "q1 43% Running, 40 succeeded, 3 failed, 5 active, 52 pending, 11.7/min"


@pytest.mark.parametrize(
    ("phase", "observed", "ended"), [("Failed", 2, True), ("Failed", 1, False), ("Running", 2, False)]
)
def test_a_backfill_that_was_told_to_go_on_has_not_ended(phase: str, observed: int, ended: bool) -> None:
    """Its phase is of what its spec asked for before."""
    found = {"metadata": {"generation": 2}, "status": {"phase": phase, "observedGeneration": observed}}
    assert over(found) is ended


def spent(uid: str, flow: str, amount: str | None, currency: str = "USD") -> Spent:
    return Spent(uid, {"flow": flow}, Decimal(amount) if amount else None, currency if amount else "", None)


def test_costs_are_added_exactly_and_by_currency() -> None:
    """The dearest first; a run without a price is told beside."""
    runs = [
        spent("a", "etl", "0.1"),
        spent("b", "etl", "0.2"),
        spent("c", "etl", None),
        spent("d", "ml", "5", "EUR"),
        spent("e", "new", None),
    ]
    found = added_up(runs, "flow")
    assert found == [
        Total("ml", "EUR", Decimal(5), 1),
        Total("etl", "USD", Decimal("0.3"), 2, 1),
        Total("new", "", Decimal(0), 0, 1),
    ]
    assert as_table(found, "flow").splitlines()[-1] == "together 5 EUR, 0.3 USD for 3 runs"
    assert as_table(added_up([*runs, spent("f", "etl", "1", "EUR")], "flow"), "flow").splitlines()[-3:-1] == [
        "etl    unknown   0      1",
        "new    unknown   0      1",
    ]
    assert "set spec.pricing" in as_table(added_up([spent("e", "new", None)], "flow"), "flow")


def test_who_holds_a_limit() -> None:
    limit = {
        "metadata": {"name": "pg"},
        "spec": {"slots": 2, "rate": {"count": 5, "perSeconds": 60}},
        "status": {
            "active": 2,
            "waiting": 1,
            "holders": [{"slot": "pg-0", "holder": "run/a/b", "since": "2026-03-05T11:48:00Z"}],
        },
    }
    head, _, row, more = limit_text(limit, NOW).splitlines()
    assert head == "pg: 2/2 slots held, 1 run waiting, 5 in 60s may start"
    assert row.split() == ["pg-0", "run/a/b", "12m"]
    assert more == "and 1 more"


@pytest.mark.parametrize(
    ("spec", "status", "state"),
    [
        ({"suspend": True}, {}, "suspended"),
        ({}, {"circuit": {"state": "Open"}}, "circuit open"),
        ({}, {"conditions": [{"type": "Ready", "status": "False", "reason": "FlowNotFound"}]}, "FlowNotFound"),
        ({}, {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]}, "ready"),
        ({}, {}, "not looked at"),
    ],
)
def test_what_holds_a_deployment_back(spec: dict[str, Any], status: dict[str, Any], state: str) -> None:
    assert state_of({"spec": spec, "status": status}) == state


def a_lease(ago_s: int, holder: str = "headrace-0") -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=ago_s)).isoformat()
    return {
        "metadata": {"name": "headrace-operator"},
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 10},
    }


@pytest.mark.parametrize(("lease", "is_fresh"), [(a_lease(3), True), (a_lease(60), False), (a_lease(3, ""), False)])
def test_an_operator_works_while_its_lease_lasts(lease: dict[str, Any], is_fresh: bool) -> None:
    assert (standings([lease], NOW)[0].is_fresh, works([lease], NOW)) == (is_fresh, is_fresh)


def a_part(name: str, kind: str, ago_s: int, holder: str) -> dict[str, Any]:
    lease = a_lease(ago_s, holder)
    return {
        **lease,
        "metadata": {"name": f"headrace-operator-{kind}-{name}", "labels": {"headrace.dev/operator": kind}},
    }


@pytest.mark.parametrize(("silent_s", "is_fresh"), [(3, True), (60, False)])
def test_a_shard_lasts_as_long_as_the_lease_of_its_replica(silent_s: int, is_fresh: bool) -> None:
    """It is written when it changes hands, and not renewed."""
    leases = [
        a_lease(1, "1-shards"),
        a_part("0", "shard", 9000, "headrace-0"),
        a_part("1", "shard", 9000, "nobody-else"),
        a_part("headrace-0", "member", silent_s, "headrace-0"),
    ]
    assert [(each.name, each.is_fresh) for each in standings(leases, NOW)] == [
        ("headrace-operator", True),
        ("headrace-operator-shard-0", is_fresh),
        ("headrace-operator-shard-1", False),
    ]


async def test_an_operator_of_one_namespace_serves_that_one_alone() -> None:
    own = {**a_lease(1), "metadata": {"name": "headrace-operator.team-a"}}
    served = await operator_checked(Leases(own), "s", "team-a", now=NOW)  # type: ignore[arg-type]
    other = await operator_checked(Leases(own), "s", "team-b", now=NOW)  # type: ignore[arg-type]
    assert (served[0].verdict, other[0].verdict) == ("ok", "fail")
    assert "ever served namespace team-b" in other[0].told


class Leases:
    """A client that lists these."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = found

    async def pages(self, _path: str, _params: Any = None) -> Any:
        yield {"items": list(self.found)}


async def test_the_doctor_tells_a_dead_operator_from_none() -> None:
    """Other Leases of the namespace are no operator's."""
    other = {"metadata": {"name": "some-slot"}, "spec": {}}
    dead = await operator_checked(Leases(a_lease(240), other), "s", "team-a", now=NOW)  # type: ignore[arg-type]
    assert [(each.verdict, each.told) for each in dead] == [
        ("fail", "nobody works: headrace-operator is of headrace-0, renewed 4m ago")
    ]
    assert "there is no Lease" in (await operator_checked(Leases(other), "s", "team-a", now=NOW))[0].told  # type: ignore[arg-type]
    well = await operator_checked(Leases(a_lease(1)), "s", "team-a", now=NOW)  # type: ignore[arg-type]
    assert as_text(well).splitlines()[-1] == "all is well"
    assert as_text(dead).splitlines()[-1] == "1 broken, 0 to look at"


def test_a_definition_that_is_older_lacks_a_field() -> None:
    """The first one is named; equal ones lack nothing."""
    definition = next(each for each in custom_resource_definitions() if each["spec"]["names"]["kind"] == "Flow")
    ours = _schema(definition)
    assert ours is not None
    assert list(_lacking(ours, ours)) == []
    theirs = {**ours, "properties": {**ours["properties"], "spec": {"properties": {}}}}
    assert next(_lacking(ours, theirs)).startswith("spec.")
    assert list(_lacking(ours, None)) == []


def test_a_pool_without_nodes_is_looked_at() -> None:
    pool = {
        "metadata": {"name": "gpu"},
        "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NoNodes"}]},
    }
    assert (_pool_finding(pool).verdict, _pool_finding(pool).told) == ("warn", "gpu: NoNodes")
