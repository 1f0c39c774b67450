"""What a run is started with, and what it is told when that breaks the Flow's schema."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from pydantic import SecretStr

from headrace.parameters import Parameters
from headrace_operator.decide.flow import flow_problem
from headrace_operator.decide.parameters import MAX_BYTES, effective_parameters, parameter_problem
from headrace_operator.decide.snapshot import RunStatus
from tests.builders import a_deployment, a_flow, a_run

ADVICE = " Mend the parameters and create a new FlowRun (Flow etl, spec.parameters.schema says what is expected)"


def problem(schema: dict[str, Any], **parameters: Any) -> str | None:
    return parameter_problem(parameters, a_flow(parameters={"schema": schema}))


def test_the_run_wins_over_the_deployment_and_that_over_the_flow() -> None:
    """Key by key; a value is taken as a whole, null included."""
    flow = a_flow(parameters={"defaults": {"a": "flow", "b": "flow", "c": "flow", "map": {"x": 1}}})
    deployment = a_deployment(parameters={"b": "deployment", "c": "deployment", "map": {"y": 2}})
    run = a_run(parameters={"c": None, "d": "run"})
    merged = {"a": "flow", "b": "deployment", "c": None, "d": "run", "map": {"y": 2}}
    assert effective_parameters(run, flow, deployment) == merged


def test_without_parameters_there_is_an_empty_object() -> None:
    """Nobody gave any."""
    assert effective_parameters(a_run(), a_flow(), None) == {}


@pytest.mark.parametrize(
    ("pinned", "expected"),
    [
        pytest.param(RunStatus(flow_revision="rev1", parameters={"a": 1}), {"a": 1}, id="as the status holds them"),
        pytest.param(RunStatus(flow_revision="rev1"), {"own": True}, id="the run's own, which the status leaves out"),
    ],
)
def test_parameters_stay_as_accepted_whatever_the_deployment_says_later(
    pinned: RunStatus, expected: dict[str, Any]
) -> None:
    """Every attempt of a run gets the same."""
    run = a_run(parameters={"own": True}, status=pinned)
    changed = a_deployment(parameters={"new": "later"})
    assert effective_parameters(run, a_flow(parameters={"defaults": {"also": "later"}}), changed) == expected


def test_parameters_without_a_schema_are_not_checked() -> None:
    """Anything goes."""
    assert parameter_problem({"anything": [1, None]}, a_flow()) is None
    assert parameter_problem({"anything": [1, None]}, a_flow(parameters={"schema": {}})) is None


@pytest.mark.parametrize(
    ("schema", "parameters", "told"),
    [
        pytest.param({"required": ["day"]}, {}, "parameters: 'day' is a required property.", id="one is missing"),
        pytest.param(
            {"properties": {"limit": {"type": "integer"}}},
            {"limit": "many"},
            "parameter \"limit\": 'many' is not of type 'integer'.",
            id="wrong type",
        ),
        pytest.param(
            {"properties": {"tables": {"items": {"properties": {"name": {"type": "string"}}}}}},
            {"tables": [{"name": "a"}, {"name": 2}]},
            "parameter \"tables.1.name\": 2 is not of type 'string'.",
            id="deep inside",
        ),
        pytest.param(
            {"properties": {"day": {"format": "date"}}},
            {"day": "yesterday"},
            "parameter \"day\": 'yesterday' is not a 'date'.",
            id="formats are checked",
        ),
        pytest.param(
            {"properties": {name: {"type": "null"} for name in "abcde"}},
            dict.fromkeys("edcba", 1),
            "parameter \"a\": 1 is not of type 'null'; parameter \"b\": 1 is not of type 'null'; "
            "parameter \"c\": 1 is not of type 'null'; and 2 more.",
            id="the first three of many, in a fixed order",
        ),
    ],
)
def test_a_wrong_parameter_is_named(schema: dict[str, Any], parameters: dict[str, Any], told: str) -> None:
    """Place, value, what was expected, what to do."""
    assert problem(schema, **parameters) == told + ADVICE


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        pytest.param({"$ref": "#/$defs/day"}, 'refers to "/$defs/day", which is not in it', id="to nowhere"),
        pytest.param({"$ref": "#day"}, 'refers to "#day", which is not in it', id="to no anchor"),
        pytest.param({"$ref": "#"}, "refers to itself without end; mend the Flow", id="to itself"),
    ],
)
def test_a_schema_with_a_broken_reference_is_told(schema: dict[str, Any], told: str) -> None:
    """The run ends with a sentence about the Flow; the operator does not stumble."""
    assert told in (problem(schema, a=1) or "")


def test_a_schema_that_asks_for_too_much_work_is_told() -> None:
    """By the run whose parameters show it; by the Flow where the schema itself does."""
    assert problem({"properties": {"a": {"items": {"allOf": [{}] * 500}}}}, a=[1] * 18_000) == (
        "Flow etl: spec.parameters.schema: it takes too much work to apply; "
        "write a simpler one, or pass the URL of a large input instead of the input"
    )
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"items": deep}
    for schema, told in [({"allOf": [{}] * 100_000}, "too much work"), (deep, "nests too deep")]:
        assert told in (flow_problem(a_flow(parameters={"schema": schema}).spec, None) or "")


def test_a_reference_to_a_url_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator connects to nobody whom a Flow names."""
    fetched: list[object] = []
    monkeypatch.setattr(urllib.request, "urlopen", fetched.append)
    url = "http://metadata.example/schema.json"
    told = problem({"properties": {"a": {"$ref": url}}}, a=1)
    assert told == f'Flow etl: spec.parameters.schema refers to "{url}", which is not in it; inline it under $defs'
    assert fetched == []


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        pytest.param(
            {"properties": {"a": {"type": "strnig"}}},
            "spec.parameters.schema.properties.a.type: 'strnig' is not valid under any of the given schemas; "
            "it must be a JSON Schema",
            id="unknown type",
        ),
        pytest.param(
            {"properties": {"a": {"pattern": "("}}},
            "spec.parameters.schema.properties.a.pattern: '(' is not a 'regex'; it must be a JSON Schema",
            id="pattern that is no regular expression",
        ),
        pytest.param(
            {"$schema": 7},
            "spec.parameters.schema.$schema: 7 is no URL of a JSON Schema draft; leave it out for the latest",
            id="draft that is no URL",
        ),
    ],
)
def test_what_is_no_json_schema_is_told_at_the_flow_and_at_its_runs(schema: dict[str, Any], told: str) -> None:
    """The same sentence; at a run with the Flow's name before it."""
    flow = a_flow(parameters={"schema": schema})
    assert flow_problem(flow.spec, None) == told
    assert parameter_problem({"a": 1}, flow) == f"Flow etl: {told}"


def test_a_schema_over_which_the_library_stumbles_is_told() -> None:
    """A construct of an old draft that it only half knows ends the run with a sentence."""
    old = {
        "$schema": "http://json-schema.org/draft-03/schema#",
        "properties": {"a": {"extends": {"$ref": "http://x/"}}},
    }
    assert "spec.parameters.schema cannot be applied" in (problem(old, a=1) or "")


def test_parameters_that_fit_no_environment_variable_are_refused() -> None:
    """The largest that fit pass; one byte more says what to do instead."""
    overhead = len(json.dumps({"a": ""}, separators=(",", ":")))
    assert parameter_problem({"a": "x" * (MAX_BYTES - overhead)}, a_flow()) is None
    assert parameter_problem({"a": "x" * (MAX_BYTES - overhead + 1)}, a_flow()) == (
        "parameters are 98,305 bytes of JSON; at most 98,304 reach a pod: "
        "pass the URL of a large input instead of the input"
    )


def test_a_secret_parameter_takes_the_name_of_a_secret_and_is_never_told() -> None:
    """As the SDK writes the schema of one."""
    schema = Parameters("etl", logs_in).schema()
    name = {"secretRef": {"name": "postgres", "key": "password"}}
    assert problem(schema, password=name, tokens=[name, "hunter2"]) is None
    told = problem(schema, password={"secretRef": {"name": "hunter2"}}, tokens=[12345678])
    assert told is not None
    assert 'parameter "password": its value is secret and breaks the schema' in told
    assert 'parameter "tokens.0": its value is secret' in told
    assert "hunter2" not in told
    assert "12345678" not in told


def logs_in(password: SecretStr, tokens: list[SecretStr]) -> None: ...


def test_parameters_that_nest_too_deep_are_refused():
    """Before anything that recurses looks at them."""

    def nested(levels):
        value = 1
        for _ in range(levels - 1):
            value = [value]
        return {"a": value}

    assert parameter_problem(nested(100), a_flow()) is None
    assert parameter_problem(nested(3_000), a_flow()) == (
        "parameters nest at least 3000 levels deep; at most 100 reach a pod: "
        "pass the URL of a deep input instead of the input"
    )
