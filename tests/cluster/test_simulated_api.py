"""A real API server does what the simulated one does: tests that rest on the simulation rest on this."""

from __future__ import annotations

import pytest

from headrace.kubeapi.client import KubeClient
from tests.simulated.behaviours import BEHAVIOURS, Behaviour


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
async def test_the_real_api(client: KubeClient, namespace: str, behaviour: Behaviour) -> None:
    """What the behaviour's own docstring says."""
    await behaviour(client, namespace)
