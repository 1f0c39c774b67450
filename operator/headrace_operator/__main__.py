"""`python -m headrace_operator`: settings, logging, wiring, kopf."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import kopf
import structlog
from prometheus_client import REGISTRY, start_http_server

from headrace.errors import UsageError
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import ConfigurationError
from headrace_operator.handlers.lifecycle import Lifecycle
from headrace_operator.kube.cluster import Cluster
from headrace_operator.probes import Probes
from headrace_operator.settings import Settings, SettingsError, load_settings
from headrace_operator.sharding.operator import ShardedOperator
from headrace_operator.telemetry.logging import configure_logging
from headrace_operator.wiring import Operator

log = structlog.get_logger()


def main(seam: Callable[[Cluster], Cluster] | None = None) -> int:
    """The exit status of an operator process: 0 after SIGTERM or SIGINT, 1 if a part broke, 2 if it cannot start."""
    try:
        settings = load_settings()
        configure_logging(settings)
        return asyncio.run(serve(settings, seam))
    except (SettingsError, ConfigurationError, UsageError) as error:
        sys.stderr.write(f"headrace-operator: {error}\n")
        return 2


async def serve(settings: Settings, seam: Callable[[Cluster], Cluster] | None) -> int:
    """Run until a signal or a failure; the exit status."""
    kind = ShardedOperator if settings.shards > 1 else Operator
    operator = kind(settings, load_connection(), registry=REGISTRY, seam=seam)
    lifecycle = Lifecycle(operator.run, operator.rest)
    registry = kopf.OperatorRegistry()
    lifecycle.register(registry)
    if settings.metrics_port:
        start_http_server(settings.metrics_port)
    log.info("operator_started", namespace=settings.namespace or "(all)", workers=settings.workers)
    try:
        async with Probes(settings.liveness_port, ill=lifecycle.ill, unready=operator.unready):
            await kopf.operator(
                registry=registry,
                standalone=True,
                clusterwide=not settings.namespace,
                namespaces=[settings.namespace] if settings.namespace else [],
                stop_flag=lifecycle.stop_flag,
            )
    finally:
        await operator.close()
    return 0 if lifecycle.failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
