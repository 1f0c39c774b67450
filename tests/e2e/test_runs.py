"""A run in a container of its own, from its object to its end."""

from __future__ import annotations

from tests.e2e.runs import Runs

HELLO = """
import os
from headrace import flow, task

@task
def greeting(name):
    return f"Hello, {name}!"

@flow(log_prints=True)
def main(name: str = "world"):
    print(greeting(name), "from user", os.getuid())
    return name
"""


async def test_a_flow_runs_in_a_pod_and_its_log_is_read(runs: Runs) -> None:
    """The SDK of the runtime image takes the code from the manifest; kubelet and API server hand out what it printed."""
    name = await runs.start_code("hello", HELLO)

    status = await runs.ended(name)

    assert status["phase"] == "Succeeded", status
    assert "Hello, world! from user 65532" in await runs.log(f"{name}-1")


async def test_a_plain_container_runs(runs: Runs) -> None:
    """A command of an image without any of our code in it: its exit code is the end of the run."""
    name = await runs.start(
        "plain", {"image": "headrace/runtime:e2e", "command": ["python3", "-c", "raise SystemExit(3)"]}
    )

    status = await runs.ended(name)

    assert status["phase"] == "Failed", status
    assert "3" in status["message"]
