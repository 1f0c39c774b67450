"""
Custom resources written past the API server, straight into its etcd: a hundred thousand in a minute, where requests take the better part of an hour.

The API server keeps one as JSON at `/registry/<group>/<plural>/<namespace>/<name>`, and hears of what is put there as of any other
change. etcd is asked by its own HTTP gateway, on the Unix socket in the folder of a control plane.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from headrace.api.keys import GROUP

PUTS: Final = 100
"""In one transaction; etcd takes 128."""

Object = dict[str, Any]


class Stored:
    """The store of a control plane; use it as an asynchronous context manager."""

    def __init__(self, folder: Path) -> None:
        self._session = aiohttp.ClientSession("http://etcd", connector=aiohttp.UnixConnector(str(folder / "etcd.sock")))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def write(self, plural: str, objects: Iterable[Object]) -> int:
        """How many were put; each needs all that an API server gives to one, but the resourceVersion."""
        written = 0
        for chunk in _chunks(objects):
            puts = [
                {"requestPut": {"key": _text(_key(plural, each)), "value": _text(orjson.dumps(each))}} for each in chunk
            ]
            async with self._session.post("/v3/kv/txn", json={"success": puts}) as answer:
                answer.raise_for_status()
            written += len(chunk)
        return written


def _chunks(objects: Iterable[Object]) -> Iterator[list[Object]]:
    left = iter(objects)
    while chunk := list(islice(left, PUTS)):
        yield chunk


def _key(plural: str, item: Object) -> bytes:
    return f"/registry/{GROUP}/{plural}/{item['metadata']['namespace']}/{item['metadata']['name']}".encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
