"""What the migration of stored versions reads; tests/cluster/test_versions.py has it write for real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import Gone
from headrace_operator.migrate_storage import migrate

DEFINITION = {
    "metadata": {"resourceVersion": "7"},
    "spec": {
        "group": "headrace.dev",
        "names": {"plural": "workpools"},
        "versions": [{"name": "v1beta1", "storage": True}, {"name": "v1alpha1", "storage": False}],
    },
    "status": {"storedVersions": ["v1alpha1", "v1beta1"]},
}


class Interrupted:
    """A client whose first list is cut off after a page, as one is that outlives the server's history."""

    def __init__(self) -> None:
        self.lists = 0
        self.patched: list[str] = []

    async def get(self, _path: str) -> dict[str, Any]:
        return DEFINITION

    async def pages(self, _path: str) -> AsyncIterator[dict[str, Any]]:
        self.lists += 1
        yield {"items": [{"metadata": {"name": "first"}}]}
        if self.lists == 1:
            raise Gone(410, "Expired", "the provided continue parameter is too old")
        yield {"items": [{"metadata": {"name": "second"}}]}

    async def patch(self, path: str, _body: dict[str, Any]) -> None:
        self.patched.append(path)


async def test_a_list_that_is_cut_off_is_read_again_before_anything_is_written():
    client = Interrupted()

    assert await migrate(cast("KubeClient", client), "workpools.headrace.dev") == 2

    root = "/apis/headrace.dev/v1beta1/workpools"
    assert client.patched[:2] == [f"{root}/first", f"{root}/second"]
    assert client.patched[2:] == [
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/workpools.headrace.dev/status"
    ]
