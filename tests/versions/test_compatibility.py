"""Nothing in today's definitions breaks what the last release stored, and the checker sees what would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from headrace.api.crd import KINDS, custom_resource_definitions
from tests.versions.baseline import FOLDER, bare, stored
from tests.versions.compatibility import breaks

Definition = dict[str, Any]

CORPUS = FOLDER.parent / "v1alpha1"
BASELINE = stored()
TODAY = {definition["metadata"]["name"]: bare(definition) for definition in custom_resource_definitions()}

_RULE = "flows.headrace.dev: v1alpha1.spec{}: the rule is new or reads differently: {}"
_NEW_SOURCES = (
    _RULE.format(".source", "[has(self.image), has(self.inline), has(self.configMap)].filter(is, is).size() == 1"),
    _RULE.format("", "has(self.entrypoint) || !has(self.source) || !has(self.source.configMap)"),
    _RULE.format(
        "",
        "!has(self.entrypoint) || !has(self.source) || !has(self.source.configMap) || "
        "!self.entrypoint.contains('.py:') || !self.entrypoint.contains('/')",
    ),
)
HARMLESS: dict[str, str] = dict.fromkeys(
    _NEW_SOURCES, "what is stored has no source.configMap, and the rules say the same of it as before"
)
"""Changes that are reported and break nothing all the same: the sentence, and why. Emptied when the baseline is taken anew."""


@pytest.mark.parametrize("name", BASELINE)
def test_todays_definitions_break_nothing_of_the_last_release(name: str):
    """If this fails: take the change back, or make it in a new API version (docs/versions.md), or say in HARMLESS why nothing breaks."""
    assert name in TODAY, f"{name}: a kind cannot be taken away from a served version"
    found = [f"{name}: {each}" for each in breaks(BASELINE[name], TODAY[name])]

    assert [each for each in found if each not in HARMLESS] == []


def test_what_is_excused_is_still_there():
    """An excuse for nothing hides the next break."""
    found = {f"{name}: {each}" for name in BASELINE for each in breaks(BASELINE[name], TODAY.get(name, BASELINE[name]))}

    assert set(HARMLESS) <= found


def a_definition(**properties: Any) -> Definition:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    return {
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing", "shortNames": ["th"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "selectableFields": [{"jsonPath": ".spec.size"}],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        }
    }


SIZE = {"type": "integer", "minimum": 1, "maximum": 9, "default": 3}
MODE = {"type": "string", "enum": ["A", "B"]}
BEFORE = a_definition(size=SIZE, mode=MODE, names={"type": "array", "items": {"type": "string"}})


def properties(definition: Definition) -> dict[str, Any]:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]["properties"]
    return found


def spec(definition: Definition) -> dict[str, Any]:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda d: properties(d).pop("mode"), ["v1.spec: the field mode is gone"], id="a field is removed"),
        pytest.param(
            lambda d: spec(d).update(required=["mode"]), ["v1.spec: mode is required now"], id="a field is required"
        ),
        pytest.param(
            lambda d: properties(d)["mode"].update(enum=["A"]),
            ["v1.spec.mode: enum: B is not allowed any more"],
            id="an enum is narrower",
        ),
        pytest.param(
            lambda d: properties(d)["names"]["items"].update(enum=["x"]),
            ["v1.spec.names[]: enum: (any) is not allowed any more"],
            id="an enum where there was none",
        ),
        pytest.param(
            lambda d: properties(d)["size"].update(maximum=8),
            ["v1.spec.size: maximum: was 9, is 8"],
            id="an upper bound is lower",
        ),
        pytest.param(
            lambda d: properties(d)["size"].update(minimum=2),
            ["v1.spec.size: minimum: was 1, is 2"],
            id="a lower bound is higher",
        ),
        pytest.param(
            lambda d: properties(d)["names"].update(maxItems=99),
            ["v1.spec.names: maxItems: was absent, is 99"],
            id="a bound is new",
        ),
        pytest.param(
            lambda d: properties(d)["mode"].update(pattern="^A"),
            ["v1.spec.mode: pattern: was absent, is ^A"],
            id="a pattern is new",
        ),
        pytest.param(
            lambda d: properties(d)["size"].update(type="string"),
            ["v1.spec.size: type: was integer, is string"],
            id="another type",
        ),
        pytest.param(
            lambda d: properties(d)["size"].update(default=4),
            ["v1.spec.size: default: was 3, is 4"],
            id="another default",
        ),
        pytest.param(
            lambda d: spec(d).update({"x-kubernetes-validations": [{"rule": "self.size > 2"}]}),
            ["v1.spec: the rule is new or reads differently: self.size > 2"],
            id="a rule is new",
        ),
        pytest.param(
            lambda d: d["spec"]["versions"][0].pop("selectableFields"),
            ["v1: selectableFields: .spec.size is gone"],
            id="a field cannot be selected by",
        ),
        pytest.param(
            lambda d: d["spec"]["versions"][0].update(served=False),
            ["v1: is not served any more"],
            id="a version is not served",
        ),
        pytest.param(
            lambda d: d["spec"].update(scope="Cluster"), ["scope: was Namespaced, is Cluster"], id="another scope"
        ),
        pytest.param(
            lambda d: d["spec"]["names"].update(shortNames=[]),
            ["names.shortNames: th is gone"],
            id="a short name is gone",
        ),
    ],
)
def test_what_breaks_is_seen(change: Callable[[Definition], Any], expected: list[str]):
    """Each in a sentence that begins with its place."""
    after = copy.deepcopy(BEFORE)
    change(after)

    assert breaks(BEFORE, after) == expected


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: None, id="nothing"),
        pytest.param(lambda d: properties(d).update(more={"type": "string"}), id="a field is new"),
        pytest.param(lambda d: spec(d).update(required=["size"]), id="a field with a default is required"),
        pytest.param(lambda d: properties(d)["mode"]["enum"].append("C"), id="an enum is wider"),
        pytest.param(lambda d: properties(d)["size"].update(maximum=10, minimum=0), id="bounds are wider"),
        pytest.param(lambda d: properties(d)["mode"].pop("enum"), id="an enum is gone"),
        pytest.param(lambda d: d["spec"]["versions"].append({"name": "v2", "served": True}), id="a version is new"),
    ],
)
def test_what_breaks_nothing_passes(change: Callable[[Definition], Any]):
    """What was stored before is good still."""
    after = copy.deepcopy(BEFORE)
    change(after)

    assert breaks(BEFORE, after) == []


def test_the_corpus_has_each_kind_of_the_last_release_and_reads():
    """By the models of today: what the operator and the command line read objects with."""
    found = [each for path in sorted(CORPUS.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
    models = {kind.resource.kind: kind for kind in KINDS}

    for obj in found:
        models[obj["kind"]].model_validate(obj)
    assert {obj["kind"] for obj in found} == {each["spec"]["names"]["kind"] for each in BASELINE.values()}
    assert {obj["kind"] for obj in found if "status" in obj} == {obj["kind"] for obj in found}
