"""Startup, readiness and liveness probes, and life cycle hooks: commands, HTTP requests, TCP connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from headrace.devcluster.node.process import CannotStart, Process
from headrace.devcluster.node.status import ADDRESS

WORDS = 500
"""Bytes of a failed command's output in the message."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one check; `why` it failed."""

    passed: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a probe is done; seconds and counts as Kubernetes defaults them."""

    delay_s: float
    period_s: float
    timeout_s: float
    successes: int
    failures: int

    @classmethod
    def of(cls, probe: Mapping[str, Any]) -> Timing:
        """The timing of a probe of a pod's spec."""
        return cls(
            delay_s=probe.get("initialDelaySeconds", 0),
            period_s=probe.get("periodSeconds", 10),
            timeout_s=probe.get("timeoutSeconds", 1),
            successes=probe.get("successThreshold", 1),
            failures=probe.get("failureThreshold", 3),
        )


async def check(action: Mapping[str, Any], container: Mapping[str, Any], process: Process, timeout_s: float) -> Result:
    """The outcome of a probe's or hook's action in a running container."""
    try:
        async with asyncio.timeout(timeout_s):
            if "exec" in action:
                return await _command(action["exec"].get("command") or [], process)
            if "httpGet" in action:
                return await _http(action["httpGet"], container)
            if "tcpSocket" in action:
                return await _connection(action["tcpSocket"], container)
            if "sleep" in action:
                await asyncio.sleep(action["sleep"]["seconds"])
                return Result(passed=True)
            return Result(passed=False, why=f"a local node has no probe of this kind: {', '.join(action)}")
    except TimeoutError:
        return Result(passed=False, why=f"timed out after {timeout_s:g}s")


async def watch(
    probe: Mapping[str, Any],
    container: Mapping[str, Any],
    process: Process,
    turned: Callable[[Result], Awaitable[bool]],
) -> None:
    """
    Repeats a probe while the process runs, and tells when it turned from one outcome to the other.

    Args:
        turned: Called at the first outcome that reached its threshold and at each change; True ends the watch.
    """
    timing = Timing.of(probe)
    await asyncio.sleep(timing.delay_s)
    last: bool | None = None
    row = 0
    previous: bool | None = None
    while not process.ended():
        result = await check(probe, container, process, timing.timeout_s)
        row = row + 1 if result.passed == previous else 1
        previous = result.passed
        if row >= (timing.successes if result.passed else timing.failures) and result.passed != last:
            last = result.passed
            if await turned(result):
                return
        await asyncio.sleep(timing.period_s)


async def _command(command: list[str], process: Process) -> Result:
    written: list[bytes] = []
    orders = {**process.orders, "argv": command, "enter": process.pid if process.orders["isolate"] else 0}
    try:
        started = await Process.start(orders, lambda _, chunk: written.append(chunk))  # type: ignore[arg-type]
    except CannotStart as error:
        return Result(passed=False, why=str(error))
    try:
        code = await started.wait()
    except asyncio.CancelledError:
        started.kill()
        raise
    return Result(passed=code == 0, why=b"".join(written)[:WORDS].decode(errors="replace"))


async def _http(action: Mapping[str, Any], container: Mapping[str, Any]) -> Result:
    scheme = action.get("scheme", "HTTP").lower()
    url = f"{scheme}://{action.get('host') or ADDRESS}:{_port(action['port'], container)}{action.get('path', '/')}"
    headers = {each["name"]: each["value"] for each in action.get("httpHeaders") or ()}
    try:
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=False) as answer:
            passed = 200 <= answer.status < 400
            return Result(passed=passed, why=f"HTTP probe failed with statuscode: {answer.status}")
    except aiohttp.ClientError as error:
        return Result(passed=False, why=f'Get "{url}": {error}')


async def _connection(action: Mapping[str, Any], container: Mapping[str, Any]) -> Result:
    try:
        _, writer = await asyncio.open_connection(action.get("host") or ADDRESS, _port(action["port"], container))
    except OSError as error:
        return Result(passed=False, why=f"dial tcp: {error.strerror}")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Result(passed=True)


def _port(port: int | str, container: Mapping[str, Any]) -> int:
    named = {each.get("name"): each["containerPort"] for each in container.get("ports") or ()}
    return int(named.get(port, port))
