"""
Requests to the Kubernetes API over one pool of kept-alive connections.

Plain HTTP and orjson: on the hot path the generated clients cost 2 to 10 times the CPU (docs/design.md). Single requests go
through `wire.py`, watches and logs through aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

import orjson

from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import ApiError, Gone, NotFound, Unreachable, error_class
from headrace.kubeapi.nesting import loads
from headrace.kubeapi.wire import Address, Wire, WireError

if TYPE_CHECKING:
    from aiohttp import ClientSession

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

PAGE_SIZE = 500
REQUEST_TIMEOUT_S = 30.0
LONGEST_WAIT_S = 60.0
"""Whatever a server asks for: a mistake of a proxy must not silence us for hours."""
MAX_CONNECTIONS = 64
"""More in flight would wait in the API server's queues instead of ours (API Priority and Fairness)."""

JSON = "application/json"


UNQUOTED = "/:@!$&'()*+,;=~%?"
"""Characters that may stand in a path as they are; the names of objects have no others."""


class KubeClient:
    """
    An open client; use it as an asynchronous context manager.

    Args:
        check: Called when a request with a body, which every write has, goes onto the wire. If it raises, nothing is sent, and the request
            ends as Unreachable.
    """

    def __init__(
        self, connection: Connection, *, user_agent: str = "headrace", check: Callable[[], None] | None = None
    ) -> None:
        self.connection = connection
        self._check = _checked(check) if check else None
        self._wire = Wire(Address.of(connection.server, connection.ssl), limit=MAX_CONNECTIONS)
        self._agent = f"User-Agent: {_one_line(user_agent)}\r\nAccept: {JSON}\r\n"
        self._user_agent = user_agent
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every connection."""
        await self._wire.close()
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The object or list at `path`. Raises: ApiError."""
        return await self.request("GET", path, params=params)

    async def create(self, path: str, body: Mapping[str, Any], *, timeout_s: float | None = None) -> dict[str, Any]:
        """The object as stored, created in the collection at `path`. Raises: AlreadyExists, ApiError."""
        return await self.request("POST", path, body=body, timeout_s=timeout_s)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object as stored; its resourceVersion, if any, must be current. Raises: Conflict, ApiError."""
        return await self.request("PUT", path, body=body)

    async def patch(
        self,
        path: str,
        body: Any,
        *,
        content_type: str = MERGE_PATCH,
        params: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """
        The object after the patch.

        Args:
            body: A mapping, or a list of operations with `JSON_PATCH`. A merge patch that carries
                metadata.resourceVersion is refused when the object has changed since.
        Raises: Conflict, ApiError.
        """
        return await self.request(
            "PATCH", path, params=params, body=body, content_type=content_type, timeout_s=timeout_s
        )

    async def delete(
        self,
        path: str,
        *,
        uid: str | None = None,
        version: int | None = None,
        grace_s: int | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """
        Asks for deletion; an object that is gone already is success.

        Args:
            uid: Only the object with this uid: one created anew under the same name stays.
            version: Only this resource version of it.
            grace_s: Seconds until a pod is killed; None leaves the pod's own.
        Raises: Conflict: another object has the name, or it has changed. ApiError.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        expected = {"uid": uid, "resourceVersion": None if version is None else str(version)}
        options["preconditions"] = {key: value for key, value in expected.items() if value is not None}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        try:
            await self.request("DELETE", path, body=options, timeout_s=timeout_s)
        except NotFound:
            return

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, page_size: int = PAGE_SIZE
    ) -> AsyncIterator[dict[str, Any]]:
        """
        The list at `path`, a page at a time; each page as the API returns it.

        Raises: Gone. Unreachable: an answer is no list, whoever it is from; it would be taken for an empty one. ApiError.
        """
        query = {**(params or {}), "limit": str(page_size)}
        while True:
            page = await self.get(path, query)
            if not _is_list(page):
                text = f"the answer is no list but {str(page)[:200]!r}"
                raise Unreachable(0, "Unreachable", text, request=f"LIST {path}")
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def list(self, path: str, params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Every object at `path`, read in pages. Raises: ApiError."""
        while True:
            try:
                return [item async for page in self.pages(path, params) for item in page.get("items") or ()]
            except Gone:  # the continue token outlived the server's history: begin again
                continue

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """
        One request, its JSON answer.

        Args:
            timeout_s: Seconds after which it is given up, here and by the API server. None: 30 s, here only.
        Raises: ApiError, of the class that `error_class` names.
        """
        data = None if body is None else orjson.dumps(body)
        target = path if path.isascii() and path.isprintable() and " " not in path else quote(path, safe=UNQUOTED)
        if timeout_s is not None:
            params = {**(params or {}), "timeout": f"{max(1, round(timeout_s * 1000))}ms"}
        if params:
            target = f"{target}?{urlencode(params)}"
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S if timeout_s is None else timeout_s):
                status, headers, payload = await self._wire.request(
                    method,
                    target,
                    headers=self._header_lines(content_type if data is not None else None),
                    body=data,
                    check=self._check if data is not None else None,
                )
        except (OSError, TimeoutError) as error:
            text = str(error) or type(error).__name__
            raise Unreachable(0, "Unreachable", text, request=f"{method} {path}") from error
        if status >= 400:
            raise failure(f"{method} {path}", status, payload, headers)
        return _answer(f"{method} {path}", payload)

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """The body of a GET as text: logs, health endpoints, metrics. Raises: ApiError."""
        return "".join([line async for line in self.lines(path, params)])

    async def lines(
        self, path: str, params: Mapping[str, str] | None = None, *, read_timeout_s: float | None = None
    ) -> AsyncIterator[str]:
        """The body of a GET, a line at a time with its line feed, as it arrives. Raises: ApiError."""
        async for line in self.raw_lines(path, params, read_timeout_s=read_timeout_s):
            yield line.decode(errors="replace")

    async def raw_lines(
        self, path: str, params: Mapping[str, str] | None = None, *, read_timeout_s: float | None = None
    ) -> AsyncIterator[bytes]:
        """As `lines`, in bytes. A line may be of any length: objects reach 1.5 MB."""
        import aiohttp  # noqa: PLC0415 - commands that stream nothing start in half the time without it

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_S, sock_read=read_timeout_s)
        url = self.connection.server + path
        try:
            async with self._streaming().get(
                url, params=params, headers=self._headers(None), timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise failure(f"GET {path}", response.status, await response.read(), response.headers)
                rest = b""
                async for chunk in response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield line + b"\n"
                if rest:
                    yield rest
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or type(error).__name__
            raise Unreachable(0, "Unreachable", text, request=f"GET {path}") from error

    def _streaming(self) -> ClientSession:
        """What streams go over, opened by the first of them."""
        if self._session is None:
            import aiohttp  # noqa: PLC0415 - as above

            self._session = aiohttp.ClientSession(
                # No limit: a stream keeps its connection, and one that waited for another's end would wait for ever.
                connector=aiohttp.TCPConnector(ssl=self.connection.ssl, limit=0, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
                headers={"User-Agent": self._user_agent, "Accept": JSON},
            )
        return self._session

    def _header_lines(self, content_type: str | None) -> str:
        typed = "" if content_type is None else f"Content-Type: {content_type}\r\n"
        token = self.connection.authorization()
        return f"{self._agent}{typed}Authorization: {_one_line(token)}\r\n" if token else self._agent + typed

    def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {} if content_type is None else {"Content-Type": content_type}
        token = self.connection.authorization()
        if token:
            headers["Authorization"] = token
        return headers


def _checked(check: Callable[[], None]) -> Callable[[], None]:
    """The check, whose failure is one of the request."""

    def checked() -> None:
        try:
            check()
        except Exception as error:
            raise WireError(str(error) or type(error).__name__) from error

    return checked


def _one_line(value: str) -> str:
    """The value of a header. Raises: ValueError: it would be more than one."""
    if not value.isprintable():
        raise ValueError("the value of a header has characters that cannot be printed; check the token or user agent")
    return value


def _answer(request: str, payload: bytes) -> dict[str, Any]:
    """A JSON object. Anything else is from a proxy in between, or was cut off: whether the request took effect is open."""
    try:
        answer = loads(payload)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        text = f"the answer is no JSON object but {payload[:200].decode(errors='replace')!r}"
        raise Unreachable(0, "Unreachable", text, request=request)
    return answer


def _is_list(page: Mapping[str, Any]) -> bool:
    """Whether it is a list of Kubernetes: of some kind, read at some version; it may be empty."""
    try:
        int(page["metadata"]["resourceVersion"])
        is_of_a_kind = page["kind"].endswith("List") and bool(page["apiVersion"])
        return is_of_a_kind and isinstance(page["items"], list | None)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


def failure(request: str, status: int, payload: bytes, headers: Mapping[str, str]) -> ApiError:
    """The error of an answer of 400 or more, from its `metav1.Status` where it carries one."""
    answer = _object(payload)
    reason, message = (str(answer.get(key) or "") for key in ("reason", "message"))
    details = answer.get("details")
    name = str(details.get("name") or "") if isinstance(details, dict) else ""
    return error_class(status, reason, name=name)(
        status,
        reason or "Unknown",
        message or payload[:200].decode(errors="replace"),
        request=request,
        retry_after_s=_retry_after_s(headers),
    )


def _object(payload: bytes) -> dict[str, Any]:
    """A JSON object; empty where it is none."""
    try:
        answer = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, `LONGEST_WAIT_S` at most; proxies name an instant, which counts from that of the answer. None: nothing usable is said."""
    said = headers.get("Retry-After", "")
    if said.isdecimal():
        return min(float(said), LONGEST_WAIT_S)
    try:
        until, since = parsedate_to_datetime(said), parsedate_to_datetime(headers.get("Date", ""))
        return min(max(0.0, (until - since).total_seconds()), LONGEST_WAIT_S)
    except (ValueError, TypeError):  # no date at all, or one without a zone
        return None
