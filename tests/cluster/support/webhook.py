"""The objects of the admission webhook as the chart makes them, for operators that are no pods."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.waiting import eventually

RBAC = "/apis/rbac.authorization.k8s.io/v1"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
NAME = "headrace-webhook"


def webhooks(namespace: str, user: str, *, port: int = 443, timeout_s: int = 3) -> list[dict[str, Any]]:
    """Those of the ValidatingWebhookConfiguration."""
    calls = {
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": timeout_s,
        "clientConfig": {"service": {"name": NAME, "namespace": namespace, "port": port}},
    }
    ours = {"apiGroups": ["headrace.dev"], "apiVersions": ["v1alpha1"], "scope": "Namespaced"}
    return [
        {
            "name": "runs.headrace.dev",
            "rules": [{**ours, "operations": ["CREATE"], "resources": ["flowruns"]}],
            "matchConditions": [
                {"name": "not-by-the-operator", "expression": f'request.userInfo.username != "{user}"'},
                {"name": "not-by-a-flow", "expression": "!has(object.spec.task) && !has(object.spec.startedBy)"},
            ],
            **calls,
        },
        {
            "name": "definitions.headrace.dev",
            "rules": [
                {
                    **ours,
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["flows", "deployments", "backfills", "automations"],
                }
            ],
            "matchConditions": [
                {
                    "name": "spec-is-new",
                    "expression": 'request.operation == "CREATE" || object.spec != oldObject.spec',
                },
                {"name": "not-by-the-operator", "expression": f'request.userInfo.username != "{user}"'},
                {"name": "not-on-its-way-out", "expression": "!has(object.metadata.deletionTimestamp)"},
            ],
            **calls,
        },
    ]


def secret_rules(*verbs: str) -> list[dict[str, Any]]:
    """What the operator may do with the Secret."""
    return [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME], "verbs": list(verbs)}]


def configuration_rules(namespace: str) -> list[dict[str, Any]]:
    """What the operator may do with the configuration."""
    group, names = "admissionregistration.k8s.io", [f"{NAME}.{namespace}"]
    resources, verbs = ["validatingwebhookconfigurations"], ["list", "watch", "patch"]
    return [{"apiGroups": [group], "resources": resources, "resourceNames": names, "verbs": verbs}]


class Webhook:
    """
    The webhook of one namespace alone, at a port of this machine.

    Args:
        account: Namespace and name of the operator's ServiceAccount.
    """

    def __init__(self, client: KubeClient, namespace: str, account: tuple[str, str]) -> None:
        self._client = client
        self._namespace = namespace
        self._account = account
        self.configuration = f"{CONFIGURATIONS}/{NAME}.{namespace}"
        self.secret = f"/api/v1/namespaces/{namespace}/secrets/{NAME}"

    async def install(self, port: int) -> None:
        """The Service is a name for this machine, which the API server reaches without a network of pods."""
        namespace = self._namespace
        service = {"metadata": {"name": NAME}, "spec": {"type": "ExternalName", "externalName": "127.0.0.1"}}
        await self._client.create(f"/api/v1/namespaces/{namespace}/services", service)
        await self._client.create(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": NAME}})
        await self._grant("Role", f"{RBAC}/namespaces/{namespace}", NAME, secret_rules("list", "watch", "patch"))
        name = f"{NAME}.{namespace}"
        await self._grant("ClusterRole", RBAC, name, configuration_rules(namespace))
        user = ":".join(("system:serviceaccount", *self._account))
        only = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        hooks = [{**hook, **only} for hook in webhooks(namespace, user, port=port)]
        await self._client.create(CONFIGURATIONS, {"metadata": {"name": name}, "webhooks": hooks})

    async def _grant(self, kind: str, root: str, name: str, rules: list[dict[str, Any]]) -> None:
        await self._client.create(f"{root}/{kind.lower()}s", {"metadata": {"name": name}, "rules": rules})
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "namespace": self._account[0], "name": self._account[1]}
        body = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": kind, "name": name},
            "subjects": [subject],
        }
        await self._client.create(f"{root}/{kind.lower()}bindings", body)

    async def remove(self) -> None:
        """What is in no namespace; the rest goes with it."""
        name = f"{NAME}.{self._namespace}"
        for path in (self.configuration, f"{RBAC}/clusterrolebindings/{name}", f"{RBAC}/clusterroles/{name}"):
            await self._client.delete(path)

    async def call(self, port: int) -> None:
        """From now on the API server calls there."""
        held = await self._client.get(self.configuration)
        hooks = [_at(hook, port) for hook in held["webhooks"]]
        await self._client.patch(self.configuration, {"webhooks": hooks})

    async def bundle(self) -> str:
        """Whom the API server believes; "" while nobody has told it."""
        held = await self._client.get(self.configuration)
        (bundle,) = {hook["clientConfig"].get("caBundle", "") for hook in held["webhooks"]}
        return str(bundle)

    async def until_introduced(self, *, besides: str = "") -> str:
        """The bundle, once there is one, and another than `besides`."""

        async def look() -> str | None:
            bundle = await self.bundle()
            return bundle if bundle not in {"", besides} else None

        return await eventually(look, within_s=60, what="the API server is told whom to believe")


def certificate_at(port: int) -> str:
    """What a server on this machine shows. Raises: OSError: none listens."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=5)


def _at(hook: Mapping[str, Any], port: int) -> dict[str, Any]:
    client = hook["clientConfig"]
    return {**hook, "clientConfig": {**client, "service": {**client["service"], "port": port}}}
