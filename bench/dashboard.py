"""
The web page under load: `python -m bench dashboard`.

The dashboard is a process of its own, beside a stand-in for the API server that lists 10,000 runs, changes five of them a second, and allows
everything. 200 browsers hold a live page open and read it anew when they are told to, every two seconds at most, as the page's script does.
Where there is a Chromium, it loads the list as well, before the others come.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web

from bench.figures import Figure, tell
from tests.cluster.support.browser import CHROMIUM, a_browser

RUNS = 10_000
BROWSERS = 200
CHANGES_PER_S = 5
LASTS_S = 30.0
LEAST_S = 2.0
LOADS = 20
LOAD_BUDGET_MS = 1000.0
MEMORY_BUDGET_MIB = 256.0
TOKEN = {"Authorization": "Bearer bench"}
API = "/apis/headrace.dev/v1alpha1"
PHASES = ("Succeeded", "Succeeded", "Succeeded", "Failed", "Running")


class StandIn:
    """Lists and watches of runs; every other kind is empty. `requests` counts by method and last part of the path."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.version = RUNS
        self.runs = [a_run(number, number + 1) for number in range(RUNS)]
        self.watchers: set[web.StreamResponse] = set()

    def application(self) -> web.Application:
        """Answers as an API server does."""
        app = web.Application()
        app.router.add_get(f"{API}/{{plural}}", self.collection)
        app.router.add_post("/apis/{group}/v1/{reviews}", self.review)
        return app

    async def collection(self, request: web.Request) -> web.StreamResponse:
        plural = request.match_info["plural"]
        if "watch" in request.query:
            self.requests[f"watch {plural}"] += 1
            return await self.watched(request, plural)
        self.requests[f"list {plural}"] += 1
        metadata = {"resourceVersion": str(self.version)}
        items = self.runs if plural == "flowruns" else []
        return web.json_response(
            {"kind": "List", "apiVersion": "headrace.dev/v1alpha1", "metadata": metadata, "items": items}
        )

    async def watched(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if plural == "flowruns":
            self.watchers.add(response)
        await asyncio.Event().wait()
        return response

    async def review(self, request: web.Request) -> web.Response:
        reviews = request.match_info["reviews"]
        self.requests[f"create {reviews}"] += 1
        status = {"allowed": True, "authenticated": True, "user": {"username": "bench"}}
        return web.json_response({"status": status})

    async def changing(self) -> None:
        """Never returns; cancel it."""
        while True:
            await asyncio.sleep(1 / CHANGES_PER_S)
            self.version += 1
            number = random.randrange(RUNS)
            self.runs[number] = a_run(number, self.version)
            line = json.dumps({"type": "MODIFIED", "object": self.runs[number]}).encode() + b"\n"
            for watcher in self.watchers:
                await watcher.write(line)


def a_run(number: int, version: int) -> dict[str, Any]:
    """A FlowRun of one of ten namespaces, with a status as finished runs have it."""
    created = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=10 * number)
    at = f"{created:%Y-%m-%dT%H:%M:%SZ}"
    labels = {
        "headrace.dev/flow": f"flow-{number % 20}",
        "headrace.dev/deployment": f"daily-{number % 40}",
        "team": "a",
    }
    return {
        "kind": "FlowRun",
        "apiVersion": "headrace.dev/v1alpha1",
        "metadata": {
            "name": f"daily-{number % 40}-{number:06}",
            "namespace": f"team-{number % 10}",
            "uid": f"00000000-0000-0000-0000-{number:012}",
            "resourceVersion": str(version),
            "creationTimestamp": at,
            "labels": labels,
        },
        "spec": {"deploymentRef": {"name": f"daily-{number % 40}"}},
        "status": {
            "phase": PHASES[(number + version) % len(PHASES)],
            "reason": "FlowFailed",
            "message": "load-0: KeyError: no such column: price (etl.py:14)",
            "startedAt": at,
            "attempts": [{"number": 1, "pod": "x"}],
        },
    }


async def measured() -> int:
    """Exit status: 1 if a budget is exceeded."""
    api = StandIn()
    connector, forever = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with (
        served(api) as url,
        a_dashboard(url) as (process, base),
        aiohttp.ClientSession(connector=connector, timeout=forever) as session,
    ):
        alone = [await loaded(session, base) for _ in range(LOADS)]
        shown_ms = None if CHROMIUM is None else await shown(base)
        changing = asyncio.create_task(api.changing())
        reads: list[float] = []
        browsers = [asyncio.create_task(browser(session, base, reads)) for _ in range(BROWSERS)]
        cpu_s = sum(process.cpu_times()[:2])
        await asyncio.sleep(LASTS_S)
        cpu_s = sum(process.cpu_times()[:2]) - cpu_s
        memory = process.memory_info().rss / 2**20
        for task in (changing, *browsers):
            task.cancel()
        problems = [
            each
            for each in await asyncio.gather(changing, *browsers, return_exceptions=True)
            if not isinstance(each, asyncio.CancelledError)
        ]
    print(f"requests of the dashboard: {dict(api.requests)}; browsers that broke: {problems[:3]}")
    pace, median_ms, share = len(reads) / LASTS_S, 1000 * statistics.median(reads), 100 * cpu_s / LASTS_S
    print(
        f"{pace:.0f} pages a second with {BROWSERS} browsers, {median_ms:.0f} ms at the median; {share:.0f} % of a core"
    )
    if shown_ms is None:
        print("there is no Chromium here: nothing is known of what a browser takes")
    watches = max(count for what, count in api.requests.items() if what.startswith("watch"))
    in_chromium = (
        [] if shown_ms is None else [Figure(f"the same in Chromium, of {LOADS} loads", shown_ms, "ms", LOAD_BUDGET_MS)]
    )
    return tell(
        Figure(f"list of {RUNS:,} runs, page load", 1000 * statistics.median(alone), "ms", LOAD_BUDGET_MS),
        *in_chromium,
        Figure(f"memory with {BROWSERS} browsers", memory, "MiB", MEMORY_BUDGET_MIB),
        Figure("watches a kind", watches, "", 1),
        Figure("browsers that broke", len(problems), "", 0),
    )


async def browser(session: aiohttp.ClientSession, base: str, reads: list[float]) -> None:
    """Never returns; cancel it."""
    read_s = 0.0
    async with session.get(f"{base}/live?of=flowruns", headers=TOKEN) as live:
        live.raise_for_status()
        async for line in live.content:
            if line.startswith(b"event: changed") and time.monotonic() - read_s >= LEAST_S:
                await asyncio.sleep(random.random())
                read_s = time.monotonic()
                reads.append(await loaded(session, base))


async def loaded(session: aiohttp.ClientSession, base: str) -> float:
    """Seconds until the whole list has come."""
    began = time.perf_counter()
    async with session.get(f"{base}/runs", headers={**TOKEN, "Accept": "text/html"}) as answer:
        text = await answer.text()
        assert "1 to 50 of 10,000" in text, text[:500]
    return time.perf_counter() - began


async def shown(base: str) -> float:
    """Milliseconds from the beginning of a load in Chromium to its end, at the median; by its own clock."""
    times = []
    async with a_browser(base, "bench") as tab:
        for _ in range(LOADS):
            await tab.page.goto(f"{tab.base}/runs", wait_until="load")
            times.append(await tab.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    print(f"in Chromium: {min(times):.0f} to {max(times):.0f} ms")
    return float(statistics.median(times))


@asynccontextmanager
async def served(api: StandIn) -> AsyncIterator[str]:
    """Where the stand-in is."""
    runner = web.AppRunner(api.application(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def a_dashboard(url: str) -> AsyncIterator[tuple[psutil.Process, str]]:
    """A process that has listed the runs, and where it listens."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(json.dumps(kubeconfig(url)))
        environment = {**os.environ, "KUBECONFIG": str(config), "HEADRACE_DASHBOARD_PORT": "0"}
        process = subprocess.Popen(  # noqa: ASYNC220 - measured from outside, and started once
            [sys.executable, "-m", "headrace_dashboard"], env=environment, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout
            line = await asyncio.to_thread(process.stdout.readline)
            base = f"http://127.0.0.1:{json.loads(line)['port']}"
            await ready(base)
            yield psutil.Process(process.pid), base
        finally:
            process.terminate()
            process.wait(timeout=60)


async def ready(base: str) -> None:
    """Returns when the runs are listed."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{base}/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.1)


def kubeconfig(url: str) -> dict[str, Any]:
    """Of the stand-in."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {"token": "dashboard"}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


def main() -> int:
    """Exit status: 1 if a budget is exceeded."""
    return asyncio.run(measured())


if __name__ == "__main__":
    sys.exit(main())
