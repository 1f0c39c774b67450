"""What an answer proves: requests to a server that is none of Kubernetes, as a proxy in between is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import NotServed, Unreachable

PATH = "/apis/headrace.dev/v1alpha1/namespaces/team-a/flowruns"
NOT_THERE = {
    "kind": "Status",
    "reason": "NotFound",
    "details": {"name": "etl-1", "group": "headrace.dev", "kind": "flowruns"},
}
A_LIST = {
    "kind": "FlowRunList",
    "apiVersion": "headrace.dev/v1alpha1",
    "metadata": {"resourceVersion": "7"},
    "items": [{"metadata": {"name": "etl-1"}}],
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


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"error": "upstream"}, id="a proxy's words"),
        pytest.param({"items": []}, id="of whatever"),
        pytest.param({**A_LIST, "kind": "FlowRun"}, id="an object"),
        pytest.param({**A_LIST, "kind": None}, id="no kind"),
        pytest.param({**A_LIST, "apiVersion": ""}, id="no version of the kind"),
        pytest.param({**A_LIST, "metadata": {}}, id="read at no version"),
        pytest.param({**A_LIST, "metadata": {"resourceVersion": "new"}}, id="a version that is none"),
        pytest.param({**A_LIST, "metadata": None}, id="no metadata"),
        pytest.param({**A_LIST, "items": {}}, id="items that are none"),
        pytest.param({key: value for key, value in A_LIST.items() if key != "items"}, id="no items"),
    ],
)
async def test_what_is_no_list_is_not_taken_for_an_empty_one(
    server: Server, client: KubeClient, answer: dict[str, Any]
) -> None:
    """Whoever reads a whole collection takes what is not in it for gone."""
    server.answer = web.json_response(answer)
    with pytest.raises(Unreachable, match=f"LIST {PATH}.* no list but"):
        await client.list(PATH)


@pytest.mark.parametrize(("items", "count"), [(A_LIST["items"], 1), ([], 0), (None, 0)])
async def test_a_list_may_be_empty(server: Server, client: KubeClient, items: Any, count: int) -> None:
    """Where it says so."""
    server.answer = web.json_response({**A_LIST, "items": items})
    assert len(await client.list(PATH)) == count
