"""ConfigMaps, Secrets and tokens that pods refer to, with the kubelet's words where one is missing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import ApiError, Forbidden, NotFound

FORBIDDEN_TRIES = 20
FORBIDDEN_WAIT_S = 0.05
"""The API server learns by a watch of its own which pods are bound to a node, and refuses until it has."""


class MissingSource(Exception):
    """Something that a container needs is not there (yet); the text is what a kubelet reports."""


class Sources:
    """What one namespace holds, read when it is asked for: nothing is kept."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self.namespace = namespace

    async def config_map(self, name: str, *, optional: bool = False) -> dict[str, bytes] | None:
        """Its entries; None if it is missing and optional. Raises: MissingSource."""
        found = await self._object("configmap", "configmaps", name, optional=optional)
        if found is None:
            return None
        text = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        return text | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}

    async def secret(self, name: str, *, optional: bool = False) -> dict[str, bytes] | None:
        """Its entries, decoded; None if it is missing and optional. Raises: MissingSource."""
        found = await self._object("secret", "secrets", name, optional=optional)
        if found is None:
            return None
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    async def token(self, pod: Mapping[str, Any], audience: str | None, lifetime_s: int) -> str:
        """A new token of the pod's ServiceAccount, bound to the pod. Raises: MissingSource."""
        account = pod["spec"].get("serviceAccountName", "default")
        reference = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        spec: dict[str, Any] = {"expirationSeconds": lifetime_s, "boundObjectRef": reference}
        if audience:
            spec["audiences"] = [audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        what = f'failed to fetch token for serviceaccount "{account}"'
        try:
            answer = await self._patient("POST", path, what, body)
        except NotFound as error:  # the account is not made yet, or the API server has not heard of the new pod yet
            msg = f"{what}: {error.message}"
            raise MissingSource(msg) from error
        return str(answer["status"]["token"])

    async def _object(self, kind: str, plural: str, name: str, *, optional: bool) -> dict[str, Any] | None:
        try:
            return await self._patient("GET", f"/api/v1/namespaces/{self.namespace}/{plural}/{name}", f"{kind} {name}")
        except NotFound as error:
            if optional:
                return None
            msg = f'{kind} "{name}" not found'
            raise MissingSource(msg) from error

    async def _patient(self, method: str, path: str, what: str, body: Any = None) -> dict[str, Any]:
        for attempt in range(FORBIDDEN_TRIES):
            try:
                return await self._client.request(method, path, body=body)
            except NotFound:
                raise
            except ApiError as error:
                if not isinstance(error, Forbidden) or attempt == FORBIDDEN_TRIES - 1:
                    msg = f"{what}: {error.message}"
                    raise MissingSource(msg) from error
            await asyncio.sleep(FORBIDDEN_WAIT_S)
        raise AssertionError  # the loop returns or raises
