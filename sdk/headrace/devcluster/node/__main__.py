"""`python -m headrace.devcluster.node`: one local node, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from headrace.devcluster.errors import ClusterError
from headrace.devcluster.node.node import running_node
from headrace.devcluster.node.options import (
    NodeDescription,
    NodeOptions,
    parse_capacity,
    parse_label,
    parse_name,
    parse_taint,
)
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import KubeError

USER_AGENT = "headrace-local-node"


def parse_options(arguments: Sequence[str] | None = None) -> NodeOptions:
    """The options of the command line. Raises: BadNodeOption; SystemExit as argparse does."""
    parser = argparse.ArgumentParser(prog="python -m headrace.devcluster.node", description=__doc__)
    add = parser.add_argument
    add("--name", required=True, help="of the Node")
    add("--label", action="append", default=[], metavar="KEY=VALUE")
    add("--taint", action="append", default=[], metavar="KEY=VALUE:EFFECT")
    add("--capacity", default="", metavar="RESOURCE=QUANTITY,…", help="where it differs from this machine's")
    add("--kubeconfig", type=Path, required=True, help="signs in as the node, or as an administrator")
    add("--directory", type=Path, required=True, help="for volumes, logs and records; this node's alone")
    add("--port", type=int, default=0, help="of the log server (default: a free one)")
    add("--client-authority", type=Path, help="PEM of the authority behind the API server's client certificate")
    given = parser.parse_args(arguments)
    description = NodeDescription(
        name=parse_name(given.name),
        labels=dict(parse_label(each) for each in given.label),
        taints=tuple(parse_taint(each) for each in given.taint),
        capacity=parse_capacity(each for each in given.capacity.split(",") if each),
    )
    return NodeOptions(
        description=description,
        directory=given.directory.resolve(),
        kubeconfig=given.kubeconfig,
        port=given.port,
        client_authority=given.client_authority,
    )


async def run(options: NodeOptions) -> None:
    """Returns after SIGTERM or SIGINT. Raises: KubeError: no way to the API server, or it refuses the node."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connection = load_connection(str(options.kubeconfig))
    async with KubeClient(connection, user_agent=USER_AGENT) as client, running_node(client, options) as watching:
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([stopped, watching], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if watching.done():
            await watching


def main() -> None:
    """Runs the node of this process's arguments."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ]
    )
    try:
        asyncio.run(run(parse_options()))
    except (ClusterError, KubeError) as error:
        sys.exit(f"local node: {error}")


if __name__ == "__main__":
    main()
