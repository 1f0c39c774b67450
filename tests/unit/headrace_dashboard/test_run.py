"""Parameters of a run: which Flow says what is secret in them, and what is shown when none does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.api import keys
from headrace_dashboard.pages.concealing import MASK
from headrace_dashboard.pages.run import RunView, parameters
from headrace_dashboard.routes.run import flow_of, schema_of
from headrace_dashboard.watching.library import Library

SCHEMA = {"properties": {"token": {"writeOnly": True}}}
REFERENCE = {"secretRef": {"name": "postgres", "key": "password"}}


def an_object(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"uid": name, "namespace": "team-a", "name": name, "resourceVersion": "1", "creationTimestamp": ""}
    return {"metadata": metadata, "spec": spec}


@pytest.fixture
async def site() -> Any:
    """A cluster with the Flow `etl`, one without parameters, and a Deployment that is of that one by now."""
    library = Library(None)  # type: ignore[arg-type]
    library.flows.seen(an_object("etl", parameters={"schema": SCHEMA}))
    library.flows.seen(an_object("plain"))
    library.deployments.seen(an_object("nightly", flowRef={"name": "plain"}))
    return SimpleNamespace(library=library)


def a_run(flow: str = "", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "team-a", "labels": {keys.FLOW_LABEL: flow} if flow else {}}, "spec": spec}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param(a_run(flowRef={"name": "etl"}), "etl", id="it names its Flow"),
        pytest.param(a_run("etl", deploymentRef={"name": "nightly"}), "etl", id="its Deployment is of another by now"),
        pytest.param(a_run("etl", deploymentRef={"name": "gone"}), "etl", id="its Deployment is gone"),
        pytest.param(a_run(deploymentRef={"name": "nightly"}), "plain", id="its Deployment alone says"),
        pytest.param(a_run(deploymentRef={"name": "gone"}), "", id="nobody says"),
        pytest.param(a_run(), "", id="a record that the store has little of"),
    ],
)
async def test_the_flow_of_a_run_is_that_of_its_start(site: Any, run: dict[str, Any], expected: str) -> None:
    assert flow_of(site, run) == expected


async def test_a_flow_that_is_gone_is_told_from_one_without_parameters(site: Any) -> None:
    assert schema_of(site, "team-a", "etl") == SCHEMA
    assert schema_of(site, "team-a", "plain") == {}
    assert (
        schema_of(site, "team-a", "gone") is schema_of(site, "team-b", "etl") is schema_of(site, "team-a", "") is None
    )


def shown(schema: dict[str, Any] | None) -> str:
    run = {"spec": {"parameters": {"token": "hunter2", "day": "monday", "key": REFERENCE}}}
    return parameters(RunView(run, schema, events=(), goes=(), children=(), attempt=0))


def test_what_the_flow_says_is_secret_is_hidden() -> None:
    page = shown(SCHEMA)
    assert ("hunter2" in page, "monday" in page, MASK in page, "Its Flow" in page) == (False, True, True, False)


def test_without_its_flow_nothing_is_shown_and_the_page_says_why() -> None:
    """But which there are, and the names of Secrets."""
    page = shown(None)
    assert "hunter2" not in page
    assert "monday" not in page
    assert all(word in page for word in ("day", "token", MASK, "postgres", "Its Flow is not there any more"))
