"""What an answer proves: requests to a server that is none of Kubernetes, as a proxy in between is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import NotServed

PATH = "/apis/headrace.dev/v1alpha1/namespaces/team-a/flowruns"
NOT_THERE = {
    "kind": "Status",
    "reason": "NotFound",
    "details": {"name": "etl-1", "group": "headrace.dev", "kind": "flowruns"},
}


class Server:
    """Gives every request the same answer."""

    def __init__(self) -> None:
        self.answer = web.Response()

    async def serve(self, _request: web.Request) -> web.Response:
        return self.answer


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KubeClient]:
    """A client of that server."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    url = f"http://{host}:{port}"
    async with KubeClient(Connection(url, "default", ssl=False, authorization=lambda: None)) as opened:
        yield opened
    await runner.cleanup()


async def test_the_deletion_of_an_object_that_is_gone_is_success(server: Server, client: KubeClient) -> None:
    """The API server names it."""
    server.answer = web.json_response(NOT_THERE, status=404)
    await client.delete(f"{PATH}/etl-1", uid="u")


@pytest.mark.parametrize("body", [b"404 page not found\n", b"<html>not found</html>", b'{"reason": "NotFound"}'])
async def test_a_deletion_of_which_nobody_has_heard_is_none(server: Server, client: KubeClient, body: bytes) -> None:
    """The object may be there: its kind is not served for a moment, or a proxy has answered."""
    server.answer = web.Response(body=body, status=404)
    with pytest.raises(NotServed):
        await client.delete(f"{PATH}/etl-1", uid="u")
