"""
The Kubernetes API from inside a pod, with the pod's own ServiceAccount: standard library only.

Calls block; code on an event loop makes them in a thread. Every request opens a connection of its own: a pod makes few,
and one that was kept would be found dead after a pause. Token and certificate are read anew, as the kubelet rotates them.
"""

from __future__ import annotations

import http.client
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

from headrace.errors import HeadraceError, UsageError

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

API_DIR_ENV: Final = "HEADRACE_API_DIR"
API_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
TIMEOUT_S: Final = 10.0
MESSAGE_LIMIT: Final = 1024
"""Characters of an answer that an error shows."""


class PodApiError(HeadraceError):
    """
    A request that the API server refused, or that found none.

    Attributes: `request` is method and path, `status` the HTTP status (0 without an answer: the request may have taken
    effect all the same), `message` what the API server said, cut at 1,024 characters.
    """

    def __init__(self, request: str, status: int, message: str) -> None:
        super().__init__(request, status, message)
        self.request = request
        self.status = status
        self.message = message[:MESSAGE_LIMIT]

    def __str__(self) -> str:
        return f"{self.request}: {self.status or 'no answer'}: {self.message}"

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later: no answer, too many requests, or a fault of the server."""
        return self.status in {0, 429} or self.status >= 500


class Requests(ABC):
    """Requests to an API server, however that is reached."""

    __slots__ = ()

    @property
    def prefix(self) -> str:
        """The path of the server's URL, which stands before that of each request."""
        return ""

    @abstractmethod
    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that is not open yet. Raises: OSError."""

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """Of each request. Raises: OSError."""

    def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The object or list at `path`. Raises: PodApiError."""
        return self.request("GET", path, params=params)

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object as stored, created in the collection at `path`. Raises: PodApiError (409: it is there already)."""
        return self.request("POST", path, body=body)

    def patch(self, path: str, body: Any, *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """
        The object after the patch.

        Args:
            body: A mapping is a merge patch, refused with 409 if it carries a metadata.resourceVersion that is no longer
                current; a list is a JSON patch, refused with 422 if one of its tests fails.
        Raises: PodApiError.
        """
        kind = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        return self.request("PATCH", path, body=body, content_type=kind, timeout_s=timeout_s)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        """
        One request, its JSON answer.

        Args:
            timeout_s: Seconds without a byte after which it is given up, here and by the API server.
        Raises: PodApiError.
        """
        params = {**(params or {}), "timeout": f"{max(1, round(timeout_s * 1000))}ms"}
        with self._answer(method, path, params, body=body, content_type=content_type, timeout_s=timeout_s) as answer:
            return _parsed(f"{method} {path}", answer.read())

    def watch(self, path: str, params: Mapping[str, str], *, timeout_s: int) -> Iterator[dict[str, Any]]:
        """
        Events of the collection at `path` as they come, {"type": …, "object": …}; ends when the server ends it.

        Args:
            params: Selectors, and the resourceVersion to go on from.
            timeout_s: Seconds after which the server is asked to end it.
        Raises: PodApiError; 410 where the resourceVersion is too old: list anew.
        """
        params = {**params, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(timeout_s)}
        # The server ends it in time; the rest is for one that does not say so.
        with self._answer("GET", path, params, timeout_s=timeout_s + TIMEOUT_S) as answer:
            for line in answer:
                event = _parsed(f"GET {path}", line)
                if event.get("type") == "ERROR":
                    status = event.get("object") or {}
                    raise PodApiError(f"GET {path}", int(status.get("code") or 500), str(status.get("message") or ""))
                yield event

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        body: Any = None,
        content_type: str = JSON,
        timeout_s: float,
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer, its head read. Raises: PodApiError, also for what goes wrong while the block reads its body."""
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            headers = self._headers(content_type if data else None)
            with closing(self.connection(timeout_s)) as connection:
                connection.request(method, f"{self.prefix}{path}?{urlencode(params)}", body=data, headers=headers)
                answer = connection.getresponse()
                if answer.status >= 400:
                    raise PodApiError(f"{method} {path}", answer.status, _problem(answer.read()))
                yield answer
        except (OSError, http.client.HTTPException) as error:
            raise PodApiError(f"{method} {path}", 0, str(error) or type(error).__name__) from error

    def _headers(self, content_type: str | None) -> dict[str, str]:
        return self.headers() | ({"Content-Type": content_type} if content_type else {})


@dataclass(frozen=True, slots=True)
class PodApi(Requests):
    """
    The API server, as this pod reaches it.

    Attributes: `directory` holds `token` and `ca.crt`.
    """

    host: str
    port: int
    directory: Path

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Self:
        """
        The API server that the kubelet names. Raises: UsageError: none is named, or no token is mounted.

        Args:
            variables: The environment of the process.
        """
        directory = Path(variables.get(API_DIR_ENV) or API_DIR)
        host, port = variables.get("KUBERNETES_SERVICE_HOST"), variables.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not port.isdigit():
            raise UsageError(
                f"KUBERNETES_SERVICE_HOST is {host!r} and KUBERNETES_SERVICE_PORT {port!r}, expected the address of the "
                "API server, which the kubelet sets in every pod; look at the pod's environment"
            )
        if not (directory / "token").is_file():
            raise UsageError(
                f'no token of a ServiceAccount at "{directory / "token"}": set spec.apiAccess: Enabled on the Flow'
            )
        return cls(host, int(port), directory)

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """As promised by Requests."""
        context = ssl.create_default_context(cafile=self.directory / "ca.crt")
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=context)

    def headers(self) -> dict[str, str]:
        """As promised by Requests."""
        token = (self.directory / "token").read_text().strip()
        return {"Accept": JSON, "User-Agent": "headrace-pod", "Authorization": f"Bearer {token}"}


def _parsed(request: str, payload: bytes) -> dict[str, Any]:
    """A JSON object. Anything else is from a proxy in between, or was cut off: whether the request took effect is open."""
    try:
        found = json.loads(payload)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    raise PodApiError(request, 0, f"the answer is no JSON object but {payload[:200].decode(errors='replace')!r}")


def _problem(payload: bytes) -> str:
    """What a `metav1.Status` says, or the body as it is."""
    try:
        found = json.loads(payload)
    except ValueError:
        found = None
    message = found.get("message") if isinstance(found, dict) else None
    return str(message or payload[:200].decode(errors="replace"))
