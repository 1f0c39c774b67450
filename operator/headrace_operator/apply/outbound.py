"""
Requests that Automations have the operator make, and where none may go.

A URL is a text of whoever may write an Automation. What nodes and clouds keep on their own addresses, credentials among it, is not for them.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from headrace.kubeapi.errors import ApiError, NotFound
from headrace_operator.kube.cluster import Reader
from headrace_operator.kube.resources import SECRETS

TIMEOUT_S: Final = 10.0


class SecretUnreadable(Exception):
    """A key of a Secret cannot be had. Attributes: `problem` says why, and what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class HostRefused(OSError):
    """An address that requests may not go to."""


async def secret_value(cluster: Reader, namespace: str, name: str, key: str) -> bytes:
    """One value of a Secret. Raises: SecretUnreadable. ApiError: the API server does not answer."""
    try:
        found = await cluster.get(SECRETS, namespace, name)
    except NotFound:
        raise SecretUnreadable(f'Secret "{name}" is not in namespace {namespace}; create it') from None
    except ApiError as error:
        if error.status != 403:
            raise
        raise SecretUnreadable(
            f'Secret "{name}" may not be read in namespace {namespace}; bind the ClusterRole headrace-automation-secrets there'
        ) from None
    try:
        value = base64.b64decode((found.get("data") or {})[key])
    except (KeyError, binascii.Error):
        value = b""
    if not value:
        raise SecretUnreadable(f'Secret "{name}" has no key "{key}", or it is empty; set it')
    return value


@asynccontextmanager
async def guarded_session(url: str, hosts: frozenset[str]) -> AsyncIterator[aiohttp.ClientSession]:
    """
    A session for requests to this URL, as it is sent: what is answered is not unpacked.

    Args:
        hosts: Names and addresses that requests may go to though they are on this machine or its link.
    Raises: HostRefused. ValueError: the URL is none.
    """
    # As the client understands it: it takes digits of other scripts for digits, and asks no resolver for an address.
    host = URL(url).raw_host or ""
    if host not in hosts and is_near(host):
        raise HostRefused(_near(host))
    connector = aiohttp.TCPConnector(resolver=GuardedResolver(hosts), force_close=True)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        yield session


def is_near(address: str) -> bool:
    """Whether it is an address of this machine or of its link, where nodes keep credentials; names are none."""
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = parsed if mapped is None else mapped
    return parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast


class GuardedResolver(AbstractResolver):
    """Names that stand for an address of this machine or its link are not resolved, unless they are in `hosts`."""

    def __init__(self, hosts: frozenset[str]) -> None:
        self._hosts = hosts
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if host in self._hosts:
            return found
        far = [each for each in found if not is_near(each["host"])]
        if not far:
            raise HostRefused(_near(host))
        return far

    async def close(self) -> None:
        await self._resolver.close()


def refusal(error: BaseException) -> HostRefused | None:
    """The reason why a host was not resolved, which the client wraps."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HostRefused):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def is_unanswered(error: Exception) -> bool:
    """Whether no answer came, which may do so later; else the URL cannot be used. A wrong certificate's error is a ValueError too."""
    return isinstance(error, (aiohttp.ClientError, OSError)) and not isinstance(
        error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
    )


def _near(host: str) -> str:
    return f'"{host}" is an address of the operator\'s own machine or link; HEADRACE_AUTOMATION_HOSTS may allow it'
