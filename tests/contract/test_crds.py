"""What is generated is current, and the definitions keep the promises that the API server does not check."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from headrace.api.crd import KINDS, custom_resource_definitions
from headrace.api.generate import generated_files, outdated

ROOT = Path(__file__).parents[2]
CRDS = {crd["spec"]["names"]["kind"]: crd for crd in custom_resource_definitions()}
COPIES = sorted(path for path in generated_files() if path.startswith("charts/headrace/templates/crds/"))

OPAQUE = {
    "Flow": {
        "spec.parameters.schema",
        "spec.parameters.defaults",
        "spec.env[].valueFrom",
        "spec.envFrom[]",
        "spec.podTemplate",
    },
    "Deployment": {
        *(f"spec.{place}parameters" for place in ("", "schedules[].", "triggers[].")),
        *("spec.env[].valueFrom", "spec.podTemplate"),
    },
    "FlowRun": {
        "spec.parameters",
        "spec.answers[].input",
        "status.parameters",
        "status.result.value",
        "status.pause.schema",
        "status.answers[].input",
    },
    "WorkPool": {"spec.tolerations[]", "spec.affinity"},
    "ConcurrencyLimit": set(),
    "Backfill": {"spec.parameters", "spec.partitions.list[].parameters", "spec.partitions.matrix[].values[]"},
    "Automation": {
        "spec.actions[].start.parameters",
        "spec.actions[].webhook.json",
        "status.firings[].actions[].do",
    },
}
"""The only places whose content the API server does not know."""


class Node(NamedTuple):
    """One part of a schema; `name` is the field it is the schema of, or belongs to."""

    path: str
    name: str
    schema: dict[str, Any]


def nodes(kind: str) -> Iterator[Node]:
    (version,) = CRDS[kind]["spec"]["versions"]
    for part in ("spec", "status"):
        yield from below(Node(part, part, version["schema"]["openAPIV3Schema"]["properties"][part]))


def below(node: Node) -> Iterator[Node]:
    yield node
    for name, child in node.schema.get("properties", {}).items():
        yield from below(Node(f"{node.path}.{name}", name, child))
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if key in node.schema:
            yield from below(Node(node.path + mark, node.name, node.schema[key]))


@pytest.mark.parametrize("path", sorted(generated_files()))
def test_a_generated_file_equals_what_the_models_say(path):
    """If this fails, run `make crds`."""
    assert (ROOT / path).read_text() == generated_files()[path]


def test_no_definition_is_left_of_a_kind_that_is_gone():
    assert outdated(ROOT) == []


@pytest.mark.parametrize("path", COPIES)
def test_the_chart_installs_the_definitions_that_people_apply(path):
    """Read without the template's lines, as `crds.install` and `crds.keep` render it."""
    text = (ROOT / path).read_text()
    lines = text.splitlines(keepends=True)
    rendered = "".join(line for line in lines if not line.strip().startswith("{{-"))
    copy = yaml.safe_load(rendered.replace('{{ "{{" }}', "{{"))

    assert lines[0] == "{{- if .Values.crds.install }}\n"
    assert copy["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert copy == yaml.safe_load((ROOT / "crds" / Path(path).name).read_text())


@pytest.mark.parametrize("kind", CRDS)
def test_a_definition_stays_well_under_what_kubectl_apply_can_carry(kind):
    """Client-side apply keeps the whole definition in an annotation, which ends at 256 KiB."""
    assert len(json.dumps(CRDS[kind])) < 64 * 1024


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_is_described_in_a_sentence(kind):
    bare = [node.path for node in nodes(kind) if node.path[-1] not in "]*" and not described(node.schema)]
    assert bare == []


def described(schema: dict[str, Any]) -> bool:
    return schema.get("description", "").endswith(".")


@pytest.mark.parametrize("kind", CRDS)
def test_an_optional_field_says_what_its_absence_means(kind):
    """By a default, or in words. What a status leaves out is not known yet."""
    silent = [
        f"{node.path}.{name}"
        for node in nodes(kind)
        if node.path.startswith("spec")
        for name, child in node.schema.get("properties", {}).items()
        if name not in node.schema.get("required", ()) and "default" not in child
        if "Absent" not in child["description"] and f"{node.path}.{name}" not in ALTERNATIVES
    ]
    assert silent == []


EVENT_SOURCES = (
    *("run", "lateRun", "longRun", "circuitOpen", "webhook"),
    *("limitSaturated", "metric", "kubernetesEvent"),
)
ALTERNATIVES = {
    "spec.source.image",
    "spec.source.inline",
    "spec.source.configMap",
    "spec.schedules[].cron",
    "spec.schedules[].intervalSeconds",
    "spec.schedules[].rrule",
    "spec.env[].valueFrom",
    "spec.partitions.range",
    "spec.partitions.list",
    "spec.partitions.matrix",
    "spec.partitions.range.cron",
    "spec.partitions.range.intervalSeconds",
    *(f"spec.{place}.{event}" for place in ("trigger", "triggers[]") for event in EVENT_SOURCES),
    *(f"spec.actions[].{action}" for action in ("start", "run", "deployment", "webhook", "event")),
}
"""Fields whose absence means that another one is set."""


@pytest.mark.parametrize("kind", CRDS)
def test_every_list_says_how_it_merges_and_how_long_it_may_be(kind):
    for path, _, schema in nodes(kind):
        if schema.get("type") != "array":
            continue
        assert schema["maxItems"] >= 1, path
        assert schema["x-kubernetes-list-type"] in {"map", "set", "atomic"}, path
        keys = schema.get("x-kubernetes-list-map-keys", [])
        assert set(keys) <= set(schema["items"].get("required", ())), path


@pytest.mark.parametrize("kind", CRDS)
def test_content_is_unknown_only_where_it_must_be(kind):
    opaque = {node.path for node in nodes(kind) if node.schema.get("x-kubernetes-preserve-unknown-fields")}
    assert opaque == OPAQUE[kind]


@pytest.mark.parametrize("kind", CRDS)
def test_every_refusal_names_the_field_first(kind):
    """`kubectl apply` shows no more than the message where a rule spans several fields."""
    (version,) = CRDS[kind]["spec"]["versions"]
    root = Node("", "metadata", version["schema"]["openAPIV3Schema"])
    for path, name, schema in [root, *nodes(kind)]:
        for rule in schema.get("x-kubernetes-validations", ()):
            named = re.match(r"([a-zA-Z]+)[a-zA-Z.]*: .", rule["message"])
            assert named, rule["message"]
            assert named[1] in {name, *schema.get("properties", ())}, f"{path}: {rule['message']}"


@pytest.mark.parametrize("model", KINDS)
def test_the_columns_tell_the_age_last(model):
    assert model.columns[-1].name == "Age"
    assert all(column.description.endswith(".") for column in model.columns)


@pytest.mark.parametrize("folder", ["operator", "sdk"])
def test_the_roots_are_no_packages(folder):
    """`operator/__init__.py` would shadow the standard library's module."""
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()
