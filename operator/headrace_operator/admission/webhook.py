"""The webhook of one replica, put together. Leader and standbys have one each, and they know nothing of each other."""

from __future__ import annotations

from functools import partial

from headrace.kubeapi.config import Connection
from headrace_operator.admission.judging import judge
from headrace_operator.admission.keeping import Keeper, Place
from headrace_operator.admission.server import WebhookServer
from headrace_operator.kube.cluster import ApiCluster
from headrace_operator.settings import Settings
from headrace_operator.telemetry.webhook import WebhookMetrics
from headrace_operator.wiring import OUTSIDE, Outside


async def run_webhook(
    settings: Settings, connection: Connection, metrics: WebhookMetrics, *, outside: Outside = OUTSIDE
) -> None:
    """For ever; cancel it. Raises: OSError, in a group: the port is taken."""
    place = Place(settings.operator_namespace, settings.webhook_name, is_own=settings.webhook_certificate == "own")
    # A client of its own: somebody waits for its answers, and the operator's lists are long.
    async with outside.connect(connection, user_agent=f"headrace-operator/{settings.identity}") as client:
        judged = partial(judge, reader=ApiCluster(client))
        async with WebhookServer(settings.webhook_port, judged, metrics, monotonic=outside.monotonic) as server:
            await Keeper(client, server, place, metrics, clock=outside.clock).run()
