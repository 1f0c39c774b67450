"""Spans and lineage of a run with two attempts and a task in a pod of its own: operator, local node and SDK as real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.support.world import World
from tests.cluster.test_remote_tasks import WITHIN_S, a_flow, notes, world  # noqa: F401 - fixtures
from tests.unit.headrace.listening import Listener, listening

CODE = """
from headrace import Pod, flow, runtime, task

@task(reads="postgres://me:secret@warehouse/shop/public/orders")
def extract() -> int:
    if runtime.flow_run.attempt == 1:
        raise ConnectionError("no route")
    return 20

@task(pod=Pod(resources={"cpu": "20m"}), writes="s3://lake/model")
def train(rows: int) -> int:
    return rows + 1

@flow
def main() -> int:
    return train(extract())
"""


async def the_run(world: World, notes: Path, name: str, listener: Listener) -> dict[str, Any]:  # noqa: F811 - fixtures
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": listener.url, "OPENLINEAGE_URL": listener.url}
    await a_flow(
        world,
        notes,
        "main",
        source={"inline": {"files": {"etl.py": CODE}}},
        retries={"limit": 1, "delaySeconds": 0},
        env=[{"name": key, "value": value} for key, value in variables.items()],
    )
    await world.a_run(name, flow="main")
    status = await world.finished(name, within_s=WITHIN_S)
    assert status["phase"] == "Succeeded", status["message"]
    return status


def spans_of(listener: Listener) -> Any:
    sent = zip(listener.paths, listener.bodies, strict=True)
    return Listener(bodies=[body for path, body in sent if path == "/v1/traces"]).all_spans()


def events_of(listener: Listener) -> Any:
    sent = zip(listener.paths, listener.bodies, strict=True)
    return Listener(bodies=[body for path, body in sent if path == "/api/v1/lineage"]).events()


async def test_all_pods_of_a_run_are_one_trace_and_one_lineage(world: World, notes: Path) -> None:  # noqa: F811 - fixtures
    """The trace has the UID of the run as its id; the status says what was read and written."""
    with listening() as listener:
        status = await the_run(world, notes, "etl-1", listener)
    runs = {each["metadata"]["name"]: each for each in await world.list("FlowRun")}
    uid = runs["etl-1"]["metadata"]["uid"]

    spans = spans_of(listener)
    assert {span.trace_id.hex() for span in spans} == {uid.replace("-", "")}
    flows = [span for span in spans if span.name == "main"]
    assert len(flows) == 2
    assert len({span.parent_span_id for span in flows}) == 1
    first, second = sorted(flows, key=lambda span: span.start_time_unix_nano)
    tasks = {(span.name, span.parent_span_id): span for span in spans if span.name != "main"}
    called = tasks["train", second.span_id]
    assert set(tasks) == {
        ("extract", first.span_id),
        ("extract", second.span_id),
        ("train", second.span_id),
        ("train", called.span_id),  # in the pod of its own
    }
    assert tasks["extract", first.span_id].status.code == 2  # STATUS_CODE_ERROR
    assert runs["etl-1-train-0"]["metadata"]["annotations"]["headrace.dev/traceparent"].split("-")[2] == (
        called.span_id.hex()
    )

    assert status["lineage"] == {
        "inputs": ["postgres://warehouse:5432/shop.public.orders"],
        "outputs": ["s3://lake/model"],
    }
    assert runs["etl-1-train-0"]["status"]["lineage"] == {"outputs": ["s3://lake/model"]}
    events = events_of(listener)
    of_run = [each["eventType"] for each in events if each["run"]["runId"] == uid]
    assert of_run == ["START", "FAIL", "START", "COMPLETE"]
    of_task = {each["run"]["runId"] for each in events if each["job"]["name"] == "main.train"}
    assert len(of_task) == 1, "the flow's pod and the task's pod speak of one run"
    assert {each["run"]["facets"]["parent"]["run"]["runId"] for each in events if "." in each["job"]["name"]} == {uid}
