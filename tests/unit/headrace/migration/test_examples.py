"""Realistic sources, and the files and reports that come of them."""

import importlib.util
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from headrace.engine.retries import Backoff
from headrace.migration.report import Outcome
from tests.unit.headrace.migration.migrating import (
    EXAMPLES,
    SOURCES,
    files_of,
    folder_of,
    manifests_of,
    migrated_example,
    migrated_text,
    module_of,
)

CRDS = Path(__file__).parents[4] / "crds"
SCHEMAS = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for crd in (yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml"))
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_comes_of_an_example(name):
    """Files and report are as they were reviewed; `python -m tests.unit.headrace.migration.migrating` writes them anew."""
    folder = folder_of(name)
    expected = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert files_of(migrated_example(name)) == expected


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_api_server_takes_the_manifests(name):
    """Each fits the schema of its CRD, and has no field that the schema would drop."""
    for manifest in manifests_of(migrated_example(name)[0]):
        jsonschema.validate(manifest, closed(SCHEMAS[manifest["kind"]]))


def closed(schema):
    """The schema with unknown fields refused where the API server would drop them."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner["properties"] |= {"apiVersion": {}, "kind": {}} if "spec" in schema["properties"] else {}
        open_metadata = {"metadata": {"type": "object"}} if "spec" in schema["properties"] else {}
        return inner | {"additionalProperties": False, "properties": inner["properties"] | open_metadata}
    return inner


def test_a_field_that_the_schema_does_not_know_is_seen():
    """The check above would tell of it."""
    manifest = manifests_of(migrated_example("crontab")[0], "Flow")[0]
    manifest["spec"]["commands"] = ["x"]
    with pytest.raises(jsonschema.ValidationError, match="commands"):
        jsonschema.validate(manifest, closed(SCHEMAS["Flow"]))


def test_migrating_again_gives_the_same():
    """Names, order and text do not depend on the day or on chance."""
    assert files_of(migrated_example(*EXAMPLES)) == files_of(migrated_example(*EXAMPLES))


@pytest.mark.parametrize("name", ["plain.py", "flows/orders.py"])
def test_a_module_that_was_migrated_stays_as_it_is(name, tmp_path, monkeypatch):
    """A second migration finds nothing to change."""
    text = module_of(migrated_example(name)[0])
    monkeypatch.chdir(tmp_path)
    assert module_of(migrated_text(tmp_path, "again.py", text)) == text


def test_names_are_unique_over_all_sources():
    """Two objects of one kind and namespace never share a name."""
    seen = [
        (manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])
        for each in migrated_example(*EXAMPLES)
        for manifest in manifests_of(each)
    ]
    assert len(seen) == len(set(seen))


def test_a_module_with_nothing_left_behind_runs_without_prefect(tmp_path):
    """It is imported with our SDK alone, and its flow computes what it did."""
    found = migrated_example("plain.py")[0]
    assert found.of(Outcome.LEFT) == []
    module = imported(tmp_path / "plain_migrated.py", module_of(found))
    assert module.plain(4) == 12
    assert module.plain.name == "Plain flow"
    assert Backoff(2, jitter=0) == module.DELAYS
    assert not [name for name in sys.modules if name.split(".")[0] == "prefect"]


def imported(path, text):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_of_prefect_is_changed_or_told():
    """What still names prefect in a module is in the report, with its line."""
    found = migrated_example("served.py")[0]
    told = {each.line for each in found.of(Outcome.LEFT)}
    source = (SOURCES / "served.py").read_text().splitlines()
    kept = [line for line in module_of(found).splitlines() if line.startswith(("from prefect", "import prefect"))]
    for line in kept:
        name = line.rpartition(" ")[2]
        uses = {number for number, text in enumerate(source, 1) if f"{name}." in text or f"{name}(" in text}
        assert uses & told, line
    assert len(kept) == 2
