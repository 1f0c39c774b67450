"""Rules by Prometheus' own tests, and every panel of every dashboard on what a live operator tells."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.helm import provided
from tests.cluster.support.prometheus import Prometheus, a_prometheus
from tests.cluster.support.puppet import Ends, Pod, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world
from tests.ports import free_port
from tests.tools import PROMTOOL

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "headrace"
RULES = CHART / "files" / "rules.yaml"
CASES = ROOT / "tests" / "monitoring" / "rules.test.yaml"
CLUSTER_PATH = f"/apis/{API_VERSION}"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(provided(PROMTOOL))
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_the_rules_pass_their_tests(tmp_path: Path) -> None:
    """As promtool judges."""
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    cases = tmp_path / "rules.test.yaml"
    cases.write_text(CASES.read_text().replace("[RULES]", f"[{RULES}]"))
    tested = promtool("test", "rules", str(cases))
    assert tested.returncode == 0, tested.stdout + tested.stderr


# Dashboards


def play(pod: Pod) -> Ends | Runs:
    """Runs named so stay; those of one name fail first; the others succeed. All report tasks."""
    labels = pod["metadata"]["labels"]
    run, attempt = labels["headrace.dev/flow-run"], int(labels["headrace.dev/attempt"])
    tasks = {"total": 3, "succeeded": 3, "retried": 1}
    if run.startswith("stays"):
        return Runs()
    if run.startswith("fails") or (run.startswith("retried") and attempt == 1):
        return Ends(1, report("Failed", reason="FlowFailed", tasks={"total": 1, "failed": 1}), after_s=0.2)
    return Ends(message=report(tasks=tasks), after_s=0.2)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, port: int
) -> AsyncIterator[World]:
    settings = {"metrics_port": port, "status_delay_s": 0.1, "history_url": f"sqlite:///{tmp_path}/history.db"}
    async with a_world(client, kubeconfig, namespace, tmp_path, script=play, **settings) as made:
        yield made


@pytest.fixture
async def cluster_objects(client: KubeClient, namespace: str) -> AsyncIterator[str]:
    """A priced WorkPool and a ConcurrencyLimit, of this name."""
    ours = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    pool = {"namespaces": ours, "pricing": {"cpuHour": 3600, "memoryGiBHour": 3600}}
    specs = {"workpools": ("WorkPool", pool), "concurrencylimits": ("ConcurrencyLimit", {"slots": 1})}
    for plural, (kind, spec) in specs.items():
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": namespace}, "spec": spec}
        await client.create(f"{CLUSTER_PATH}/{plural}", body)
    yield namespace
    for plural in specs:
        await client.delete(f"{CLUSTER_PATH}/{plural}/{namespace}")


async def prepare(world: World, name: str) -> None:
    """A critical Flow that retries, one that is limited, a Deployment with a circuit breaker, a Backfill."""
    labels = {"headrace.dev/tier": "critical", "headrace.dev/team": "growth"}
    source = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "def main(): ..."}}}}
    retries = {"limit": 1, "delaySeconds": 0}
    flow = {"apiVersion": API_VERSION, "kind": "Flow", "metadata": {"name": "etl", "labels": labels}}
    await world.client.create(world.path("Flow"), {**flow, "spec": {**source, "retries": retries}})
    await world.a_flow("limited", limits=[{"name": name, "slots": 1}])
    await world.create(
        "Deployment",
        "often",
        flowRef={"name": "etl"},
        circuitBreaker={"failures": 100, "cooldownSeconds": 60},
        schedules=[{"name": "often", "intervalSeconds": 60, "anchor": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}],
        catchUp={"policy": "Latest"},
    )
    partitions = {"list": [{"name": "a"}, {"name": "b"}]}
    await world.create("Backfill", "bf", deploymentRef={"name": "often"}, partitions=partitions)


async def a_wave(world: World, number: int) -> None:
    """Runs of every sort; two of the limited flow stay, the other waits behind them."""
    names = ("plain", "retried", "fails", "recovers")
    for name in names:
        await world.a_run(f"{name}-{number}")
        await world.finished(f"{name}-{number}", within_s=120)
    for each in ("one", "two"):
        await world.a_run(f"stays-{each}-{number}", "limited")


def queries() -> list[Any]:
    """Each query of each panel, with what Grafana puts in for its variables."""
    found = []
    for path in sorted((CHART / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$namespace", ".*")
                for variable, window in (("$__rate_interval", "2m"), ("$__range", "5m")):
                    expression = expression.replace(variable, window)
                found.append((f"{path.stem}: {panel['title']}", expression))
    return found


async def empty_ones(prometheus: Prometheus) -> list[str]:
    """Panels that have nothing to show."""
    answers = [(title, await prometheus.query(expression)) for title, expression in queries()]
    return [title for title, samples in answers if not samples]


@pytest.mark.timeout(420)
async def test_every_panel_shows_something_of_a_live_operator(
    world: World, cluster_objects: str, port: int, tmp_path: Path
) -> None:
    """After two waves of runs: a rate needs two looks at a series that grows."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    async with a_prometheus(folder, port, yaml.safe_load(RULES.read_text())) as prometheus:
        await prepare(world, cluster_objects)
        await a_wave(world, 1)
        finished = f'headrace_runs_finished_total{{namespace="{world.namespace}", phase="Failed"}}'
        await eventually(lambda: prometheus.query(finished), within_s=60, what="the first wave is scraped")
        await a_wave(world, 2)
        left: list[str] = []

        async def look() -> bool:
            nonlocal left
            left = await empty_ones(prometheus)
            return not left

        try:
            await eventually(look, within_s=150, what="every panel shows something")
        except AssertionError:
            assert left == []
