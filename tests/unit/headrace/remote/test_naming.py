"""Names of tasks' FlowRuns and keys of their objects."""

import re

import pytest

from headrace.remote.naming import run_name, task_folder

LONG = "a-deployment-with-a-long-name-20260101070000"


@pytest.mark.parametrize(
    ("parent", "task_run", "go", "name"),
    [
        ("etl-7", "train-0", 1, "etl-7-train-0"),
        ("etl-7", "train-0", 2, "etl-7-train-0-r2"),
        ("etl-7", "Train model-0", 1, r"etl-7-train-model-0-[0-9a-f]{8}"),
        ("etl.7", "load_rows-12", 3, r"etl-7-load-rows-12-[0-9a-f]{8}-r3"),
        (LONG, "train_the_large_model-0", 2, r"a-deployment-with-a-long-name-20260101070000-train-[0-9a-f]{8}-r2"),
        ("etl-7", "é-0", 1, r"etl-7-0-[0-9a-f]{8}"),
    ],
)
def test_a_name_derives_from_its_cause(parent, task_run, go, name):
    """Readable where it can be, always one that Kubernetes takes."""
    made = run_name(parent, task_run, go)
    assert re.fullmatch(name, made)
    assert len(made) <= 63
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", made)


def test_different_causes_have_different_names():
    """What is replaced or cut off is told apart by a hash."""
    tasks = ["load_rows-0", "load rows-0", "load-rows-0", "Load-rows-0", *(f"{'x' * 80}-{n}" for n in range(20))]
    made = {run_name(LONG, each, go) for each in tasks for go in (1, 2, 300)}
    assert len(made) == 3 * len(tasks)


@pytest.mark.parametrize("task_run", ["train-0", "../../etc-0", "a/b-0", "über-0", ".-0", "x" * 300])
def test_a_folder_is_one_level_below_its_run(task_run):
    """Whatever a task is called."""
    folder = task_folder("team-a", "etl-7", "uid", task_run)
    assert re.fullmatch(r"team-a/etl-7/uid/[A-Za-z0-9_-][A-Za-z0-9._-]*", folder)
    assert len(folder) < 1024
