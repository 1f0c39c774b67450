"""Runs that Prefect's flows start, and events that they emit, in our words."""

import ast

import pytest

from headrace.migration.report import Outcome
from tests.unit.headrace.migration.migrating import migrated_text, module_of, texts

START = "from prefect.deployments import run_deployment\nfrom prefect import flow\n\n@flow\ndef main():\n    "
EMIT = "from prefect.events import emit_event\nfrom prefect import flow\n\n@flow\ndef main():\n    "


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ('run_deployment("etl/nightly", parameters={"n": 1})', 'run_deployment("nightly", parameters={"n": 1})'),
        ('run_deployment(name="etl/My Load", timeout=0)', 'run_deployment(name="my-load", timeout_seconds=0)'),
        ('run_deployment("etl/nightly", poll_interval=5, tags=["a"])', 'run_deployment("nightly")'),
        (
            'run_deployment("etl/nightly", idempotency_key="a", as_subflow=False)',
            'run_deployment("nightly", idempotency_key="a", as_subflow=False)',
        ),
    ],
)
def test_a_run_of_a_deployment_is_started_by_its_name_alone(tmp_path, line, ours):
    """Without the flow before it, and with the unit in the name of the timeout."""
    new = module_of(migrated_text(tmp_path, "etl.py", START + line + "\n"))
    assert f"    {ours}\n" in new
    assert "run_deployment" in new.partition("@flow")[0]
    ast.parse(new)


def test_in_an_async_flow_it_is_awaited(tmp_path):
    """As all that waits has it here."""
    text = START.replace("def main", "async def main") + 'await run_deployment("etl/nightly")\n'
    new = module_of(migrated_text(tmp_path, "etl.py", text))
    assert 'await run_deployment.aio("nightly")' in new


def test_a_name_that_only_the_code_knows_is_told(tmp_path):
    """Somebody has to look."""
    notes = texts(migrated_text(tmp_path, "etl.py", START + 'run_deployment(f"etl/{1}")\n'), Outcome.LEFT)
    assert any("pass that of the Deployment alone" in each for each in notes)


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        (
            'emit_event(event="order.imported", resource={"prefect.resource.id": "order-17"}, payload={"n": 1})',
            'emit_event(event="order.imported", resource={"id": "order-17"}, payload={"n": 1})',
        ),
        ('emit_event("a.b", {"prefect.resource.id": "x"}, related=[])', 'emit_event("a.b", {"id": "x"})'),
    ],
)
def test_an_event_is_emitted_with_the_id_of_its_resource(tmp_path, line, ours):
    """Under its name here."""
    new = module_of(migrated_text(tmp_path, "etl.py", EMIT + line + "\n"))
    assert f"    {ours}\n" in new


def test_what_an_event_cannot_carry_is_told(tmp_path):
    """Attributes with dots in their names, and resources that only the code knows."""
    line = 'emit_event("a.b", resource={"prefect.resource.id": "x", "prefect.resource.name": "y"})\n'
    notes = texts(migrated_text(tmp_path, "etl.py", EMIT + line), Outcome.LEFT)
    assert any("lower-case letters and digits" in each for each in notes)
    notes = texts(migrated_text(tmp_path, "etl.py", EMIT + 'emit_event("a.b", resource=dict())\n'), Outcome.LEFT)
    assert any('is "id"' in each for each in notes)
