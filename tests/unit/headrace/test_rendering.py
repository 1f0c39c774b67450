"""From a flow in Python to its manifests."""

import re

import pytest

from headrace import Backoff, UsageError, flow
from headrace.api import deployment as deployment_api
from headrace.api import flow as flow_api
from headrace.engine.retries import Retries
from headrace.rendering import (
    Place,
    deployment_manifest,
    flow_manifest,
    inline_files,
    resource_name,
    retry_policy,
)

PLACE = Place("etl.py:main", "etl", "team", "ghcr.io/acme/etl:1", {"etl.py": "code"})


@flow(name="Load_Orders", retries=3, retry_delay_seconds=30, timeout_seconds=90.5)
def main(day: str, n: int = 1):
    """Loads the orders of a day."""
    return day, n


def policy(**options):
    """spec.retries of a flow with these options, without what is as by default."""
    return retry_policy(flow(**options)(lambda_free).described.retries, "flow").to_api()


def lambda_free():
    return None


def test_the_flow_holds_all_that_its_decorator_says():
    """And the model takes it back."""
    manifest = flow_manifest(main, PLACE)
    assert manifest == {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "Flow",
        "metadata": {
            "name": "etl",
            "namespace": "team",
            "annotations": {"headrace.dev/description": "Loads the orders of a day."},
        },
        "spec": {
            "entrypoint": "etl.py:main",
            "source": {"inline": {"files": {"etl.py": "code"}}},
            "image": "ghcr.io/acme/etl:1",
            "parameters": {"schema": main.parameters_schema(), "defaults": {"n": 1}},
            "retries": {"limit": 3, "delaySeconds": 30, "factor": 1, "maxDelaySeconds": 30, "jitter": 0},
            "timeoutSeconds": 91,
        },
    }
    assert flow_api.Flow.model_validate(manifest).to_api() == manifest


def test_what_is_as_by_default_is_left_out():
    """A small flow has a small manifest."""
    spec = flow_manifest(flow(lambda_free), Place("etl:lambda_free", "etl"))["spec"]
    assert set(spec) == {"entrypoint", "parameters"}


AFTER = {"name": "after", "run": {"deployments": ["extract"], "phases": ["Succeeded"]}}


def test_the_deployment_holds_schedules_parameters_and_limit():
    """In the words of its spec."""
    manifest = deployment_manifest(
        PLACE,
        parameters={"day": "x"},
        schedules=[{"name": "cron", "cron": "0 7 * * *", "timeZone": "Europe/London"}],
        concurrency={"limit": 2, "onConflict": "Skip"},
        triggers=[AFTER],
    )
    assert manifest["spec"] == {
        "flowRef": {"name": "etl"},
        "parameters": {"day": "x"},
        "schedules": [{"name": "cron", "cron": "0 7 * * *", "timeZone": "Europe/London"}],
        "triggers": [AFTER],
        "concurrency": {"limit": 2, "onConflict": "Skip"},
    }
    assert deployment_api.Deployment.model_validate(manifest).to_api() == manifest


def test_a_value_that_the_api_does_not_take_is_named():
    """Field and value."""
    with pytest.raises(
        UsageError, match=re.escape('deployment "etl": limit is 0: Input should be greater than or equal to 1')
    ):
        deployment_manifest(PLACE, parameters={}, schedules=[], concurrency={"limit": 0})
    with pytest.raises(UsageError, match='flow "flow": limit is 101'):
        retry_policy(Retries(101), 'flow "flow"')


RETRIES = {
    "none": ({}, {}),
    "a number": ({"retries": 2, "retry_delay_seconds": 7200}, {"limit": 2, "delaySeconds": 7200, "factor": 1, "maxDelaySeconds": 7200, "jitter": 0}),
    "part of a second": ({"retries": 1, "retry_delay_seconds": 0.5}, {"limit": 1, "delaySeconds": 1, "factor": 1, "maxDelaySeconds": 1, "jitter": 0}),
    "a list by one factor": ({"retries": 3, "retry_delay_seconds": [2, 20, 200]}, {"limit": 3, "delaySeconds": 2, "factor": 10, "maxDelaySeconds": 200, "jitter": 0}),
    "Backoff": ({"retries": 3, "retry_delay_seconds": Backoff(5, factor=3, max_seconds=60, jitter=0.5)}, {"limit": 3, "delaySeconds": 5, "factor": 3, "maxDelaySeconds": 60, "jitter": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize(("options", "spec"), RETRIES.values(), ids=RETRIES)
def test_retries_are_those_of_the_decorator(options, spec):
    """As the operator makes them."""
    assert policy(**options) == spec


@pytest.mark.parametrize("delay", [[1, 2, 3], [0, 1], [4, 2], pytest.param(lambda failures: failures, id="a function")])
def test_delays_that_a_manifest_cannot_hold_are_refused(delay):
    """In place of rendering others."""
    with pytest.raises(UsageError, match="a manifest cannot hold this retry_delay_seconds; use a number, Backoff"):
        policy(retries=3, retry_delay_seconds=delay)


@pytest.mark.parametrize(
    ("name", "entrypoint", "told"),
    [
        ("main", "flows/daily_etl.py:main", "daily-etl"),
        ("main", "acme.etl:main", "etl"),
        ("Load_Orders", "x.py:f", "load-orders"),
    ],
)
def test_the_name_is_one_that_kubernetes_takes(name, entrypoint, told):
    """A flow that is called main goes by its module."""
    assert resource_name(flow(name=name)(lambda_free), entrypoint) == told


def test_inline_code_brings_the_modules_that_it_imports(tmp_path):
    """Those beside it, and those that these import; each once."""
    files = {
        "etl.py": "import json\nfrom tables import ORDERS\n",
        "tables.py": "def f():\n    import rows, etl\n",
        "rows.py": "",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    del files["unused.py"]
    assert inline_files(tmp_path / "etl.py") == files


def test_inline_code_has_no_folders(tmp_path):
    """A package goes into an image."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "__init__.py").touch()
    (tmp_path / "etl.py").write_text("from acme.tables import ORDERS")
    with pytest.raises(
        UsageError, match=r'etl\.py imports the package "acme" beside it, and inline code has no folders'
    ):
        inline_files(tmp_path / "etl.py")
