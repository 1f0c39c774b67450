"""What a kubelet hears of an operator while the API server is away, and while the process is stuck."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from headrace.kubeapi.config import load_connection
from tests.cluster.support.operator import OperatorProcess
from tests.cluster.support.rights import signed_in
from tests.cluster.support.waiting import eventually
from tests.ports import free_port

LEASE_S = 8.0
"""Long enough that a leader which a busy machine starves for some seconds goes on."""


class Relay:
    """The way to an API server, byte by byte; while it is closed nobody gets through."""

    def __init__(self, server: str) -> None:
        target = urlsplit(server)
        self._target = (target.hostname, target.port)
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """From now on connections are let through."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Connections are cut, and new ones refused."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._open |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer))
        self._open -= {writer, back}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


class SignedIn(OperatorProcess):
    """One whose kubeconfig has its login already: it could not be had through a relay of this event loop."""

    def _sign_in(self) -> None: ...


class Probed:
    """An operator behind a relay, and its probes."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path, identity: str) -> None:
        folder.mkdir()
        self.port = free_port()
        self.process = SignedIn(
            kubeconfig, namespace, folder, identity=identity, liveness_port=self.port, leader_lease_s=LEASE_S
        )

    async def status(self, path: str) -> int:
        """What it answers; 0 if it does not."""
        timeout = aiohttp.ClientTimeout(total=5)  # as the chart's probes have it
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                async with session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                    return answer.status
            except (aiohttp.ClientError, TimeoutError):
                return 0

    async def becomes(self, path: str, status: int) -> None:
        """Returns once it answers so."""

        async def look() -> bool:
            return await self.status(path) == status

        await eventually(look, within_s=90, what=f"{path} answers {status}")

    def logs(self) -> str:
        return self.process.log.read_text() if self.process.log.exists() else ""


@pytest.fixture
async def relay(kubeconfig: Path) -> AsyncIterator[Relay]:
    async with Relay(load_connection(str(kubeconfig)).server) as opened:
        yield opened


@asynccontextmanager
async def two_probed(
    kubeconfig: Path, relay: Relay, namespace: str, folder: Path
) -> AsyncIterator[tuple[Probed, Probed]]:
    """The first one leads. Each signs in with the rights of the chart, and goes through the relay."""
    login = yaml.safe_load(signed_in(kubeconfig, folder, served=namespace, home=namespace).read_text())
    for cluster in login["clusters"]:
        cluster["cluster"]["server"] = f"https://127.0.0.1:{relay.port}"
    relayed = folder / "relayed.kubeconfig"
    relayed.write_text(yaml.safe_dump(login))
    both = [Probed(relayed, namespace, folder / name, name) for name in ("left", "right")]
    try:
        both[0].process.start()
        await eventually(lambda: "leadership_acquired" in both[0].logs(), within_s=90)
        both[1].process.start()
        yield both[0], both[1]
    finally:
        for each in both:
            if each.process.runs:
                os.kill(each.process.pid, signal.SIGCONT)
            each.process.kill()
            print(each.logs()[-4_000:])


async def test_an_api_server_that_is_away_makes_nobody_start_anew(
    kubeconfig: Path, relay: Relay, namespace: str, tmp_path: Path
):
    """The leader ends once, as it must; what waits then is alive and not ready, and goes on by itself."""
    async with two_probed(kubeconfig, relay, namespace, tmp_path) as (leader, standby):
        for each in (leader, standby):
            await each.becomes("/readyz", 200)
            assert await each.status("/healthz") == 200

        await relay.close()
        await eventually(lambda: not leader.process.runs, within_s=90, what="the leader ends")
        leader.process.start()  # as a kubelet does
        for each in (leader, standby):
            await each.becomes("/readyz", 503)
            assert await each.status("/healthz") == 200
        assert "leadership_lost" in leader.logs()

        await relay.open()
        for each in (leader, standby):
            await each.becomes("/readyz", 200)
            assert each.process.runs
        assert standby.logs().count("operator_started") == 1


async def test_a_process_that_is_stuck_answers_no_probe(kubeconfig: Path, relay: Relay, namespace: str, tmp_path: Path):
    """So it is started anew; the other one takes over and stays ready."""
    async with two_probed(kubeconfig, relay, namespace, tmp_path) as (leader, standby):
        await leader.becomes("/readyz", 200)
        os.kill(leader.process.pid, signal.SIGSTOP)

        assert await leader.status("/healthz") == 0
        await eventually(lambda: "leadership_acquired" in standby.logs(), within_s=90)
        await standby.becomes("/readyz", 200)
