"""The proofs from the audit log find what they look for, in lines as the API server writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from tests.cluster.support import violations
from tests.cluster.support.audit import Request, SlotState, ordered
from tests.cluster.support.violations import Pod, Waking

BEGAN = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
BEGAN_MS = int(BEGAN.timestamp() * 1000)


class Log:
    """Writes an audit log by hand; each write a second after the one before, unless told otherwise."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.version = 100
        self.at = BEGAN

    def requests(self) -> list[Request]:
        """As they are read from the lines, the last of which comes first."""
        return ordered(reversed(self.lines))

    def write(
        self, verb: str, resource: str, name: str, after: dict[str, Any], *, by: str = "tests", asked: Any = None
    ) -> None:
        """A write that was answered with the object in its new version."""
        self.version += 1
        after.setdefault("metadata", {}).update(name=name, resourceVersion=str(self.version))
        after["metadata"].setdefault("uid", f"uid-{name}")
        self.line(verb, resource, name, 200, after, by=by, asked=asked)

    def line(
        self,
        verb: str,
        resource: str,
        name: str,
        code: int,
        answer: dict[str, Any],
        *,
        by: str = "tests",
        asked: Any = None,
    ) -> None:
        """A line, with any answer."""
        self.at += timedelta(seconds=1)
        resource, _, subresource = resource.partition("/")
        target = {"resource": resource, "subresource": subresource, "namespace": "team-a", "name": name}
        entry = {
            "stage": "ResponseComplete",
            "verb": verb,
            "userAgent": by,
            "objectRef": {key: value for key, value in target.items() if value},
            "responseStatus": {"code": code},
            "requestObject": asked,
            "responseObject": answer,
            "requestReceivedTimestamp": (self.at - timedelta(seconds=0.1)).isoformat(),
            "stageTimestamp": self.at.isoformat(),
        }
        self.lines.append(json.dumps(entry).encode() + b"\n")

    def limit(self, name: str, slots: int | None, rate: dict[str, int] | None = None) -> None:
        spec = {"slots": slots, **({"rate": rate} if rate else {})}
        self.write("update", "concurrencylimits", name, {"apiVersion": API_VERSION, "spec": spec})

    def slot(self, index: int, holder: str = "", *, limit: str = "db", base: int = 0) -> None:
        """A slot as a write left it that rested on the version `base`."""
        labels = {"headrace.dev/concurrency-limit": limit}
        lease = {"metadata": {"labels": labels}, "spec": {"holderIdentity": holder}}
        asked = {"metadata": {"resourceVersion": str(base)}, "spec": {"holderIdentity": holder}}
        self.write("patch", "leases", f"{limit}.slot-{index}", lease, by="headrace-operator/a", asked=asked)

    def take_in_doubt(self, index: int, holder: str, *, took_effect: bool) -> None:
        """Its sender was killed meanwhile."""
        asked = {"metadata": {"resourceVersion": str(self.version)}, "spec": {"holderIdentity": holder}}
        self._in_doubt(index, asked, took_effect=took_effect)

    def give_back_in_doubt(self, index: int, holder: str, *, took_effect: bool) -> None:
        """As `take_in_doubt`; rests on no version, but on the holder."""
        test = {"op": "test", "path": "/spec/holderIdentity", "value": holder}
        asked = [test, {"op": "replace", "path": "/spec", "value": {"leaseTransitions": 1}}]
        self._in_doubt(index, asked, took_effect=took_effect)

    def _in_doubt(self, index: int, asked: Any, *, took_effect: bool) -> None:
        self.version += took_effect
        self.line("patch", "leases", f"db.slot-{index}", 504, {"kind": "Status", "metadata": {}}, asked=asked)

    def slot_deleted(self, index: int, *, limit: str = "db") -> None:
        status = {"kind": "Status", "metadata": {}, "details": {"uid": f"uid-{limit}.slot-{index}"}}
        self.line("delete", "leases", f"{limit}.slot-{index}", 200, status, by="headrace-operator/a")

    def starts(self, *at_s: float, limit: str = "api") -> None:
        noted = ",".join(str(BEGAN_MS + int(s * 1000)) for s in at_s)
        metadata = {"labels": {"headrace.dev/concurrency-limit": limit}, "annotations": {"headrace.dev/starts": noted}}
        self.write("patch", "leases", f"{limit}.rate", {"metadata": metadata})

    def pod(self, name: str, phase: str = "", *, labels: dict[str, str] | None = None, **extra: Any) -> None:
        """The pod `<run>-<attempt>`: created, or in a phase that its node reported."""
        run = name.rpartition("-")[0]
        metadata = {
            "labels": {"headrace.dev/flow-run": run, **(labels or {})},
            "ownerReferences": [{"kind": "FlowRun", "uid": f"uid-{run}"}],
            "finalizers": ["headrace.dev/outcome"],
            **extra,
        }
        verb, resource = ("patch", "pods/status") if phase else ("create", "pods")
        self.write(
            verb, resource, name, {"metadata": metadata, "spec": {"nodeName": "node"}, "status": {"phase": phase}}
        )


@pytest.fixture
def log() -> Log:
    return Log()


def run(name: str) -> str:
    """Who holds a slot for this run."""
    return f"run/team-a/{name}/uid-{name}"


def needs_one(_: Pod) -> dict[str, int]:
    return {"db": 1}


def test_requests_are_ordered_by_resource_version_not_by_line(log: Log) -> None:
    """Lines of requests that were served side by side come in any order."""
    log.pod("etl-1")
    log.pod("etl-1", "Succeeded")
    assert [request.resource for request in log.requests()] == ["pods", "pods/status"]


def test_an_answer_without_a_version_stands_after_what_was_answered_before_it_was_asked(log: Log) -> None:
    log.slot(0, run("a"))
    log.slot_deleted(1)
    log.slot(0)
    assert [r.verb for r in log.requests()] == ["patch", "delete", "patch"]


def test_a_line_that_is_written_right_now_is_left_out() -> None:
    assert ordered([b'{"stage": "Resp']) == []


def test_one_pod_after_the_other_is_fine(log: Log) -> None:
    for name in ("etl-1", "etl-2"):
        log.pod(name, labels={"headrace.dev/flow-run": "etl"})
        log.pod(name, "Failed", labels={"headrace.dev/flow-run": "etl"})
    assert violations.two_pods_at_once(log.requests()) == []


def test_a_second_pod_before_the_first_has_ended_is_found(log: Log) -> None:
    log.pod("etl-1")
    log.pod("etl-2")
    log.pod("etl-1", "Failed")
    assert len(violations.two_pods_at_once(log.requests())) == 1


def test_a_pod_that_was_deleted_before_it_was_bound_has_ended(log: Log) -> None:
    log.pod("etl-1")
    log.write("delete", "pods", "etl-1", _deleted("etl-1", {}))
    log.pod("etl-2")
    assert violations.two_pods_at_once(log.requests()) == []


def test_a_pod_that_is_being_deleted_on_its_node_has_not_ended(log: Log) -> None:
    log.pod("etl-1")
    log.write("delete", "pods", "etl-1", _deleted("etl-1", {"nodeName": "node"}))
    log.pod("etl-2")
    assert len(violations.two_pods_at_once(log.requests())) == 1


def _deleted(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {"headrace.dev/flow-run": name.rpartition("-")[0]},
            "deletionTimestamp": "2026-03-04T12:00:00Z",
            "deletionGracePeriodSeconds": 30 if spec else 0,
            "finalizers": ["headrace.dev/outcome"],
        },
        "spec": spec,
    }


def test_a_slot_is_held_by_one_after_the_other(log: Log) -> None:
    log.limit("db", 1)
    for holder in ("", run("a"), "", run("b"), ""):
        log.slot(0, holder)
    assert violations.too_many_slots(log.requests(), grace_s=0) == []


def test_a_slot_may_be_handed_on_by_a_run_whose_pods_have_ended(log: Log) -> None:
    log.limit("db", 1)
    log.slot(0, run("a"))
    log.pod("a-1")
    log.pod("a-1", "Succeeded")
    log.slot(0, run("b"))
    assert violations.too_many_slots(log.requests(), grace_s=0) == []


@pytest.mark.parametrize(
    ("story", "sentence"),
    [
        (lambda log: (log.slot(0, run("a")), log.slot(0, run("b"))), "was taken from"),
        (lambda log: (log.slot(0, run("a")), log.pod("a-1"), log.slot(0, run("b"))), "was taken from"),
        (lambda log: (log.slot(0, run("a")), log.slot(1, run("b"))), "is number 2 of 1"),
        (lambda log: (log.limit("db", 0), log.slot(0, run("a"))), "is number 1 of 0"),
        (
            lambda log: (
                log.slot(0, run("a")),
                log.pod("a-1"),
                log.pod("a-1", "Succeeded"),
                log.limit("db", 0),
                log.slot(0, run("b")),
            ),
            "is number 1 of 0",
        ),
    ],
    ids=[
        "taken from its holder",
        "taken from a run whose pod lives",
        "more slots than the limit has",
        "after the limit was closed",
        "handed on after the limit was closed",
    ],
)
def test_a_slot_that_is_not_to_be_had_is_found(log: Log, story: Callable[[Log], object], sentence: str) -> None:
    log.limit("db", 1)
    story(log)
    (found,) = violations.too_many_slots(log.requests(), grace_s=0)
    assert sentence in found


def test_slots_that_are_held_when_a_limit_shrinks_are_held_on(log: Log) -> None:
    """Only what is taken afterwards counts, and not within the grace."""
    log.limit("db", 2)
    log.slot(0, run("a"))
    log.slot(1, run("b"))
    log.limit("db", 1)
    log.slot(1)
    log.slot(1, run("c"))
    assert violations.too_many_slots(log.requests(), grace_s=5) == []
    assert len(violations.too_many_slots(log.requests(), grace_s=1)) == 1


def test_a_run_that_holds_its_slots_while_its_pod_lives_is_fine(log: Log) -> None:
    log.slot(0, run("etl"))
    log.pod("etl-1")
    log.pod("etl-1", "Succeeded")
    log.slot(0)
    assert violations.pods_without_slots(log.requests(), needs_one) == []


@pytest.mark.parametrize(
    "story",
    [
        lambda log: (log.pod("etl-1"), log.slot(0, run("etl"))),
        lambda log: (log.slot(0, run("etl")), log.pod("etl-1"), log.slot(0), log.pod("etl-1", "Succeeded")),
        lambda log: (log.slot(0, run("etl")), log.pod("etl-1"), log.slot_deleted(0), log.pod("etl-1", "Succeeded")),
        lambda log: (log.slot(0, run("other")), log.pod("etl-1")),
        lambda log: (log.slot(0, run("etl"), limit="other"), log.pod("etl-1")),
    ],
    ids=[
        "taken after the pod began",
        "given back before the pod ended",
        "deleted before the pod ended",
        "held by another",
        "of another limit",
    ],
)
def test_a_pod_whose_run_holds_no_slot_is_found(log: Log, story: Callable[[Log], object]) -> None:
    story(log)
    assert len(violations.pods_without_slots(log.requests(), needs_one)) == 1


def test_a_deployment_has_as_many_active_runs_as_it_allows(log: Log) -> None:
    """Active is from the first pod to the end of the last, waits between attempts included."""
    labels = {"headrace.dev/deployment": "daily"}
    log.write("create", "deployments", "daily", {"apiVersion": API_VERSION, "spec": {"concurrency": {"limit": 1}}})
    log.pod("a-1", labels=labels)
    log.pod("a-1", "Failed", labels=labels)
    log.pod("b-1", labels=labels)
    log.pod("b-1", "Succeeded", labels=labels)
    assert violations.too_many_runs_of_deployments(log.requests(), grace_s=0) == []
    log.pod("a-2", labels={**labels, "headrace.dev/flow-run": "a"})
    (found,) = violations.too_many_runs_of_deployments(log.requests(), grace_s=0)
    assert "number 2 of 1" in found


def test_a_namespace_has_as_many_active_runs_as_its_quota(log: Log) -> None:
    log.pod("a-1")
    log.pod("b-1")
    assert violations.too_many_runs_of_namespaces(log.requests(), {"team-a": 2, "team-b": 0}) == []
    assert len(violations.too_many_runs_of_namespaces(log.requests(), {"team-a": 1})) == 1


def test_a_pool_takes_as_many_pods_as_it_allows(log: Log) -> None:
    log.write("create", "workpools", "spot", {"apiVersion": API_VERSION, "spec": {"capacity": {"runs": 1}}})
    _strip_namespace(log)
    log.pod("a-1", labels={"headrace.dev/pool": "spot"})
    log.pod("a-1", "Failed", labels={"headrace.dev/pool": "spot"})
    log.pod("b-1", labels={"headrace.dev/pool": "spot"})
    assert violations.too_many_runs_in_pools(log.requests(), grace_s=0) == []
    log.pod("c-1", labels={"headrace.dev/pool": "spot"})
    assert len(violations.too_many_runs_in_pools(log.requests(), grace_s=0)) == 1


def _strip_namespace(log: Log) -> None:
    """The last line is about an object of the cluster."""
    entry = json.loads(log.lines[-1])
    del entry["objectRef"]["namespace"]
    log.lines[-1] = json.dumps(entry).encode() + b"\n"


def rated(_: Pod) -> tuple[str]:
    return ("api",)


def test_starts_within_the_rate_are_fine(log: Log) -> None:
    log.limit("api", None, {"count": 2, "perSeconds": 2})
    log.starts(1)
    log.starts(1, 2)
    log.starts(2, 3)
    log.pod("a-1")
    log.pod("b-1")
    log.pod("c-1")
    assert violations.too_many_starts(log.requests(), rated) == []


@pytest.mark.parametrize(
    ("story", "sentence"),
    [
        (lambda log: (log.starts(1), log.starts(1, 2), log.starts(1, 2, 2.9)), "3 starts within 1.9 s"),
        (lambda log: (log.starts(1, 1, 1),), "3 starts within 0 s"),
        (lambda log: (log.starts(60),), "was noted for"),
        (lambda log: (log.starts(1), log.pod("a-1"), log.pod("b-1")), "run team-a/b is start 2"),
    ],
    ids=["too close", "at one instant", "noted for another time", "not noted"],
)
def test_a_start_beyond_the_rate_is_found(log: Log, story: Callable[[Log], object], sentence: str) -> None:
    log.limit("api", None, {"count": 2, "perSeconds": 2})
    story(log)
    (found,) = violations.too_many_starts(log.requests(), rated)
    assert sentence in found


def test_attempts_of_one_run_need_one_start(log: Log) -> None:
    log.starts(1)
    log.pod("a-1")
    log.pod("a-2")
    assert violations.too_many_starts(log.requests(), rated) == []


def test_writes_of_an_operator_that_does_not_lead_are_found(log: Log) -> None:
    """What it tries in vain does not count, nor what others write."""
    for leader in ("a", "b"):
        log.write(
            "update",
            "leases",
            "headrace-operator.team-a",
            {"spec": {"holderIdentity": leader}},
            by=f"headrace-operator/{leader}",
        )
        log.write("patch", "flowruns/status", "etl", {}, by=f"headrace-operator/{leader}")
    log.line("patch", "flowruns/status", "etl", 409, {"kind": "Status"}, by="headrace-operator/a")
    log.write("patch", "pods/status", "etl-1", {})
    assert violations.written_while_deposed(log.requests()) == []
    log.write("patch", "flowruns/status", "etl", {}, by="headrace-operator/a")
    (found,) = violations.written_while_deposed(log.requests())
    assert "a wrote" in found
    assert "while b led" in found


def test_what_was_on_its_way_out_of_a_stopped_operator_leaves_when_it_wakes(log: Log) -> None:
    """Nothing later, and nothing of another one."""
    log.write("update", "leases", "headrace-operator", {"spec": {"holderIdentity": "b"}}, by="headrace-operator/b")
    log.write("patch", "flowruns/status", "etl", {}, by="headrace-operator/a")
    wrote_at_s = log.at.timestamp()
    for waking in (Waking("a", wrote_at_s - 5), Waking("a", wrote_at_s + 1), Waking("b", wrote_at_s - 0.2)):
        assert len(violations.written_while_deposed(log.requests(), [waking])) == 1
    assert violations.written_while_deposed(log.requests(), [Waking("a", wrote_at_s - 0.2)]) == []


def test_a_slot_that_is_noted_on_is_held_on(log: Log) -> None:
    """A write that changes something else than the holder."""
    log.slot(0, run("etl"))
    log.pod("etl-1")
    log.slot(0, run("etl"))
    log.pod("etl-1", "Succeeded")
    assert violations.pods_without_slots(log.requests(), needs_one) == []


def test_a_take_whose_answer_was_lost_is_found_by_what_rests_on_it(log: Log) -> None:
    """Its line says that it failed; the slot is given back from the version that it made."""
    log.slot(0)
    log.take_in_doubt(0, run("etl"), took_effect=True)
    taken = log.version
    log.pod("etl-1")
    log.pod("etl-1", "Succeeded")
    log.slot(0, base=taken)
    assert violations.pods_without_slots(log.requests(), needs_one) == []
    assert [r.order for r in log.requests() if r.name == "db.slot-0" and r.took_effect] == [101, 102, 105]


def test_a_take_that_failed_holds_no_slot(log: Log) -> None:
    log.slot(0)
    free = log.version
    log.take_in_doubt(0, run("etl"), took_effect=False)
    log.pod("etl-1")
    log.slot(0, run("other"), base=free)
    assert len(violations.pods_without_slots(log.requests(), needs_one)) == 1


def test_a_giving_back_whose_answer_was_lost_is_found_by_what_rests_on_it(log: Log) -> None:
    """The next holder took it from nobody."""
    log.limit("db", 1)
    log.slot(0, run("a"))
    log.give_back_in_doubt(0, run("a"), took_effect=True)
    log.slot(0, run("b"), base=log.version)
    assert violations.too_many_slots(log.requests(), grace_s=0) == []


def test_writes_in_doubt_follow_each_other(log: Log) -> None:
    """Given back and taken again, both without an answer."""
    log.slot(0, run("a"))
    log.give_back_in_doubt(0, run("a"), took_effect=True)
    log.take_in_doubt(0, run("b"), took_effect=True)
    log.slot(0, base=log.version)
    assert violations.too_many_slots(log.requests(), grace_s=0) == []
    holders = [r.state.holder for r in log.requests() if isinstance(r.state, SlotState)]
    assert holders == [run("a"), "", run("b"), ""]


def test_a_giving_back_that_failed_frees_nothing(log: Log) -> None:
    log.slot(0, run("a"))
    held = log.version
    log.give_back_in_doubt(0, run("a"), took_effect=False)
    log.slot(0, run("b"), base=held)
    assert len(violations.too_many_slots(log.requests(), grace_s=0)) == 1
