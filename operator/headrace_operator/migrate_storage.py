"""
Rewrites objects that etcd holds in a former version of the API.

    python -m headrace_operator.migrate_storage      exits with 0 once every definition's storedVersions names one version

Run it after an upgrade that moved the storage version, as somebody who may write our objects and the status of definitions
(docs/versions.md). Each object is written as it is, and the API server stores it in the present version. A definition is told so last: whatever
ends this program before that, it is run again; two of them at once do the same twice.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

from headrace.api.crd import KINDS
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import ApiError, ConfigurationError, Gone, NotFound

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def migrate(client: KubeClient, definition: str) -> int | None:
    """
    How many objects of the definition were rewritten; None if they need not be.

    Raises: Conflict: the definition was changed meanwhile; run it again. ApiError.
    """
    path = f"{DEFINITIONS}/{definition}"
    found = await client.get(path)
    storage = next(version["name"] for version in found["spec"]["versions"] if version["storage"])
    if found["status"]["storedVersions"] == [storage]:
        return None
    count = await _rewrite(client, f"/apis/{found['spec']['group']}/{storage}", found["spec"]["names"]["plural"])
    # Of the version that was read: another storage version since then would leave objects of this one unmentioned.
    version = found["metadata"]["resourceVersion"]
    done = {"metadata": {"resourceVersion": version}, "status": {"storedVersions": [storage]}}
    await client.patch(f"{path}/status", done)
    return count


async def _rewrite(client: KubeClient, root: str, plural: str) -> int:
    count = 0
    for path in await _paths(client, root, plural):
        try:
            await client.patch(path, {})
        except NotFound:  # deleted since it was listed
            continue
        count += 1
    return count


async def _paths(client: KubeClient, root: str, plural: str) -> list[str]:
    """Of a hundred thousand objects these fit into memory; writing page by page would outlive the list's continue token."""
    while True:
        with suppress(Gone):  # the token of a long list outlived the server's history: begin again
            pages = client.pages(f"{root}/{plural}")
            return [_path(root, plural, item["metadata"]) async for page in pages for item in page.get("items") or ()]


def _path(root: str, plural: str, metadata: dict[str, Any]) -> str:
    within = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{within}/{plural}/{metadata['name']}"


async def _migrate_all() -> None:
    async with KubeClient(load_connection(), user_agent="headrace-migrate-storage") as client:
        for kind in KINDS:
            name = kind.resource.crd_name
            count = await migrate(client, name)
            told = "is stored in one version" if count is None else f"{count} object(s) rewritten"
            sys.stdout.write(f"{name}: {told}\n")


def main() -> int:
    """Exit status: 0 when all is stored in one version, 1 when it is to be run again, 2 without a cluster."""
    try:
        asyncio.run(_migrate_all())
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except ApiError as error:
        sys.stderr.write(f"{error}; nothing is lost: mend it, then run this again\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
