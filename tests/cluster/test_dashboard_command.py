"""`headrace dashboard` as a process of its own: one command, and runs are seen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.dashboard import VIEW, a_person
from tests.cluster.support.waiting import eventually

Started = Callable[..., AbstractAsyncContextManager[asyncio.subprocess.Process]]


@pytest.fixture
def started(kubeconfig: Path) -> Started:
    """The command with these arguments; it is killed at the end if it is still there."""

    @asynccontextmanager
    async def start(*arguments: str, file: Path = kubeconfig) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headrace.cli", "dashboard", "--kubeconfig", str(file), *arguments),
            env={**os.environ, "TERM": "dumb"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return start


async def address(process: asyncio.subprocess.Process) -> str:
    """What it prints first."""
    assert process.stdout
    line = (await process.stdout.readline()).decode().strip()
    if not line:
        assert process.stderr
        raise AssertionError((await process.stderr.read()).decode())
    return line


async def page(base: str, path: str, *words: str) -> str:
    """The page, once it has the words."""

    async def look() -> str | None:
        async with aiohttp.ClientSession() as session, session.get(base + path) as answer:
            text = await answer.text()
            return text if answer.status == 200 and all(word in text for word in words) else None

    return await eventually(look, what=f"{path} shows {words}")


async def is_gone(base: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{base}/healthz"):
            return False
    except aiohttp.ClientConnectionError:
        return True


async def a_run(client: KubeClient, namespace: str, name: str) -> None:
    body = {
        "apiVersion": API_VERSION,
        "kind": "FlowRun",
        "metadata": {"name": name},
        "spec": {"flowRef": {"name": "x"}},
    }
    await client.create(f"/apis/{API_VERSION}/namespaces/{namespace}/flowruns", body)


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
async def test_a_cluster_without_a_dashboard_gets_one_here_until_the_command_ends(
    started: Started, client: KubeClient, namespace: str, end: signal.Signals, status: int
) -> None:
    """With the rights of the kubeconfig, nobody to sign in, and nothing left behind."""
    await a_run(client, namespace, "etl-7")
    async with started("--port", "0", "--operator-namespace", namespace) as process:
        base = await address(process)
        await page(base, f"/runs?namespace={namespace}", "etl-7")
        process.send_signal(end)
        assert await process.wait() == status
        await eventually(lambda: is_gone(base), what="nobody listens any more")


def kubeconfig_of(like: Path, file: Path, token: str, namespace: str) -> Path:
    """One that signs in with a token, and begins in that namespace."""
    config = yaml.safe_load(like.read_text())
    config["users"] = [{"name": each["name"], "user": {"token": token}} for each in config["users"]]
    for each in config["contexts"]:
        each["context"]["namespace"] = namespace
    file.write_text(yaml.safe_dump(config))
    return file


async def test_who_may_list_the_runs_of_one_namespace_is_shown_that_one(
    started: Started, client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    """It is that of the context."""
    token = await a_person(client, namespace, "viewer", VIEW)
    file = kubeconfig_of(kubeconfig, tmp_path / "of-the-viewer", token, namespace)
    await a_run(client, namespace, "etl-7")
    async with started("--local", "--port", "0", file=file) as process:
        text = await page(await address(process), "/runs", "etl-7")
    assert "<option" in text
    assert "kube-system" not in text


async def test_the_page_of_the_cluster_comes_first_and_says_why_it_cannot_be_reached(
    started: Started, client: KubeClient, namespace: str
) -> None:
    """Before an address is told that leads nowhere."""
    labels = {"app.kubernetes.io/name": "headrace", "app.kubernetes.io/component": "dashboard"}
    spec = {"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]}
    service = {"metadata": {"name": "headrace-dashboard", "labels": labels}, "spec": spec}
    await client.create(f"/api/v1/namespaces/{namespace}/services", service)
    async with started("--operator-namespace", namespace) as process:
        said, problem = await process.communicate()
    assert (process.returncode, said) == (1, b"")
    assert b"no pod of service headrace-dashboard" in problem
    assert b"headrace dashboard --local" in problem
