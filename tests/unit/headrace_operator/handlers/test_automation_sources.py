"""Automations on what goes on: metrics beyond a threshold, saturated limits, Events of Kubernetes; and what each costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace.api.automation_sources import OnMetric
from headrace.api.conditions import Reason
from headrace.kubeapi.errors import Conflict
from headrace_operator.decide.automation.kubernetes_events import told_from
from headrace_operator.decide.automation.series import Reading, Sample, reading
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.resources import AUTOMATIONS, CONCURRENCY_LIMITS, EVENTS, FLOW_RUNS, FLOWS
from headrace_operator.observe.records import limit_record
from headrace_operator.settings import Settings
from tests.builders import NAMESPACE, NOW, stamp
from tests.unit.headrace_operator.handlers.test_automation import automate, hear, stored, with_cluster
from tests.unit.headrace_operator.handlers.test_worker import INLINE, Operator

TELL = {"name": "tell", "event": {"message": "{{ event.type }}"}}
LAG = {"metric": {"url": "http://prometheus", "query": "lag", "above": 5, "forSeconds": 60}}
SATURATED = {"limitSaturated": {"afterSeconds": 60}}


class Meter:
    """Stands for the queries: says what it is told to."""

    def __init__(self) -> None:
        self.seen: Reading | None = None
        self.is_failing: tuple[Reason, str] | None = None

    def look(self, _key: ObjectKey, _spec: tuple[str, int], _on: OnMetric) -> float:
        return 60.0

    def reading(self, _key: ObjectKey) -> Reading | None:
        return self.seen

    def problem(self, _key: ObjectKey) -> tuple[Reason, str] | None:
        return self.is_failing

    def forget(self, _key: ObjectKey) -> None:
        self.seen = None


@pytest.fixture
def operator() -> Operator:
    made = Operator()
    made.apply(FLOWS, "etl", INLINE, uid="f")
    return made


async def reads(operator: Operator, after_s: float, meter: Meter, **values: float) -> None:
    """So many seconds after the start, the query says this."""
    operator.now = NOW + timedelta(seconds=after_s)
    samples = [Sample({"topic": topic}, value) for topic, value in values.items()]
    meter.seen = reading(OnMetric.model_validate(LAG["metric"]), samples, operator.now)
    operator.intake.automations.wake(ObjectKey(NAMESPACE, "auto"))
    await operator.rests()


def metered(operator: Operator) -> Meter:
    meter = Meter()
    object.__setattr__(operator.context, "queries", meter)
    return meter


def firings(operator: Operator) -> list[str]:
    return [each["about"] for each in stored(operator)["status"].get("firings", ())]


async def test_a_series_fires_once_while_it_is_beyond_the_threshold(operator: Operator) -> None:
    """When it was for long enough; again when it has recovered in between."""
    meter = metered(operator)
    automate(operator, trigger=LAG, actions=[TELL], deduplicateSeconds=0)
    for after_s, lag in ((0, 9), (30, 9), (60, 9), (120, 9), (180, 1), (240, 9), (300, 9), (900, 9)):
        await reads(operator, after_s, meter, orders=lag, mails=1)
    assert firings(operator) == ['{topic="orders"} is 9, above 5'] * 2
    assert stored(operator)["status"]["counts"]["fired"] == 2
    assert "deduplicated" not in {name for name, count in stored(operator)["status"]["counts"].items() if count}


async def test_series_that_stay_where_they_are_cost_no_request(operator: Operator) -> None:
    """Of the API; nor does a restart."""
    meter = metered(operator)
    automate(operator, trigger=LAG, actions=[TELL])
    await reads(operator, 0, meter, orders=9)
    await reads(operator, 60, meter, orders=9)
    before = len(operator.cluster.requests)
    for after_s in range(120, 1200, 60):
        await reads(operator, after_s, meter, orders=after_s)
    assert len(operator.cluster.requests) == before
    heir = with_cluster(operator.cluster)
    meter = metered(heir)
    hear(heir)
    await heir.rests()
    for after_s in range(1200, 1800, 60):
        await reads(heir, after_s, meter, orders=9)
    assert firings(heir) == ['{topic="orders"} is 9, above 5']


async def test_another_operator_goes_on_counting(operator: Operator) -> None:
    """How long a series has been beyond the threshold is in the status."""
    meter = metered(operator)
    automate(operator, trigger=LAG, actions=[TELL])
    await reads(operator, 0, meter, orders=9)
    heir = with_cluster(operator.cluster)
    meter = metered(heir)
    hear(heir)
    await reads(heir, 60, meter, orders=9)
    assert len(firings(heir)) == 1


async def test_a_claim_that_is_refused_fires_once_though_there_is_a_newer_reading(operator: Operator) -> None:
    """What was not stored has not begun: the newer reading is the first one then."""
    meter = metered(operator)
    trigger = {"metric": {**LAG["metric"], "forSeconds": 0}}
    automate(operator, trigger=trigger, actions=[TELL], deduplicateSeconds=0)
    await operator.rests()
    operator.cluster.fail_next("patch", AUTOMATIONS, Conflict(409, "Conflict", "changed"))
    await reads(operator, 0, meter, orders=9)
    await reads(operator, 60, meter, orders=9)
    await operator.what_is_delayed()
    assert len(firings(operator)) == 1


async def test_what_was_beyond_before_the_spec_changed_is_told_no_more(operator: Operator) -> None:
    """Whoever mends an action does not mean what it was told of already."""
    meter = metered(operator)
    automate(operator, trigger=LAG, actions=[TELL])
    for after_s in (0, 60):
        await reads(operator, after_s, meter, orders=9)
    operator.now = NOW + timedelta(seconds=90)
    change = {"spec": {"deduplicateSeconds": 0}, "metadata": {"generation": 2}}
    await operator.cluster.patch(AUTOMATIONS, NAMESPACE, "auto", change)
    hear(operator)
    await reads(operator, 120, meter, orders=9)
    assert len(firings(operator)) == 1
    change = {"spec": {"trigger": {"circuitOpen": {}, "metric": None}}, "metadata": {"generation": 3}}
    await operator.cluster.patch(AUTOMATIONS, NAMESPACE, "auto", change)
    hear(operator)
    await operator.rests()
    assert stored(operator)["status"]["series"] == []


async def test_a_query_that_fails_is_told_once_and_forgets_nothing(operator: Operator) -> None:
    """In the condition Ready and an Event."""
    meter = metered(operator)
    automate(operator, trigger=LAG, actions=[TELL])
    await reads(operator, 0, meter, orders=9)
    meter.is_failing = (Reason.QUERY_FAILED, "the server answered 503")
    for after_s in (60, 120, 180):
        operator.now = NOW + timedelta(seconds=after_s)
        operator.intake.automations.wake(ObjectKey(NAMESPACE, "auto"))
        await operator.rests()
    assert [each["reason"] for each in operator.cluster.all(EVENTS)] == ["QueryFailed"]
    (ready,) = stored(operator)["status"]["conditions"]
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "QueryFailed", "the server answered 503")
    meter.is_failing = None
    await reads(operator, 240, meter, orders=9)
    assert stored(operator)["status"]["conditions"][0]["status"] == "True"
    assert len(firings(operator)) == 1


def saturate(operator: Operator, since_s: float | None, version: int = 1) -> None:
    """The limit's status says that it has been so since then, None for not."""
    told = {} if since_s is None else {"saturatedSince": stamp(NOW + timedelta(seconds=since_s))}
    metadata = {"name": "db", "uid": "l", "generation": 1, "resourceVersion": str(version)}
    status = {"active": 2, "waiting": 3, "holders": [{"slot": "s", "holder": "run/secret-team/x"}], **told}
    spec = {"slots": 2}
    # Past the limit's own reconcile, which would find that nobody holds its slots.
    old = operator.intake.cache.limits.get(ObjectKey("", "db"))
    record = limit_record({"metadata": metadata, "spec": spec, "status": status}, old)
    operator.intake.cache.put_limit(record)
    operator.intake.gate.limit_changed("db", record)
    operator.intake.automations.limit_seen(old, record)


async def test_a_limit_that_stays_saturated_is_one_event(operator: Operator) -> None:
    """When it has been for long enough; it costs no request while it lasts."""
    automate(operator, trigger={"limitSaturated": {"limits": ["db"], "afterSeconds": 60}}, actions=[TELL])
    saturate(operator, 0)
    await operator.rests()
    operator.now += timedelta(seconds=60)
    await operator.what_is_delayed()
    (fired,) = firings(operator)
    assert fired.startswith("ConcurrencyLimit db")
    before = len(operator.cluster.requests)
    operator.now += timedelta(hours=2)
    hear(operator)
    await operator.what_is_delayed()
    assert len(operator.cluster.requests) == before
    assert "secret-team" not in str(stored(operator))


async def test_a_limit_that_was_free_in_between_is_no_event_until_it_has_been_saturated_for_long(
    operator: Operator,
) -> None:
    """Each stretch is counted from its begin."""
    automate(operator, trigger={"limitSaturated": {"limits": ["db"], "afterSeconds": 60}}, actions=[TELL])
    saturate(operator, 0)
    await operator.rests()
    saturate(operator, None, version=2)
    saturate(operator, 40, version=3)
    operator.now += timedelta(seconds=70)
    await operator.what_is_delayed()
    assert firings(operator) == []
    operator.now += timedelta(seconds=30)
    await operator.what_is_delayed()
    assert len(firings(operator)) == 1


async def test_without_names_limits_are_not_meant_that_the_namespace_does_not_use(operator: Operator) -> None:
    """They are another team's."""
    automate(operator, trigger=SATURATED, actions=[TELL])
    saturate(operator, 0)
    operator.now += timedelta(seconds=90)
    await operator.what_is_delayed()
    assert firings(operator) == []


async def test_a_limit_is_meant_that_a_run_of_the_namespace_waits_for(operator: Operator) -> None:
    """Since when it is saturated is in the limit's status: whoever leads next goes on counting from there."""
    automate(operator, trigger=SATURATED, actions=[TELL])
    operator.cluster.put(
        CONCURRENCY_LIMITS,
        {
            "apiVersion": "headrace.dev/v1alpha1",
            "kind": "ConcurrencyLimit",
            "metadata": {"name": "db", "generation": 1},
            "spec": {"slots": 0},
        },
    )
    operator.intake.limit_seen(limit(operator))
    operator.apply(FLOWS, "limited", {**INLINE, "limits": [{"name": "db"}]}, uid="g")
    operator.apply(FLOW_RUNS, "waits", {"flowRef": {"name": "limited"}}, creationTimestamp=stamp(NOW))
    await operator.rests()
    await operator.what_is_delayed()
    assert limit(operator)["status"]["saturatedSince"] == stamp(NOW)
    operator.now += timedelta(seconds=60)
    await operator.what_is_delayed()
    assert len(firings(operator)) == 1


def limit(operator: Operator) -> dict[str, Any]:
    found = operator.cluster.find(CONCURRENCY_LIMITS, "", "db")
    assert found is not None
    return found


async def test_an_operator_that_reads_no_limits_says_so(operator: Operator) -> None:
    """It serves single namespaces."""
    settings = Settings(namespace=NAMESPACE, cluster_objects="ignore")
    object.__setattr__(operator.context, "settings", settings)
    automate(operator, trigger=SATURATED, actions=[TELL])
    await operator.rests()
    (ready,) = stored(operator)["status"]["conditions"]
    assert (ready["reason"], "reads no ConcurrencyLimits" in ready["message"]) == ("InvalidSpec", True)


def kubernetes_event(name: str, after_s: float = 1, count: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "e", "namespace": NAMESPACE, "uid": f"about-{name}"},
        "type": "Warning",
        "reason": "BackOff",
        "count": count,
        "lastTimestamp": stamp(NOW + timedelta(seconds=after_s)),
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": name},
        **fields,
    }


def tell(operator: Operator, event: dict[str, Any], after_s: float = 1) -> None:
    operator.intake.automations.kubernetes_event_seen(told_from(event, NOW + timedelta(seconds=after_s)))


async def test_an_event_that_is_counted_on_fires_once_in_a_window(operator: Operator) -> None:
    """For each object and reason."""
    automate(operator, trigger={"kubernetesEvent": {"kinds": ["Pod"]}}, actions=[TELL])
    await operator.rests()
    for count in range(1, 20):
        for name in ("shop", "mail"):
            tell(operator, kubernetes_event(name, count, count), count)
        await operator.rests()
    assert sorted(firings(operator)) == ["Pod mail: BackOff", "Pod shop: BackOff"]


async def test_events_from_before_the_automation_was_made_are_none(operator: Operator) -> None:
    """A watch begins with a list of the last hour."""
    automate(operator, trigger={"kubernetesEvent": {}}, actions=[TELL])
    tell(operator, kubernetes_event("old", -60), -60)
    tell(operator, kubernetes_event("new"))
    await operator.rests()
    assert firings(operator) == ["Pod new: BackOff"]


async def test_a_run_that_the_automation_started_is_no_event_for_it(operator: Operator) -> None:
    """Nor is its pod."""
    automate(operator, trigger={"kubernetesEvent": {}}, actions=[TELL])
    await operator.rests()
    labels = {"headrace.dev/automation": "auto"}
    operator.apply(FLOW_RUNS, "own", {"flowRef": {"name": "etl"}}, labels=labels, creationTimestamp=stamp(NOW))
    await operator.rests()
    own = {"apiVersion": "headrace.dev/v1alpha1", "kind": "FlowRun", "name": "own"}
    tell(operator, kubernetes_event("own", involvedObject=own))
    tell(operator, kubernetes_event("own-1"))
    await operator.rests()
    assert firings(operator) == []
