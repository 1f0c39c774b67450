"""The bad network that other tests put before the API server: each of its faults does what its name says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import ApiError, Gone, NotFound, TooManyRequests, Unreachable
from tests.cluster.support.faulty_proxy import ON_THE_WAY_S, Fault, Faults, ProxyProcess

Through = Callable[[Faults], AbstractAsyncContextManager[tuple[KubeClient, ProxyProcess]]]


@pytest.fixture
def through(kubeconfig: Path, tmp_path: Path) -> Through:
    """A client behind the bad network, and the network."""

    @asynccontextmanager
    async def opened(faults: Faults) -> AsyncIterator[tuple[KubeClient, ProxyProcess]]:
        async with (
            ProxyProcess(kubeconfig, tmp_path, faults) as proxy,
            KubeClient(load_connection(str(proxy.kubeconfig)), user_agent="headrace-tests/proxied") as client,
        ):
            yield client, proxy

    return opened


def config_maps(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


async def test_without_faults_it_passes_everything_on(
    through: Through, client: KubeClient, namespace: str, audit_log: Path
) -> None:
    """Objects, errors, lists in pages, watches; the user agent too, by which the audit log tells replicas apart."""
    async with through(Faults()) as (proxied, _):
        for number in range(3):
            await proxied.create(config_maps(namespace), {"metadata": {"name": f"m-{number}"}})
        names = {
            item["metadata"]["name"]
            async for page in proxied.pages(config_maps(namespace), page_size=2)
            for item in page["items"]
        }
        assert names >= {"m-0", "m-1", "m-2"}
        assert b'"ADDED"' in await anext(_watched(proxied, namespace))
        with pytest.raises(NotFound):
            await proxied.get(config_maps(namespace, "absent"))
    assert (await client.get(config_maps(namespace, "m-2")))["metadata"]["name"] == "m-2"
    assert '"userAgent":"headrace-tests/proxied"' in audit_log.read_text()  # noqa: ASYNC240 - at the end of the test


@pytest.mark.parametrize(
    ("faults", "done"),
    [
        (Faults(lost=1), False),
        (Faults(refused=1), False),
        (Faults(stalled=1), False),
        (Faults(unanswered=1), True),
        (Faults(disowned=1), True),
        (Faults(contradicted=1), False),
        (Faults(throttled=1), False),
        (Faults(truncated=1), True),
        (Faults(repeated=1), True),
    ],
    ids=lambda value: ", ".join(sorted(value.kinds - {Fault.NONE})) if isinstance(value, Faults) else str(value),
)
async def test_a_write_fails_and_was_carried_out_or_not(
    through: Through, client: KubeClient, namespace: str, faults: Faults, done: bool
) -> None:
    """The sender is told of a failure each time; only the API server knows which it was."""
    async with through(faults) as (proxied, _):
        with pytest.raises(ApiError):
            await proxied.create(config_maps(namespace), {"metadata": {"name": "m"}}, timeout_s=1)
        names = {item["metadata"]["name"] for item in await client.list(config_maps(namespace))}
    assert ("m" in names) is done


async def test_a_watch_is_cut_off_within_an_event(through: Through, namespace: str) -> None:
    """The last line has no end."""
    async with through(Faults(watch_life_s=0.05)) as (proxied, proxy):
        with pytest.raises(Unreachable):
            assert all([line.endswith(b"\n") async for line in _watched(proxied, namespace)])
        assert (await proxy.counts())[Fault.CUT] == 1


async def test_a_watch_ends_in_order_before_its_first_event(through: Through, namespace: str) -> None:
    """No line, and no error."""
    async with through(Faults(closed=1)) as (proxied, _):
        assert [line async for line in _watched(proxied, namespace)] == []


async def test_a_watch_falls_silent_and_stays_open(through: Through, namespace: str) -> None:
    """Only patience tells."""
    async with through(Faults(watch_talk_s=0.01)) as (proxied, proxy):
        path, params = config_maps(namespace), {"watch": "true", "resourceVersion": "0"}
        with pytest.raises(Unreachable):
            _ = [line async for line in proxied.raw_lines(path, params, read_timeout_s=1)]
        assert (await proxy.counts())[Fault.SILENT] == 1


async def test_events_come_twice_at_once_or_late(through: Through, namespace: str) -> None:
    """Each as it was."""
    async with through(Faults(doubled=1)) as (proxied, proxy):
        for number in range(4):
            await proxied.create(config_maps(namespace), {"metadata": {"name": f"m-{number}"}})
        lines = []
        async for line in _watched(proxied, namespace):
            lines.append(line)
            if len(lines) == 8:
                break
        assert len(set(lines)) < 8
        assert (await proxy.counts())[Fault.DOUBLED] >= 3


async def test_who_writes_before_the_time_is_over_is_hasty(through: Through, namespace: str) -> None:
    """After a moment for what was on its way."""
    async with through(Faults(throttled=1, throttled_s=30)) as (proxied, proxy):
        for pause_s in (0.0, ON_THE_WAY_S + 0.3):
            await asyncio.sleep(pause_s)
            with pytest.raises(TooManyRequests) as refusal:
                await proxied.create(config_maps(namespace), {"metadata": {"name": "m"}})
            assert refusal.value.retry_after_s == 30
        assert (await proxy.counts())[Fault.HASTY] == 1


async def test_history_is_lost(through: Through, namespace: str) -> None:
    """The next page of a list is answered with 410, a watch with an event that says so, as the API server does."""
    async with through(Faults(gone=1)) as (proxied, proxy):
        for number in range(2):
            await proxied.create(config_maps(namespace), {"metadata": {"name": f"m-{number}"}})
        assert b'"code": 410' in await anext(_watched(proxied, namespace))
        with pytest.raises(Gone):
            [page async for page in proxied.pages(config_maps(namespace), page_size=1)]
        assert (await proxy.counts())[Fault.GONE] == 2


async def test_the_seed_repeats_the_faults(through: Through, namespace: str) -> None:
    """The same requests in the same order meet the same faults."""
    outcomes = []
    for _ in range(2):
        async with through(Faults(seed=7, refused=0.5)) as (proxied, proxy):
            answers = [await _outcome(proxied, namespace) for _ in range(20)]
            assert (await proxy.counts())[Fault.REFUSED] == answers.count(False)
            proxy.kubeconfig.unlink()
            outcomes.append(answers)
    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {True, False}


async def _outcome(client: KubeClient, namespace: str) -> bool:
    try:
        await client.get(config_maps(namespace))
    except ApiError:
        return False
    return True


def _watched(client: KubeClient, namespace: str) -> AsyncIterator[bytes]:
    return client.raw_lines(config_maps(namespace), {"watch": "true", "resourceVersion": "0"})
