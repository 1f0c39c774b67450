"""Any valid object becomes JSON that its schema accepts, with no field that the API server would drop, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator, FormatChecker

from headrace.api.common import CustomResource
from headrace.api.crd import KINDS, custom_resource_definition
from headrace.api.structural import Schema
from tests.unit.headrace.api.strategies import OBJECTS


def closed(node: Schema) -> Schema:
    """The schema with unknown fields refused, where the API server would drop them without a word."""
    copy: dict[str, Any] = dict(node)
    if "properties" in copy:
        copy["properties"] = {name: closed(child) for name, child in copy["properties"].items()}
        copy["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(copy.get(key), dict):
            copy[key] = closed(copy[key])
    return copy


def validator(kind: type[CustomResource]) -> Draft202012Validator:
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    return Draft202012Validator(closed(version["schema"]["openAPIV3Schema"]), format_checker=FormatChecker())


VALIDATORS = {kind: validator(kind) for kind in KINDS}


@given(OBJECTS)
@settings(max_examples=150, deadline=None)
def test_a_valid_object_is_accepted_by_its_schema_and_reads_back_as_itself(made):
    sent = json.loads(json.dumps(made.to_api()))

    VALIDATORS[type(made)].validate(sent)

    assert type(made).model_validate(sent) == made


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"entrypoint": "a:b", "cancle": True}, "cancle"),
        ({"entrypoint": 7}, "7 is not of type 'string'"),
        ({"entrypoint": "a:b", "retries": {"limit": 101}}, "101 is greater than the maximum of 100"),
        ({"entrypoint": "a:b", "resources": {"limits": {"cpu": "lots"}}}, "does not match"),
    ],
)
def test_the_schema_of_these_tests_refuses_what_the_api_server_would(spec, refused):
    """Guards the test above: a schema that takes everything would prove nothing."""
    flow = next(kind for kind in KINDS if kind.resource.kind == "Flow")
    problems = [error.message for error in VALIDATORS[flow].iter_errors({"metadata": {}, "spec": spec})]
    assert any(refused in problem for problem in problems), problems
