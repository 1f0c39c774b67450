"""Clients of people and of pods: ServiceAccounts with the rights that a test gives them, and their tokens."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import ApiError
from tests.cluster.support.real_flows import a_service_account

AGENT = "headrace-attacker"
FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Signed:
    """Somebody who has signed in."""

    client: KubeClient
    user: str

    async def refused(self, method: str, path: str, body: Any = None, *, content_type: str = "") -> ApiError:
        """What the API server says against a request. Raises: AssertionError: it was carried out."""
        chosen = {"content_type": content_type} if content_type else {}
        try:
            await self.client.request(method, path, body=body, **chosen)
        except ApiError as error:
            return error
        raise AssertionError(f"{self.user}: {method} {path} was carried out")

    async def would_be_refused(self, path: str, body: Any) -> bool:
        """Whether it may not create this; nothing is kept. Policies, labels and params are in force after a moment."""
        try:
            await self.client.request("POST", path, body=body, params={"dryRun": "All"})
        except ApiError as error:
            return error.status == FORBIDDEN
        return False


@asynccontextmanager
async def signed_in(
    admin: KubeClient, plane: Plane, namespace: str, account: str, *, pod: str | None = None
) -> AsyncIterator[Signed]:
    """
    A ServiceAccount that is there.

    Args:
        pod: Its token is bound to a new pod of this name, which no node takes. None: to nothing, as that of a person.
    """
    bound = None
    if pod is not None:
        spec = {
            "serviceAccountName": account,
            "nodeSelector": {"nowhere": "yes"},
            "containers": [{"name": "flow", "image": "none"}],
        }
        made = await admin.create(f"/api/v1/namespaces/{namespace}/pods", {"metadata": {"name": pod}, "spec": spec})
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": made["metadata"]["uid"]}
    asked = {"expirationSeconds": 3600, **({"boundObjectRef": bound} if bound else {})}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    token = (await admin.create(path, {"spec": asked}))["status"]["token"]
    trusted = ssl.create_default_context(cafile=str(plane.directory / "pki" / "ca.crt"))
    connection = Connection(plane.server, namespace, trusted, lambda: f"Bearer {token}")
    async with KubeClient(connection, user_agent=AGENT) as client:
        yield Signed(client, f"system:serviceaccount:{namespace}:{account}")


async def an_account(admin: KubeClient, namespace: str, name: str, *rules: Sequence[Any]) -> None:
    """A ServiceAccount; each rule is (group, resources, verbs, and names if it is for some only)."""
    await a_service_account(admin, namespace, name, [_rule(*rule) for rule in rules])


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()) -> Mapping[str, Any]:
    rule = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def audited(audit_log: Path, user: str) -> list[tuple[str, str, str]]:
    """Verb, resource and name of each request of this user that was refused as forbidden."""
    found = []
    for line in audit_log.read_bytes().split(b"\n"):
        if user.encode() not in line:
            continue
        entry = orjson.loads(line)
        target = entry.get("objectRef") or {}
        if entry["user"]["username"] == user and entry.get("responseStatus", {}).get("code") == FORBIDDEN:
            resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
            found.append((entry["verb"], resource, target.get("name", "")))
    return found
