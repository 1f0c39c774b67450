"""Runs of Deployments from a laptop: by the kubeconfig, or from a pod that no FlowRun is around."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from ssl import SSLContext
from urllib.parse import urlsplit

from headrace.deployments.starting import Starter, wall_clock
from headrace.engine.session import current_session
from headrace.errors import UsageError
from headrace.podapi import JSON, Requests


@dataclass(frozen=True, slots=True)
class KubeconfigApi(Requests):
    """
    The API server of a kubeconfig.

    Args:
        server: Its URL, such as https://127.0.0.1:6443; it may have a path.
        ssl: For https.
        authorization: The current value of the header, or None.
    """

    server: str
    ssl: SSLContext | bool
    authorization: Callable[[], str | None]

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """As promised by Requests."""
        parts = urlsplit(self.server)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port or 80, timeout=timeout_s)
        context = self.ssl if isinstance(self.ssl, SSLContext) else None
        return http.client.HTTPSConnection(host, parts.port or 443, timeout=timeout_s, context=context)

    def headers(self) -> dict[str, str]:
        """As promised by Requests."""
        token = self.authorization()
        headers = {"Accept": JSON, "User-Agent": "headrace"}
        return headers | ({"Authorization": token} if token else {})

    @property
    def prefix(self) -> str:
        """As promised by Requests."""
        return urlsplit(self.server).path.rstrip("/")


@cache
def starter_outside() -> Starter:
    """
    What starts runs for a person's program.

    Raises: UsageError: `headrace[kube]` is not installed, or there is no cluster to talk to.
    """
    try:
        from headrace.kubeapi.config import load_connection  # noqa: PLC0415 - an extra
        from headrace.kubeapi.errors import ConfigurationError  # noqa: PLC0415 - as above

        connection = load_connection()
    except ImportError as error:
        raise UsageError(
            "run_deployment() talks to the cluster of your kubeconfig, and the client for that is missing; install "
            '"headrace[kube]"'
        ) from error
    except ConfigurationError as error:
        raise UsageError(f"run_deployment() starts a run in a cluster: {error}") from error
    api = KubeconfigApi(connection.server, connection.ssl, connection.authorization)
    return Starter(api, None, namespace=connection.namespace, clock=current_session().clock, now=wall_clock)
