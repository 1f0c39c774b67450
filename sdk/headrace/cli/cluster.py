"""What commands that talk to a cluster share: which one, as whom, and what to say when it refuses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol, TypeVar

import typer

from headrace.api import keys
from headrace.cli.commanding import kubeconfig
from headrace.cli.printing import shortened
from headrace.errors import HeadraceError, UsageError

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

T = TypeVar("T")
NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The namespace. Else that of kubectl's context.")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")]
Context = Annotated[str | None, typer.Option(help="A context of your kubeconfig. Else the current one.")]


class Api(Protocol):
    """The requests that commands make; `KubeClient` has them."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]: ...

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]: ...

    async def patch(self, path: str, body: Any) -> dict[str, Any]: ...

    def pages(self, path: str, params: Mapping[str, str] | None = None) -> AsyncIterator[dict[str, Any]]: ...


class ClusterRefusal(HeadraceError):
    """
    The cluster did not do what a command asked for.

    Attributes: `wanted` says what, `problem` why not and what to do.
    """

    def __init__(self, wanted: str, problem: str) -> None:
        super().__init__(wanted, problem)
        self.wanted = wanted
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot {self.wanted}: {self.problem}"


def in_cluster(
    work: Callable[[KubeClient, str], Awaitable[T]], *, namespace: str = "", context: str | None = None
) -> T:
    """
    What the work returns, given an open client and the namespace to work in.

    Raises: ConfigurationError: there is no cluster to talk to. HeadraceError, KubeError: as the work does.
    """
    from headrace.cli.signin import connection_of  # noqa: PLC0415 - slow to import
    from headrace.kubeapi.client import KubeClient  # noqa: PLC0415 - as above

    connection = connection_of(kubeconfig(), context)

    async def connected() -> T:
        async with KubeClient(connection, user_agent="headrace-cli") as client:
            return await work(client, namespace or connection.namespace)

    return asyncio.run(connected())


def path_of(resource: keys.Resource, namespace: str = "", name: str = "") -> str:
    """
    The path of a collection of ours (all namespaces where none is given), or of one object in it.

    Raises: UsageError: what was typed is no name, and would be another path.
    """
    for typed in (namespace, name):
        if typed and not NAME.fullmatch(typed):
            raise UsageError(f'"{shortened(typed, 80)}" is no name: expected lower case letters, digits, "-" and "."')
    within = f"/namespaces/{namespace}" if namespace else ""
    collection = f"/apis/{keys.API_VERSION}{within}/{resource.plural}"
    return f"{collection}/{name}" if name else collection


async def listed(api: Api, path: str, params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Every object at a path, read in pages. Raises: ClusterRefusal, ApiError."""
    from headrace.kubeapi.errors import Gone  # noqa: PLC0415 - as above

    wanted = f"list {path.rpartition('/')[2]}"
    while True:
        found: list[dict[str, Any]] = []
        pages = api.pages(path, params)
        try:
            while (page := await asked(wanted, anext(pages, None))) is not None:
                found += page.get("items") or ()
        except Gone:  # the list took longer than the API server's history lasts
            continue
        return found


async def asked(wanted: str, request: Awaitable[T], *, missing: str = "") -> T:
    """
    The answer to one request.

    Args:
        wanted: What is asked for, as it goes on from "cannot".
        missing: What to do where the object is not there.
    Raises: ClusterRefusal: rights, an object that is missing, a rule that it breaks. ApiError: anything else.
    """
    from headrace.kubeapi.errors import (  # noqa: PLC0415 - as above
        Forbidden,
        Invalid,
        NotFound,
        NotServed,
        Unauthorized,
    )

    try:
        return await request
    except NotFound as error:
        raise ClusterRefusal(wanted, missing or error.message) from error
    except NotServed as error:
        absent = "headrace's definitions are not installed; kubectl apply -f crds/ installs them"
        raise ClusterRefusal(wanted, absent if f"/{keys.GROUP}/" in error.request else str(error)) from error
    except Forbidden as error:
        raise ClusterRefusal(wanted, f"{error.message}; ask an administrator for the right to") from error
    except Unauthorized as error:
        raise ClusterRefusal(wanted, "the cluster does not accept your credentials; sign in again") from error
    except Invalid as error:
        raise ClusterRefusal(wanted, error.message) from error
