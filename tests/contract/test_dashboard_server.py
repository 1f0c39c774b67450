"""Where the dashboard listens; it needs no API server to do so."""

from __future__ import annotations

import socket

import aiohttp
import pytest

from headrace.kubeapi.config import Connection
from headrace_dashboard.__main__ import serving
from headrace_dashboard.settings import Settings
from tests.ports import free_port

NOBODY = Connection(server="http://127.0.0.1:9", namespace="default", ssl=False, authorization=lambda: None)


def has_ipv6() -> bool:
    """Whether this machine has the address ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def answered(url: str) -> int | None:
    """The status; None if nobody listens there."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status
    except aiohttp.ClientConnectorError:
        return None


@pytest.mark.parametrize(("host", "is_everywhere"), [("*", True), ("127.0.0.1", False)])
async def test_it_listens_on_all_addresses_of_both_families_or_on_the_one_that_is_named(host: str, is_everywhere: bool):
    """A cluster has IPv4, IPv6 or both."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    port = free_port()
    async with serving(Settings(host=host, port=port), NOBODY):
        assert await answered(f"http://127.0.0.1:{port}/healthz") == 200
        assert await answered(f"http://[::1]:{port}/healthz") == (200 if is_everywhere else None)
