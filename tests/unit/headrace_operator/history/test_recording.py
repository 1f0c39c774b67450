"""What is recorded in a process, and that nothing of it is there where no store is set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from headrace import UsageError
from headrace.history import open_history
from headrace.kubeapi.client import KubeClient
from headrace_operator.history.recording import LOG_CHARACTERS, Recording
from headrace_operator.kube.cluster import Cluster
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.workkeys import Kind, WorkKey
from headrace_operator.settings import Settings, load_settings
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.workqueue import WorkQueue
from tests.builders import NOW
from tests.fake_cluster import FakeCluster
from tests.unit.headrace.history.finished import a_finished_run
from tests.unit.headrace_operator.observe import objects


class Logs:
    """A client that is asked for logs only."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, str] | None]] = []

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        self.asked.append((path, params))
        return "x" * LOG_CHARACTERS + "the end"


class Process:
    """Metrics, a client and a recording, as in an operator."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.url = f"sqlite:///{folder}/history.db"
        self.logs = Logs()
        self.registry = CollectorRegistry()
        settings = Settings(history_url=self.url, **changes)
        self.recording = Recording(
            settings,
            cast("KubeClient", self.logs),
            Metrics(self.registry),
            clock=lambda: NOW,
            monotonic=lambda: 7.0,
        )
        self.queue: WorkQueue[WorkKey] = WorkQueue()
        self.intake = Intake(
            Cache(), History(), self.queue, status_delay_s=0, autosize_delay_s=0, monotonic=lambda: 7.0
        )
        self.recorder = self.recording.recorder(self.intake, cast("Cluster", FakeCluster()))

    def rows(self) -> list[dict[str, Any]]:
        reader = open_history(self.url, is_reader=True)
        try:
            return reader.rows("select * from headrace_runs order by name")
        finally:
            reader.close()


def ended(name: str, **status: Any) -> dict[str, Any]:
    run = a_finished_run(name, **status)
    run["metadata"] |= {"resourceVersion": "5", "generation": 1}
    return run


async def test_a_run_that_ends_is_recorded_and_its_owner_is_woken(tmp_path: Path) -> None:
    """With the Flow that its Deployment names, and the end of its log."""
    process = Process(tmp_path)
    process.intake.deployment_seen({**objects.deployment(), "metadata": {**objects.metadata("daily", 1)}})
    process.intake.run_seen(ended("bad", phase="Failed"))
    while len(process.queue):
        process.queue.done(await process.queue.get())
    await process.recorder.flush()
    (row,) = process.rows()
    assert (row["name"], row["flow"], row["phase"]) == ("bad", "etl", "Failed")
    assert row["log_tail"] == ("x" * LOG_CHARACTERS + "the end")[-LOG_CHARACTERS:]
    ((path, params),) = process.logs.asked
    assert path == "/api/v1/namespaces/team-a/pods/bad-1/log"
    assert params == {"container": "flow", "tailLines": "100", "limitBytes": "1048576"}
    assert await process.queue.get() == WorkKey(Kind.RETENTION, objects.key("daily"))
    await process.recording.close()


async def test_metrics_tell_how_many_wait_and_since_when(tmp_path: Path) -> None:
    """Of all shares together; a share that is given away is not counted any more."""
    process = Process(tmp_path, history_max_held=2)
    names = ("waiting_runs", "lag_seconds", "full")

    def told() -> list[float | None]:
        return [process.registry.get_sample_value(f"headrace_history_{name}") for name in names]

    assert told() == [0, 0, 0]
    for name in ("a", "b"):
        process.intake.run_seen(ended(name))
    assert told() == [2, 0, 1]
    await process.recorder.flush()
    assert told() == [0, 0, 0]
    process.intake.run_seen(ended("c"))
    process.recording.drop(process.recorder)
    assert told() == [0, 0, 0]
    await process.recording.close()


async def test_old_records_are_deleted(tmp_path: Path) -> None:
    """By days since their end."""
    process = Process(tmp_path, history_retention_days=1)
    process.intake.run_seen(ended("new"))
    process.intake.run_seen(ended("old", finishedAt="2026-03-03T11:59:59Z"))
    await process.recorder.flush()
    assert await process.recording._archive._cleaned(NOW) == 1
    assert [row["name"] for row in process.rows()] == ["new"]
    await process.recording.close()


def test_without_a_store_nothing_of_it_is_loaded() -> None:
    """Neither of ours nor a driver."""
    code = (
        "import sys, headrace_operator.wiring\n"
        "sys.exit(sorted(name for name in sys.modules if name.startswith(('headrace.history', 'headrace_operator.history', "
        "'sqlite3', 'psycopg'))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_that_cannot_be_keeps_the_operator_from_starting(tmp_path: Path) -> None:
    """With a sentence, and without a password."""
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], "
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    variables = {"KUBECONFIG": str(config), "HEADRACE_HISTORY_URL": "mysql://me:hunter2@host/db"}
    command = [sys.executable, "-m", "headrace_operator"]
    done = subprocess.run(command, env={**os.environ, **variables}, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('headrace-operator: history URL "mysql://me@host/db": write sqlite:')
    assert "hunter2" not in done.stdout + done.stderr


def test_settings_do_not_show_the_url() -> None:
    """It may hold a password."""
    settings = load_settings({"HEADRACE_HISTORY_URL": "postgresql://me:hunter2@host/db"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.history_url


def test_a_url_of_no_store_is_refused(tmp_path: Path) -> None:
    """Before anything runs."""
    with pytest.raises(UsageError):
        Recording(
            Settings(history_url="file:///x"),
            cast("KubeClient", Logs()),
            Metrics(CollectorRegistry()),
            clock=lambda: NOW,
            monotonic=lambda: 0.0,
        )
