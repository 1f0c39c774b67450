"""What a kubelet is told: alive is about this process alone, ready about its part in the work."""

from __future__ import annotations

import aiohttp
import pytest

from headrace_operator.probes import Probes
from tests.ports import free_port


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
    port = free_port()
    async with Probes(port, ill=lambda: ill, unready=lambda: unready), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as alive:
            assert alive.status == healthz
            assert (await alive.json())["message"] == (ill or "ok")
        async with session.get(f"http://127.0.0.1:{port}/readyz") as ready:
            assert ready.status == readyz
            assert (await ready.json())["message"] == (ill or unready or "ok")
