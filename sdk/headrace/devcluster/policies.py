"""What pods and people may do, beyond what RBAC can say: rights and admission policies, as the chart has them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from headrace.devcluster.crds import MANAGER, OPERATOR_NAMESPACE
from headrace.kubeapi.client import APPLY_PATCH, KubeClient

SOURCE: Final = Path(__file__).with_name("policies.yaml")
GUARDS: Final = Path(__file__).with_name("guards.yaml")
POD_POLICY: Final = "Privileged"
"""Of namespaces without a label of their own, on a machine of one's own; that of the chart is Baseline."""
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
COLLECTIONS: Final = {
    "Role": RBAC + "/namespaces/{namespace}/roles",
    "RoleBinding": RBAC + "/namespaces/{namespace}/rolebindings",
    "ClusterRole": RBAC + "/clusterroles",
    "ClusterRoleBinding": RBAC + "/clusterrolebindings",
    "ValidatingAdmissionPolicy": ADMISSION + "/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": ADMISSION + "/validatingadmissionpolicybindings",
}


def slot_policies(namespace: str = OPERATOR_NAMESPACE) -> list[dict[str, Any]]:
    """What pods may do with slots in this namespace."""
    return list(yaml.safe_load_all(SOURCE.read_text().replace(OPERATOR_NAMESPACE, namespace)))


def guards(pod_policy: str = POD_POLICY) -> list[dict[str, Any]]:
    """
    What pods and people may do with runs, their pods and their templates, in all namespaces.

    Args:
        pod_policy: Of namespaces without the label headrace.dev/pod-policy: Restricted, Baseline or Privileged.
    """
    return list(yaml.safe_load_all(GUARDS.read_text().replace("orValue('Baseline')", f"orValue('{pod_policy}')")))


def policy_paths(namespace: str = OPERATOR_NAMESPACE) -> dict[str, dict[str, Any]]:
    """Each manifest about slots by its URL path."""
    return _by_path(slot_policies(namespace), namespace)


def guard_paths(pod_policy: str = POD_POLICY) -> dict[str, dict[str, Any]]:
    """Each manifest about runs and templates by its URL path."""
    return _by_path(guards(pod_policy), OPERATOR_NAMESPACE)


def _by_path(manifests: Iterable[dict[str, Any]], namespace: str) -> dict[str, dict[str, Any]]:
    return {
        f"{COLLECTIONS[each['kind']].format(namespace=namespace)}/{each['metadata']['name']}": each
        for each in manifests
    }


async def install_policies(client: KubeClient, namespace: str = OPERATOR_NAMESPACE) -> None:
    """Pods may take, renew and give back slots in this namespace, and no more. Raises: ApiError."""
    for path, manifest in policy_paths(namespace).items():
        await client.patch(path, manifest, content_type=APPLY_PATCH, params=MANAGER)


async def install_guards(client: KubeClient, pod_policy: str = POD_POLICY) -> None:
    """Runs may change what is theirs, and nobody gains rights by a Flow. Raises: ApiError."""
    for path, manifest in guard_paths(pod_policy).items():
        await client.patch(path, manifest, content_type=APPLY_PATCH, params=MANAGER)
