"""The policy that notes who did what, on the API server of a test; `headrace dev up` does without (docs/audit.md)."""

from __future__ import annotations

from typing import Final

import yaml

from headrace.api.generate import AUDIT_SOURCE
from headrace.devcluster.crds import MANAGER
from headrace.devcluster.policies import ADMISSION
from headrace.kubeapi.client import APPLY_PATCH, KubeClient

OPERATOR: Final = "system:serviceaccount:headrace-system:headrace-operator"
"""The operator's user name in these manifests: what it writes is noted nowhere."""
COLLECTIONS: Final = {
    "MutatingAdmissionPolicy": ADMISSION + "/mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": ADMISSION + "/mutatingadmissionpolicybindings",
}


async def install_audit(client: KubeClient, operator: str = OPERATOR) -> bool:
    """
    Objects say who did what with them, but for the user name `operator`.

    Returns: Whether the API server has MutatingAdmissionPolicies, as those from Kubernetes 1.36 on; nothing is done without.
    Raises: ApiError.
    """
    served = (await client.get(ADMISSION))["resources"]
    if all(each["name"] != "mutatingadmissionpolicies" for each in served):
        return False
    for manifest in yaml.safe_load_all(AUDIT_SOURCE.read_text().replace(OPERATOR, operator)):
        path = f"{COLLECTIONS[manifest['kind']]}/{manifest['metadata']['name']}"
        await client.patch(path, manifest, content_type=APPLY_PATCH, params=MANAGER)
    return True
