"""What a kubelet is told: alive is about this process alone, ready about its part in the work."""

from __future__ import annotations

import socket

import aiohttp
import pytest

from headrace_operator.probes import Probes, unready


@pytest.mark.parametrize(
    ("leads", "works", "silent_s", "expected"),
    [
        pytest.param(True, True, 0.0, None, id="a leader at work"),
        pytest.param(True, False, 0.0, "caches are not filled", id="a leader that still lists"),
        pytest.param(False, False, 2.0, None, id="a standby that hears of the leader"),
        pytest.param(
            False, False, 11.0, None, id="a standby whose leader has just died, and that is about to take over"
        ),
        pytest.param(False, False, 15.1, "has not told", id="a standby that is cut off"),
        pytest.param(False, False, float("inf"), "has not told", id="one that has never reached the API server"),
    ],
)
def test_a_replica_is_ready_when_it_works_or_could_take_over(
    leads: bool, works: bool, silent_s: float, expected: str | None
):
    """A standby is ready too: a rollout waits for it."""
    told = unready(leads=leads, works=works, silent_s=silent_s, lease_s=10)

    assert told is None if expected is None else expected in str(told)


@pytest.mark.parametrize(
    ("ill", "unready", "healthz", "readyz"),
    [
        pytest.param(None, None, 200, 200, id="all is well"),
        pytest.param(None, "the caches are empty", 200, 503, id="alive, and not ready"),
        pytest.param("a part has failed", None, 500, 503, id="what has failed is not ready either"),
    ],
)
async def test_both_answers_come_from_one_port(ill: str | None, unready: str | None, healthz: int, readyz: int):
    """The body says why, for who asks by hand."""
    port = _free_port()
    async with Probes(port, ill=lambda: ill, unready=lambda: unready), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as alive:
            assert alive.status == healthz
            assert (await alive.json())["message"] == (ill or "ok")
        async with session.get(f"http://127.0.0.1:{port}/readyz") as ready:
            assert ready.status == readyz
            assert (await ready.json())["message"] == (ill or unready or "ok")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
