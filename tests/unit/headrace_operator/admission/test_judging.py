"""What authors are told about objects: refused is what can never work, a warning is what may come right by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from headrace.kubeapi.errors import NotFound, Unreachable
from headrace_operator.admission.judging import judge
from headrace_operator.admission.review import Review, Verdict
from headrace_operator.kube.resources import Resource

Spec = Mapping[str, Any]
SCHEMA = {"type": "object", "properties": {"day": {"type": "string"}, "size": {"type": "integer"}}, "required": ["day"]}
FLOW = {"entrypoint": "etl:main", "parameters": {"schema": SCHEMA, "defaults": {"size": 3}}}
DEPLOYMENT = {"flowRef": {"name": "etl"}, "parameters": {"day": "today"}}


class Api:
    """Holds specs by plural and name; `asked` are the paths that were read."""

    def __init__(self, **held: Spec) -> None:
        self._held = held
        self.asked: list[str] = []

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self.asked.append(resource.path(namespace, name))
        if f"{resource.plural}_{name}" not in self._held:
            raise NotFound(404, "NotFound", name)
        return {"spec": self._held[f"{resource.plural}_{name}"]}

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        raise AssertionError("nothing is listed for a review")


class BrokenApi(Api):
    """Cannot be reached."""

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        raise Unreachable(0, "Unreachable", "refused")


async def told(kind: str, spec: Spec, api: Api | None = None, old: Spec | None = None) -> Verdict:
    return await judge(Review("1", kind, "team-a", "it", "alice", spec, old), api or Api())


def a_run(**spec: Any) -> Spec:
    return {"flowRef": {"name": "etl"}, **spec}


def inline(entrypoint: str, **files: str) -> Spec:
    return {
        "entrypoint": entrypoint,
        "source": {"inline": {"files": {f"{name}.py": code for name, code in files.items()}}},
    }


def schedules(**schedule: Any) -> Spec:
    return {**DEPLOYMENT, "schedules": [{"name": "daily", **schedule}]}


def over(**partitions: Any) -> Spec:
    return {"deploymentRef": {"name": "daily"}, "partitions": partitions}


def triggers(*found: Any) -> Spec:
    return {**DEPLOYMENT, "triggers": [{"name": "after", **each} for each in found]}


def acting(**spec: Any) -> Spec:
    start = {"name": "go", "start": {"deployment": "daily"}}
    return {"trigger": ON_SUCCESS, "actions": [start], **spec}


ON_SUCCESS = {"run": {"phases": ["Succeeded"], "deployments": ["extract"]}}
RANGE = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "cron": "@daily"}


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        pytest.param(
            "Flow",
            {"entrypoint": "a:b", "parameters": {"schema": {"type": 7}}},
            "spec.parameters.schema.type",
            id="a schema that is none",
        ),
        pytest.param(
            "Flow", inline("etl:main", etl="def other(): ..."), 'names "main"', id="inline code without the function"
        ),
        pytest.param(
            "Flow", inline("etl.py:main", etl="domain = maintain()"), 'names "main"', id="the name within other names"
        ),
        pytest.param(
            "Deployment", schedules(cron="61 * * * *"), 'spec.schedules[0] "daily": ', id="a minute that there is not"
        ),
        pytest.param("Deployment", schedules(cron="0 0 31 2 *"), "spec.schedules[0]", id="a day that never comes"),
        pytest.param(
            "Deployment",
            schedules(cron="@daily", timeZone="Europe/Londn"),
            "Europe/London",
            id="a zone that there is not",
        ),
        pytest.param(
            "Deployment", schedules(rrule="FREQ=DAILY;BYFOO=1"), "spec.schedules[0]", id="a broken recurrence rule"
        ),
        pytest.param(
            "Backfill",
            over(range={**RANGE, "to": RANGE["from"]}),
            "spec.partitions.range.to",
            id="a range without an inside",
        ),
        pytest.param(
            "Backfill",
            {**over(range=RANGE), "window": {"from": "22:00", "to": "06:00", "timeZone": "Mars/Base"}},
            "spec.window.timeZone",
            id="a window in no zone",
        ),
        pytest.param(
            "Automation",
            acting(filter="event.run.name =="),
            '"event.run.name ==" is no expression',
            id="a broken filter",
        ),
        pytest.param("Automation", acting(groupBy=["1 +"]), '"1 +" is no expression', id="a broken group"),
        pytest.param(
            "Automation",
            acting(actions=[{"name": "tell", "event": {"message": "{{ a b }}"}}]),
            "is no expression",
            id="a broken template",
        ),
        pytest.param(
            "Automation",
            acting(actions=[{"name": "tell", "event": {"message": "{{ event.x }}" * 257}}]),
            "have 257 templates",
            id="too many templates",
        ),
        pytest.param(
            "Deployment",
            triggers({**ON_SUCCESS, "filter": "event.run.name =="}),
            'spec.triggers[0] "after": "event.run.name ==" is no expression',
            id="a trigger with a broken filter",
        ),
        pytest.param(
            "Deployment",
            triggers({**ON_SUCCESS, "parameters": {"run": "{{ event.run. }}"}}),
            'spec.triggers[0] "after"',
            id="a trigger with a broken template",
        ),
    ],
)
async def test_what_can_never_work_is_refused(kind: str, spec: Spec, expected: str):
    """Without a look at anything else."""
    api = Api()

    verdict = await told(kind, spec, api)

    assert expected in str(verdict.problem)
    assert api.asked == []


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        pytest.param("Flow", inline("etl:main", etl="async def main(): ..."), id="the function is there"),
        pytest.param("Flow", inline("etl:main", etl="from lib import *"), id="it may come from a star"),
        pytest.param("Flow", inline("lib:main", etl="x = 1"), id="the module may be in the image"),
        pytest.param("Flow", inline("etl:main", etl="from lib import main"), id="it is imported"),
        pytest.param("Deployment", schedules(cron="0 7 * * 1-5", timeZone="Europe/London"), id="a good schedule"),
        pytest.param("Backfill", over(range=RANGE), id="a good range"),
        pytest.param("Automation", acting(filter="has(event.run.result)"), id="a good automation"),
        pytest.param(
            "Deployment", triggers({**ON_SUCCESS, "parameters": {"day": "{{ event.run.name }}"}}), id="a good trigger"
        ),
        pytest.param(
            "Deployment", triggers({"run": {"phases": ["Failed"], "deployments": ["it"]}}), id="a trigger on itself"
        ),
        pytest.param("Flow", {"entrypoint": "etl:main", "fieldOfTomorrow": 1}, id="a field of a newer definition"),
    ],
)
async def test_what_may_work_passes(kind: str, spec: Spec):
    """In doubt nobody is kept from anything."""
    api = Api(flows_etl=FLOW, deployments_daily=DEPLOYMENT, deployments_extract=DEPLOYMENT)

    assert await told(kind, spec, api) == Verdict()


async def test_a_problem_that_is_stored_already_is_a_warning():
    """Whoever suspends a broken Deployment must not be kept from it."""
    broken = schedules(cron="61 * * * *")

    verdict = await told("Deployment", {**broken, "suspend": True}, old=broken)

    assert verdict.problem is None
    assert "61" in verdict.warnings[0]


async def test_another_problem_than_the_stored_one_is_refused():
    """Broken in a new way is not what was there."""
    verdict = await told("Deployment", schedules(cron="62 * * * *"), old=schedules(cron="61 * * * *"))

    assert verdict.problem is not None


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(a_run(parameters={}), "'day' is a required property", id="a parameter is missing"),
        pytest.param(a_run(parameters={"day": 7}), 'parameter "day"', id="a parameter of another type"),
        pytest.param(
            {"deploymentRef": {"name": "daily"}, "parameters": {"size": "x"}},
            'parameter "size"',
            id="over a Deployment's",
        ),
    ],
)
async def test_a_run_with_wrong_parameters_is_refused(spec: Spec, expected: str):
    """It could only fail: they cannot be changed any more."""
    verdict = await told("FlowRun", spec, Api(flows_etl=FLOW, deployments_daily=DEPLOYMENT))

    assert expected in str(verdict.problem)


async def test_parameters_that_nest_too_deep_are_refused():
    """As the operator does."""
    deep: Any = 1
    for _ in range(150):
        deep = [deep]

    verdict = await told("FlowRun", a_run(parameters={"day": deep}), Api(flows_etl=FLOW))

    assert "levels deep" in str(verdict.problem)


async def test_a_secret_value_is_not_told():
    """Neither to the author's terminal nor to the log."""
    schema = {"properties": {"token": {"type": "integer", "writeOnly": True}}}
    flow = {**FLOW, "parameters": {"schema": schema}}

    verdict = await told("FlowRun", a_run(parameters={"token": "hunter2"}), Api(flows_etl=flow))

    assert "token" in str(verdict.problem)
    assert "hunter2" not in str(verdict.problem)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(a_run(parameters={"day": "x"}), id="of a Flow"),
        pytest.param({"deploymentRef": {"name": "daily"}}, id="of a Deployment, whose parameters it needs"),
        pytest.param(
            {"flowRef": {"name": "etl", "revision": "abc"}, "parameters": {}},
            id="of a revision, with a schema of its own",
        ),
    ],
)
async def test_a_run_with_good_parameters_passes(spec: Spec):
    """Layer over layer: Flow, Deployment, run."""
    assert await told("FlowRun", spec, Api(flows_etl=FLOW, deployments_daily=DEPLOYMENT)) == Verdict()


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        pytest.param("FlowRun", a_run(), 'Flow "etl" does not exist in namespace "team-a"', id="a run's Flow"),
        pytest.param(
            "FlowRun", {"deploymentRef": {"name": "d"}}, 'Deployment "d" does not exist', id="a run's Deployment"
        ),
        pytest.param("Deployment", DEPLOYMENT, 'Flow "etl" does not exist', id="a Deployment's Flow"),
        pytest.param("Backfill", over(range=RANGE), 'Deployment "daily" does not exist', id="a Backfill's Deployment"),
        pytest.param(
            "Flow", {**FLOW, "limits": [{"name": "db"}]}, 'ConcurrencyLimit "db" does not exist', id="a limit"
        ),
        pytest.param(
            "Deployment", triggers(ON_SUCCESS), 'Deployment "extract" does not exist', id="what a trigger waits for"
        ),
        pytest.param(
            "Automation",
            acting(trigger={"longRun": {"afterSeconds": 60, "flows": ["train"]}}),
            'spec.trigger.longRun.flows: Flow "train" does not exist',
            id="what an automation waits for",
        ),
        pytest.param(
            "Automation", acting(), 'spec.actions[0].start.deployment: Deployment "daily"', id="what it starts"
        ),
        pytest.param(
            "Automation",
            acting(actions=[{"name": "stop", "deployment": {"name": "daily", "set": "Suspend"}}]),
            'spec.actions[0].deployment.name: Deployment "daily"',
            id="what it suspends",
        ),
        pytest.param("Flow", {**FLOW, "pools": {"names": ["gpu"]}}, 'WorkPool "gpu" does not exist', id="a pool"),
    ],
)
async def test_what_does_not_exist_yet_is_a_warning(kind: str, spec: Spec, expected: str):
    """GitOps applies objects in any order."""
    verdict = await told(kind, spec)

    assert verdict.problem is None
    assert any(expected in warning for warning in verdict.warnings)


async def test_parameters_of_a_deployment_that_break_the_schema_are_a_warning():
    """The Flow may be changed by the same commit, and applied after it."""
    verdict = await told("Deployment", {**DEPLOYMENT, "parameters": {"size": "x"}}, Api(flows_etl=FLOW))

    assert verdict.problem is None
    assert 'parameter "size"' in verdict.warnings[0]


async def test_a_deployment_need_not_give_all_parameters():
    """A run may give them; runs of a schedule have nobody else who would."""
    api = Api(flows_etl=FLOW)

    assert await told("Deployment", {"flowRef": {"name": "etl"}}, api) == Verdict()
    verdict = await told("Deployment", {**schedules(cron="@daily"), "parameters": {}}, api)
    assert 'runs of schedule "daily" will fail' in verdict.warnings[0]


async def test_defaults_that_break_their_own_schema_are_a_warning():
    """Every run that does not give another value would fail."""
    flow = {**FLOW, "parameters": {"schema": SCHEMA, "defaults": {"size": "x"}}}

    assert "spec.parameters.defaults" in (await told("Flow", flow)).warnings[0]


async def test_an_api_that_cannot_be_reached_keeps_nobody_from_anything():
    """The operator looks at it again."""
    assert await told("FlowRun", a_run(parameters={"day": 7}), BrokenApi()) == Verdict()


@pytest.mark.parametrize("name", ["../../../v1/secrets", "a/b", "", "A", "x" * 300, "a?watch=true"])
async def test_a_name_that_none_can_have_is_not_looked_up(name: str):
    """It would lead to another path of the API."""
    api = Api()

    verdict = await told("FlowRun", {"flowRef": {"name": name}}, api)

    assert api.asked == []
    assert verdict.problem is None
