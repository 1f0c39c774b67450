"""What volumes are made from, and what is not there yet."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.devcluster.node.sources import MissingSource, Sources
from headrace.kubeapi.errors import NotFound


class Unheard:
    """An API server that has not heard of the pod yet."""

    async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        raise NotFound(404, "NotFound", 'pod "etl-1" not found', request=f"{method} {path}")


async def test_a_token_for_a_pod_that_is_not_heard_of_yet_is_waited_for():
    """As a Secret that is missing: the pod waits and says for what, its worker does not break."""
    sources = Sources(Unheard(), "team-a")  # type: ignore[arg-type]
    pod = {"metadata": {"name": "etl-1", "uid": "u"}, "spec": {}}
    with pytest.raises(
        MissingSource, match='failed to fetch token for serviceaccount "default": pod "etl-1" not found'
    ):
        await sources.token(pod, None, 3600)
