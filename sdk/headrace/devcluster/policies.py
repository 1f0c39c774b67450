"""What pods may do with the slots of ConcurrencyLimits: rights and an admission policy, for one operator's namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from headrace.devcluster.crds import MANAGER, OPERATOR_NAMESPACE
from headrace.kubeapi.client import APPLY_PATCH, KubeClient

SOURCE: Final = Path(__file__).with_name("policies.yaml")
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
    """The manifests, for slots in this namespace."""
    return list(yaml.safe_load_all(SOURCE.read_text().replace(OPERATOR_NAMESPACE, namespace)))


def policy_paths(namespace: str = OPERATOR_NAMESPACE) -> dict[str, dict[str, Any]]:
    """Each manifest by its URL path."""
    return {
        f"{COLLECTIONS[each['kind']].format(namespace=namespace)}/{each['metadata']['name']}": each
        for each in slot_policies(namespace)
    }


async def install_policies(client: KubeClient, namespace: str = OPERATOR_NAMESPACE) -> None:
    """Pods may take, renew and give back slots in this namespace, and no more. Raises: ApiError."""
    for path, manifest in policy_paths(namespace).items():
        await client.patch(path, manifest, content_type=APPLY_PATCH, params=MANAGER)
