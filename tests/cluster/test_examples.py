"""Every example runs to its end on a local node, and does what its page says."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from headrace.devcluster.node.cgroups import open_groups
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, with_real_pods
from tests.storages.servers import Missing
from tests.unit.examples.postgres import running_postgres

EXAMPLES = Path(__file__).parents[2] / "examples"
MANIFESTS = sorted(EXAMPLES.glob("*/*.yaml"))
WITHIN_S = 60


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace with an operator, and a node that takes pods which name no node, as those of the examples."""
    await local_node(capacity={"cpu": "4"})
    async with with_real_pods(client, kubeconfig, namespace, tmp_path) as found:
        yield found


@pytest.fixture
def apply(kubectl, world):
    """`apply("hello/hello.yaml")`: kubectl apply of an example, in the test's namespace."""

    def call(path):
        kubectl("apply", "-n", world.namespace, "-f", str(EXAMPLES / path))

    return call


@pytest.fixture
def shop() -> Iterator[str]:
    """The address of the example's API."""
    command = [sys.executable, EXAMPLES / "etl" / "stub_api.py", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


def test_every_folder_has_a_manifest_and_a_page():
    """A new example is not forgotten by the tests below."""
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {"demo", "gitops", "__pycache__"}
    assert (
        folders
        == {path.parent.name for path in MANIFESTS}
        == {
            "approval",
            "backfill",
            "checkpoints",
            "composition",
            "concurrency",
            "container",
            "etl",
            "gpu-training",
            "hello",
            "incident",
            "large-results",
            "limits",
            "lineage",
            "nested-json",
            "pools",
            "secrets",
            "transactions",
        }
    )
    assert all((EXAMPLES / folder / "README.md").exists() for folder in folders)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_the_api_server_takes_it_as_it_is(kubectl, manifest):
    """As kubectl apply does, checked by the server; a warning would be about an unknown field."""
    done = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(manifest))
    assert "created (server dry run)" in done.stdout
    assert not done.stderr


async def test_the_first_flow_of_the_readme_runs(world, kubectl, kubeconfig, tmp_path):
    """As it stands there: the file is rendered and applied, and a run is started and watched to its end."""
    text = (EXAMPLES.parent / "README.md").read_text()
    (tmp_path / "report.py").write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    render = re.search(r"^    headrace (render .*?) \| kubectl apply -f -$", text, re.MULTILINE)[1]
    run = re.search(r"^    headrace (run report .*?) *#", text, re.MULTILINE)[1]
    command = [sys.executable, "-m", "headrace.cli"]
    rendered = await asyncio.to_thread(
        subprocess.check_output, [*command, *shlex.split(render)], cwd=tmp_path, text=True
    )
    kubectl("apply", "-n", world.namespace, "-f", "-", input=rendered)
    started = [*command, *shlex.split(run), "--namespace", world.namespace, "--kubeconfig", str(kubeconfig)]
    await asyncio.to_thread(subprocess.check_call, started, timeout=WITHIN_S)
    (made,) = await world.list("FlowRun")

    assert made["status"]["phase"] == "Succeeded"
    assert made["status"]["result"] == {"value": 8}


async def test_hello_greets_whom_it_is_told(world, apply):
    """The parameter of the FlowRun comes back in its result."""
    apply("hello/hello.yaml")
    status = await world.finished("hello-1", within_s=WITHIN_S)

    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"] == {"value": "Hello, Ada!"}


async def test_a_login_is_in_no_log(world, apply, kubectl):
    """What the flow reads is hidden; the variable counts, and the artifact is in the status."""
    apply("secrets/login.yaml")
    status = await world.finished("login-1", within_s=WITHIN_S)

    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"] == {"value": 5}
    assert [artifact["name"] for artifact in status["artifacts"]] == ["orders"]
    log = kubectl("logs", "-n", world.namespace, "login-1-1").stdout
    assert "connecting as ********** with **********" in log
    assert not any(word in log for word in ("loader-of-orders", "pa55-of-the-database", "t0ken-of-the-report"))


async def test_a_container_is_tried_again_and_told_by_the_end_of_its_log(world, apply, kubectl):
    """Two attempts, each in a pod of its own; parameters arrive as JSON."""
    apply("container/container.yaml")
    status = await world.finished("container-1", within_s=WITHIN_S)

    assert status["phase"] == "Succeeded", status["message"]
    assert [each["exitCode"] for each in status["attempts"]] == [3, 0]
    assert "the warehouse is closed" in status["attempts"][0]["message"]
    assert '{"shelf":7}' in kubectl("logs", "-n", world.namespace, "container-1-2").stdout


async def test_concurrency_skips_and_replaces(world, apply):
    """Of two runs by hand the newer one ends; a scheduled one that finds no slot is skipped."""
    apply("concurrency/concurrency.yaml")
    replaced = await world.finished("report-1", within_s=WITHIN_S)
    newer = await world.finished("report-2", within_s=WITHIN_S)

    async def scheduled() -> set[str]:
        runs = await world.list("FlowRun")
        phases = {run.get("status", {}).get("reason") for run in runs if run["metadata"]["name"].startswith("report-s")}
        return phases if {"Succeeded", "SkippedByConcurrency"} <= phases else set()

    assert (replaced["phase"], replaced["reason"]) == ("Cancelled", "Replaced")
    assert newer["phase"] == "Succeeded"
    await eventually(scheduled, within_s=WITHIN_S, what="one scheduled run succeeds and another is skipped")


async def test_checkpoints_are_taken_by_the_next_attempt(world, apply):
    """What the first one has counted."""
    apply("checkpoints/checkpoints.yaml")
    status = await world.finished("counted-1", within_s=WITHIN_S)

    assert (status["phase"], status["result"]) == ("Succeeded", {"value": 14}), status["message"]
    assert len(status["attempts"]) == 2
    assert status["tasks"]["cached"] == 3


async def test_a_million_readings_go_on_as_a_reference(world, apply):
    """Through the folder that the manifest mounts."""
    apply("large-results/large-results.yaml")
    status = await world.finished("readings-1", within_s=WITHIN_S)

    assert (status["phase"], status["result"]) == ("Succeeded", {"value": 96}), status["message"]


async def test_what_was_exported_and_merged_is_in_the_status(world, apply):
    """Three inputs and three outputs, as the page says."""
    apply("lineage/lineage.yaml")
    status = await world.finished("exported-1", within_s=WITHIN_S)

    assert status["phase"] == "Succeeded", status["message"]
    assert {side: len(datasets) for side, datasets in status["lineage"].items()} == {"inputs": 3, "outputs": 3}


async def test_files_are_published_together(world, apply, kubectl):
    """The first attempt takes its drafts away, the second one publishes; another run for the same day does nothing."""
    apply("transactions/transactions.yaml")
    status = await world.finished("exported-1", within_s=WITHIN_S)
    first, second = (kubectl("logs", "-n", world.namespace, f"exported-1-{number}").stdout for number in (1, 2))
    await world.a_run("exported-2", flow="exported")
    again = await world.finished("exported-2", within_s=WITHIN_S)

    assert (status["phase"], status["result"]) == ("Succeeded", {"value": 59}), status["message"]
    assert len(status["attempts"]) == 2
    assert (first.count("removes /drafts/"), first.count("publishes")) == (3, 0)
    assert (second.count("removes"), second.count("publishes 2026-01-01-")) == (0, 3)
    assert (again["phase"], again["result"]) == ("Succeeded", {"value": 0}), again["message"]


async def test_a_report_is_made_of_runs_of_another_flow(world, apply):
    """One for each region, two at a time; the event is on the run."""
    apply("composition/composition.yaml")
    status = await world.finished("report-1", within_s=2 * WITHIN_S)

    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"] == {"value": 6944}
    assert (status["tasks"]["total"], status["tasks"]["subflows"]) == (3, 1)
    runs = [run for run in await world.list("FlowRun") if "startedBy" in run["spec"]]
    assert {run["spec"]["parameters"]["region"] for run in runs} == {"north", "south", "west"}
    assert "ReportMade" in {reason for reason, _ in await world.events("report-1")}


async def test_a_release_waits_for_its_approval(world, apply, kubectl):
    """Without a pod; the answer reaches the flow."""
    apply("approval/approval.yaml")
    await world.run_is("release-1", "Paused", "AwaitingApproval", within_s=WITHIN_S)
    answer = {"name": "deploy", "decision": "Approve", "input": {"replicas": 3}}
    await world.patch("FlowRun", "release-1", {"answers": [answer]})
    status = await world.finished("release-1", within_s=WITHIN_S)

    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"] == {"value": "3 x registry.example.org/shop:1.20"}


async def test_a_backfill_runs_what_failed_once_more(world, apply):
    """The broken day alone, with what mends it; the runs of the others are gone."""
    apply("backfill/backfill.yaml")
    failed = await backfill_is(world, "first-week", "Failed")

    assert (failed["succeeded"], failed["failed"], failed["progress"]) == (6, 1, "100%")
    assert failed["outcomes"] == {"succeeded": "0-2,4-6", "failed": "3"}

    await world.patch("Backfill", "first-week", {"parameters": {"lenient": True}, "rerunFailed": 1})
    mended = await backfill_is(world, "first-week", "Succeeded")

    assert (mended["outcomes"], mended["rerunFailed"]) == ({"succeeded": "0-6"}, 1)


async def backfill_is(world: World, name: str, phase: str) -> dict[str, Any]:
    """The status of the Backfill, once it is in this phase."""

    async def reached() -> dict[str, Any] | None:
        status = await world.status("Backfill", name)
        return status if status.get("phase") == phase else None

    return await eventually(reached, within_s=2 * WITHIN_S, what=f"Backfill {name} is {phase}")


async def test_a_hungry_run_goes_to_the_larger_pool(world, apply, kubectl):
    """The modest one stays where it is cheap; the other is killed there, and gets more in the larger pool."""
    groups = open_groups("probe")
    if isinstance(groups, str):
        pytest.skip(f"this machine holds no memory limits: {groups}")
    groups.remove()
    try:
        apply("pools/pools.yaml")
        hungry = await world.finished("hungry-1", within_s=WITHIN_S)
        modest = await world.finished("hungry-2", within_s=WITHIN_S)
    finally:  # every run of the cluster would need a pool from now on
        kubectl("delete", "workpools", "example-small", "example-large")

    assert [(each["reason"], each["pool"]) for each in hungry["attempts"]] == [
        ("OOMKilled", "example-small"),
        ("Succeeded", "example-large"),
    ]
    assert hungry["result"] == {"value": 300}
    assert (modest["pool"], len(modest["attempts"])) == ("example-small", 1)


async def test_limits_keep_the_warehouse_at_two_connections(world, kubectl, apply):
    """Loads side by side; the one that needs both slots runs alone."""
    names = ("load-1", "load-2", "load-3", "reindex-1")
    try:
        apply("limits/limits.yaml")
        ended = {name: await world.finished(name, within_s=WITHIN_S) for name in names}
    finally:
        kubectl("delete", "cl", "warehouse", "--ignore-not-found")
    attempts = {name: status["attempts"][0] for name, status in ended.items()}
    alone = attempts.pop("reindex-1")

    assert [status["phase"] for status in ended.values()] == ["Succeeded"] * 4
    assert ended["load-3"]["result"] == {"value": 3}
    for load in attempts.values():
        assert load["finishedAt"] <= alone["startedAt"] or alone["finishedAt"] <= load["startedAt"]


async def test_etl_tries_again_and_loads_each_order_once(world, kubectl, shop, tmp_path):
    """Extract needs three attempts; a second run of the day doubles no row; the next run is tomorrow at 07:00."""
    data = tmp_path / "data"
    text = (EXAMPLES / "etl" / "etl.yaml").read_text()
    for here, there in {"http://127.0.0.1:8765\n  ": f"{shop}\n  ", "/var/tmp/headrace-etl": str(data)}.items():
        assert here in text
        text = text.replace(here, there)
    run = (EXAMPLES / "etl" / "run.yaml").read_text()
    kubectl("apply", "-n", world.namespace, "-f", "-", input=text)
    ended = []
    for name in ("etl-1", "etl-2"):
        kubectl("apply", "-n", world.namespace, "-f", "-", input=run.replace("etl-1", name))
        ended.append(await world.finished(name, within_s=WITHIN_S))
    with closing(sqlite3.connect(data / "orders.db")) as database:
        rows = database.execute("SELECT day, count(*) FROM orders GROUP BY day").fetchall()
    log = kubectl("logs", "-n", world.namespace, "etl-1-1").stdout
    times = (await world.status("Deployment", "etl"))["nextSchedules"]

    assert [status["phase"] for status in ended] == ["Succeeded"] * 2, ended[0]["message"]
    assert ended[0]["result"]["value"] == {"day": "2026-01-31", "loaded": 6, "left_out": 2}
    assert ended[0]["tasks"]["retried"] == 1
    assert log.count('"event":"task_retrying"') == 2
    assert rows == [("2026-01-31", 6)]
    assert times[0]["time"][11:16] in {"06:00", "07:00"}  # summer and winter in London, in UTC


async def test_nested_json_is_loaded_within_the_memory_of_its_pod(world, kubectl, apply, tmp_path):
    """The node ends a pod that takes more; the counts are those of the document."""
    document = tmp_path / "orders.json"
    make = [sys.executable, EXAMPLES / "nested-json" / "make_orders.py", document, "--megabytes", "20"]
    await asyncio.to_thread(subprocess.run, make, check=True, capture_output=True)
    run = (
        (EXAMPLES / "nested-json" / "run.yaml").read_text().replace("http://127.0.0.1:8000/orders.json", str(document))
    )
    with ExitStack() as stack:
        try:
            url = await asyncio.to_thread(stack.enter_context, running_postgres())
        except Missing as missing:
            pytest.skip(str(missing))
        kubectl(
            "create", "secret", "generic", "nested-json-database", "-n", world.namespace, f"--from-literal=url={url}"
        )
        apply("nested-json/nested-json.yaml")
        kubectl("apply", "-n", world.namespace, "-f", "-", input=run)
        status = await world.finished("nested-json-1", within_s=3 * WITHIN_S)
        assert status["phase"] == "Succeeded", status["message"]
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT count(*), count(DISTINCT order_id) FROM lines").fetchone()
    totals = status["result"]["value"]
    assert found == (totals["lines"], totals["orders"])
    assert 40 << 20 < status["usage"]["maxMemoryBytes"] < 80 << 20
    assert status["artifacts"][0]["name"] == "load"


@pytest.fixture
def demo(binaries, tmp_path):
    """`demo(HEADRACE_WORKERS="0")`: what `make demo` runs, without a terminal, in a temporary folder of its own."""

    def call(**environment):
        command = [sys.executable, "-m", "examples.demo"]
        variables = {**os.environ, "TMPDIR": str(tmp_path), **environment}
        return subprocess.run(
            command, check=False, cwd=EXAMPLES.parent, env=variables, capture_output=True, text=True, timeout=150
        )

    return call


def test_the_demo_shows_a_run_and_leaves_nothing(demo, tmp_path):
    """Commands before their output, tasks as they go, the rows; plain text, status 0, no folder, no process."""
    done = demo()

    assert done.returncode == 0, done.stdout + done.stderr
    order = ["$ kubectl apply -f examples/etl/run.yaml", "attempt 2 failed", "$ kubectl get fl,fdep,fr", "2026-01-31"]
    assert [done.stdout.index(text) for text in order] == sorted(done.stdout.index(text) for text in order)
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert not [each for each in psutil.process_iter() if str(tmp_path) in " ".join(_command_line(each))]


def test_a_demo_that_fails_says_why(demo, tmp_path):
    """The operator's own words, what to do, status 1, and nothing is left."""
    done = demo(HEADRACE_WORKERS="0")

    assert done.returncode == 1
    assert 'HEADRACE_WORKERS is "0"' in done.stdout
    assert "make demo KEEP=1" in done.stdout
    assert list(tmp_path.iterdir()) == []


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return []
