"""The examples' manifests and their Python files say the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headrace.entrypoints import load_flow

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "examples").glob("*/*.yaml"))
INLINE = [
    pytest.param(path, item["spec"], id=item["metadata"]["name"])
    for path in MANIFESTS
    for item in yaml.safe_load_all(path.read_text())
    if item["kind"] == "Flow" and "source" in item["spec"]
]


def without_descriptions(schema: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in schema.items() if key not in {"description", "title"}}


@pytest.mark.parametrize(("path", "spec"), INLINE)
def test_inline_code_is_the_file_beside_it(path, spec):
    """What runs on a laptop runs in the cluster."""
    files = spec["source"]["inline"]["files"]
    assert files == {name: (path.parent / name).read_text() for name in files}


@pytest.mark.parametrize(("path", "spec"), [each for each in INLINE if "parameters" in each.values[1]])
def test_the_schema_is_that_of_the_function(path, spec):
    """`headrace render` would print the same."""
    flow = load_flow(str(path.parent / spec["entrypoint"]))
    assert without_descriptions(spec["parameters"]["schema"]) == without_descriptions(flow.parameters_schema())


@pytest.mark.parametrize(
    "script",
    [
        "hello/hello.py",
        "approval/release.py",
        "concurrency/report.py",
        "limits/load.py",
        "checkpoints/report.py",
        "transactions/export.py",
        "large-results/readings.py",
        "composition/report.py",
        "lineage/export.py",
        "backfill/reprocess.py",
        "gpu-training/training.py",
    ],
)
def test_a_flow_runs_as_a_script(script, tmp_path):
    """`python examples/…` without a cluster, and without a person who answers."""
    command = [sys.executable, ROOT / "examples" / script]
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "HEADRACE_ANSWERS": '{"deploy": {"decision": "Approve", "input": {"replicas": 3}}}',
    }
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stderr
