"""The simulated API does what tests/cluster/test_simulated_api.py shows a real API server to do."""

from __future__ import annotations

import pytest

from tests.simulated import timeless
from tests.simulated.behaviours import BEHAVIOURS, Behaviour, a_pod, pods, told
from tests.simulated.cluster import PLURALS, a_cluster


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_the_simulated_api(behaviour: Behaviour) -> None:
    """What the behaviour's own docstring says."""

    async def alone() -> None:
        cluster = a_cluster()
        cluster.store.create(PLURALS["Namespace"], "", {"metadata": {"name": "team-a"}}, agent="tests")
        await behaviour(cluster.client(), "team-a")

    timeless.run(alone())


def test_history_that_is_lost_is_told_within_the_watch() -> None:
    """As an API server does it, whose history cannot be made short enough for a test."""

    async def alone() -> None:
        cluster = a_cluster()
        await a_pod(cluster.client(), "default")
        cluster.store.forget_history()
        (event,) = await told(cluster.client(), pods("default"), 1, resourceVersion="1")
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")

    timeless.run(alone())
