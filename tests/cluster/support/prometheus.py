"""A real Prometheus that scrapes each second."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yaml

from tests.cluster.support.helm import provided
from tests.cluster.support.waiting import eventually
from tests.ports import free_port
from tests.tools import PROMETHEUS


class Prometheus:
    """Its query API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now. Raises: AssertionError: it cannot be understood."""
        async with self._session.get(f"{self.url}/api/v1/query?{urlencode({'query': expression})}") as answer:
            told = await answer.json()
            assert told["status"] == "success", f"{expression}: {told.get('error')}"
            result: list[dict[str, Any]] = told["data"]["result"]
            return result

    async def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            async with self._session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def a_prometheus(folder: Path, target_port: int, rules: dict[str, Any]) -> AsyncIterator[Prometheus]:
    """One that scrapes this port of the machine and evaluates these rules, every second."""
    program = await asyncio.to_thread(provided, PROMETHEUS)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "headrace-metrics",
                "honor_labels": True,
                "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}],
            }
        ],
    }
    groups = [{**group, "interval": "1s"} for group in rules["groups"]]
    (folder / "rules.yaml").write_text(json.dumps({"groups": groups}))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        str(program),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.to_thread(
            lambda: subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        )
        try:
            async with aiohttp.ClientSession() as session:
                prometheus = Prometheus(f"http://127.0.0.1:{port}", session)
                await eventually(prometheus.is_ready, within_s=60, what="Prometheus answers")
                yield prometheus
        finally:
            process.kill()
            process.wait()
