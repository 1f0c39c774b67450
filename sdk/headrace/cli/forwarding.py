"""
A port of this machine that leads to a port of a pod, through the API server: what `kubectl port-forward` does.

Each connection gets a WebSocket of its own, and looks for a pod anew, so that it goes on when a pod has been replaced. The first byte of
a message is its channel: 0 is what is carried, 1 tells an error; the first message of each is the number of the port, and says nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace.cli.cluster import ClusterRefusal
from headrace.kubeapi.errors import ApiError, Forbidden, Unauthorized, Unreachable, error_class

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientWebSocketResponse

    from headrace.kubeapi.config import Connection

PROTOCOL: Final = "v4.channel.k8s.io"
CARRIED, TOLD = 0, 1
PORT_BYTES: Final = 2
PIECE: Final = 65_536
LAST_WORDS_S: Final = 5.0
LOOPBACK: Final = "127.0.0.1"
WANTED: Final = "forward a port"


@dataclass(frozen=True, slots=True)
class Target:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int


Find = Callable[[], Awaitable[Target]]
"""A pod that takes connections now. Raises: ClusterRefusal, ApiError."""


@asynccontextmanager
async def forwarded(connection: Connection, find: Find, port: int) -> AsyncIterator[int]:
    """
    The port of 127.0.0.1 that leads there meanwhile.

    Args:
        port: The one to listen on; 0: a free one.
    Raises: OSError: it is taken. ClusterRefusal, ApiError: no pod takes connections, or one may not be forwarded to.
    """
    import aiohttp  # noqa: PLC0415 - commands that forward nothing start without it

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=connection.ssl, limit=0)) as session:
        tunnels = Tunnels(session, connection, find)
        async with tunnels.opened():  # whatever is wrong is told now, and not in the browser
            pass
        server = await asyncio.start_server(tunnels.carry, LOOPBACK, port)
        async with server:
            try:
                yield int(server.sockets[0].getsockname()[1])
            finally:  # a server waits for what it carries
                await tunnels.close()


class Tunnels:
    """The connections that are carried."""

    def __init__(self, session: ClientSession, connection: Connection, find: Find) -> None:
        self._session = session
        self._connection = connection
        self._find = find
        self._open: set[asyncio.Task[Any]] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one connection to its end; what goes wrong is told, and ends this one alone."""
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            async with self.opened() as tunnel:
                await _both(reader, writer, tunnel)
        except (ClusterRefusal, ApiError) as error:
            print(f"headrace: {error}", file=sys.stderr)
        except OSError:  # one of both ends has gone
            pass
        except asyncio.CancelledError:  # by `close`: nobody waits for it
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def close(self) -> None:
        """Ends all tunnels, and waits until they have ended."""
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ClientWebSocketResponse]:
        """A tunnel to a pod. Raises: ClusterRefusal, ApiError."""
        import aiohttp  # noqa: PLC0415 - as above

        target = await self._find()
        path = f"/api/v1/namespaces/{target.namespace}/pods/{target.pod}/portforward?ports={target.port}"
        token = self._connection.authorization()
        headers = {"Authorization": token} if token else {}
        try:
            tunnel = await self._session.ws_connect(
                f"{self._connection.server}{path}", headers=headers, protocols=(PROTOCOL,), max_msg_size=0
            )
        except aiohttp.WSServerHandshakeError as error:
            answer = error_class(error.status, "")(error.status, "", error.message)
            raise ClusterRefusal(WANTED, _meaning(target, answer)) from answer
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(0, "Unreachable", f"the API server does not answer: {error}") from error
        async with tunnel:
            yield tunnel


def _meaning(target: Target, answer: ApiError) -> str:
    """Of an answer that is no tunnel."""
    where = f"pod {target.pod} in namespace {target.namespace}"
    if isinstance(answer, Forbidden | Unauthorized):
        return f"you may not forward to {where}; ask an administrator for create pods/portforward"
    return f"{where} takes no tunnel (status {answer.status}); its node, or a proxy before the API server, may not know how to"


async def _both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: ClientWebSocketResponse) -> None:
    """Ends with the first of both ways: HTTP needs no connection that is half open. Raises: ClusterRefusal, OSError."""
    out, back = asyncio.create_task(_out(reader, tunnel)), asyncio.create_task(_in(tunnel, writer))
    try:
        await asyncio.wait({out, back}, return_when=asyncio.FIRST_COMPLETED)
        if out.done() and out.exception() is not None:  # the node has closed the tunnel: it may have said why
            await asyncio.wait({back}, timeout=LAST_WORDS_S)
        for task in (back, out):
            if task.done():
                task.result()
    finally:
        for task in (out, back):
            task.cancel()
        await asyncio.gather(out, back, return_exceptions=True)


async def _out(reader: asyncio.StreamReader, tunnel: ClientWebSocketResponse) -> None:
    while piece := await reader.read(PIECE):
        await tunnel.send_bytes(bytes((CARRIED,)) + piece)


async def _in(tunnel: ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
    """Raises: ClusterRefusal: the node says what is wrong."""
    begun: set[int] = set()
    async for message in tunnel:
        if not isinstance(message.data, bytes) or not message.data:
            continue
        channel, content = message.data[0], message.data[1:]
        if channel not in begun:
            begun.add(channel)
            content = content[PORT_BYTES:]
        if channel == CARRIED:
            writer.write(content)
            await writer.drain()
        elif channel == TOLD and content:
            raise ClusterRefusal(WANTED, content.decode(errors="replace").strip())
