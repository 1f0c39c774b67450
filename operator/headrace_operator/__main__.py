"""`python -m headrace_operator`: settings, logging, wiring, probes, webhook, kopf."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

import kopf
import structlog
from prometheus_client import REGISTRY, start_http_server

from headrace.errors import UsageError
from headrace.kubeapi.config import Connection, load_connection
from headrace.kubeapi.errors import ConfigurationError
from headrace_operator.garbage import give_back_buffers, look_seldom
from headrace_operator.handlers.lifecycle import Lifecycle
from headrace_operator.kube.cluster import Cluster
from headrace_operator.probes import Probes
from headrace_operator.settings import Settings, SettingsError, load_settings
from headrace_operator.sharding.operator import ShardedOperator
from headrace_operator.telemetry.logging import configure_logging
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.wiring import Operator, monotonic, utc_now

log = structlog.get_logger()


def main(seam: Callable[[Cluster], Cluster] | None = None) -> int:
    """The exit status of an operator process: 0 after SIGTERM or SIGINT, 1 if a part broke, 2 if it cannot start."""
    try:
        settings = load_settings()
        configure_logging(settings)
        give_back_buffers()
        look_seldom()
        return asyncio.run(serve(settings, seam))
    except (SettingsError, ConfigurationError, UsageError) as error:
        sys.stderr.write(f"headrace-operator: {error}\n")
        return 2


async def serve(settings: Settings, seam: Callable[[Cluster], Cluster] | None) -> int:
    """Run until a signal or a failure; the exit status."""
    kind = ShardedOperator if settings.shards > 1 else Operator
    connection = load_connection()
    operator = kind(settings, connection, registry=REGISTRY, seam=seam)
    lifecycle = Lifecycle(partial(work, operator.run, settings, connection, operator.metrics), operator.rest)
    registry = kopf.OperatorRegistry()
    lifecycle.register(registry)
    if settings.metrics_port:
        start_http_server(settings.metrics_port)
    log.info("operator_started", namespace=settings.namespace or "(all)", workers=settings.workers)
    try:
        async with Probes(settings.liveness_port, ill=lifecycle.ill, unready=operator.unready):
            await kopf.operator(
                registry=registry,
                # By itself kopf looks up the name of the user, and an image need not know one.
                identity=cast("Any", settings.identity),
                standalone=True,
                clusterwide=not settings.namespace,
                namespaces=[settings.namespace] if settings.namespace else [],
                stop_flag=lifecycle.stop_flag,
            )
    finally:
        await operator.close()
    return 0 if lifecycle.failure is None else 1


async def work(
    run: Callable[[], Coroutine[Any, Any, None]], settings: Settings, connection: Connection, metrics: Metrics
) -> None:
    """The operator's own work, and what is served beside it where a port says so. Raises: what broke one of them."""
    async with asyncio.TaskGroup() as group:
        if settings.webhook_port:
            from headrace_operator.admission.webhook import run_webhook  # noqa: PLC0415 - nothing of it where there is none

            group.create_task(run_webhook(settings, connection, metrics.webhook), name="webhook")
        if settings.inbound_port:
            from headrace_operator.inbound.server import receive_requests  # noqa: PLC0415 - as above

            requests = receive_requests(settings, connection, metrics, utc_now, monotonic=monotonic)
            group.create_task(requests, name="inbound")
        group.create_task(run(), name="operator")


if __name__ == "__main__":
    sys.exit(main())
