"""
The local cluster as a whole, kept in one folder: brought up, looked at, taken down.

    a context that the user names          nothing is started; the definitions are installed there
    kind, where a Docker engine answers    made by kind, deleted by `down`
    else                                   the control plane and local nodes, as processes of this machine

`cluster.json` in the folder remembers which of them it is, and which nodes it has.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headrace.devcluster import kind, plane
from headrace.devcluster.binaries import provide_binaries
from headrace.devcluster.crds import install_definitions
from headrace.devcluster.errors import ClusterError
from headrace.devcluster.locking import one_at_a_time
from headrace.devcluster.node.options import NodeDescription, Taint
from headrace.devcluster.nodes import process_name, start_node, wait_until_ready
from headrace.devcluster.policies import install_guards, install_policies
from headrace.devcluster.processes import Processes
from headrace.devcluster.progress import Progress
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import KubeError

DEFAULT_NODES = (NodeDescription("local-1", {"headrace.dev/pool": "general"}),)
CONTEXT, KIND, PROCESSES = "context", "kind", "processes"


@dataclass(frozen=True, slots=True)
class Wishes:
    """
    What the user asks for.

    Attributes: `context` of the user's own kubeconfig, None for a cluster of ours; `nodes` empty keeps those of
    the last time; `docker` False never takes kind.
    """

    context: str | None = None
    nodes: Sequence[NodeDescription] = ()
    definitions: bool = True
    docker: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What `cluster.json` remembers."""

    way: str
    server: str = ""
    context: str | None = None
    nodes: Sequence[NodeDescription] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Report:
    """
    What runs.

    Attributes: `parts` a line each for what should run, with whether it does; `nodes` name to a short text.
    """

    way: str
    server: str
    kubeconfig: Path | None
    parts: Mapping[str, bool]
    nodes: Mapping[str, str]
    problem: str = ""

    @property
    def healthy(self) -> bool:
        """Everything that should run does, and the API server answers."""
        return bool(self.way) and not self.problem and all(self.parts.values())


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where the cluster is kept: in `XDG_STATE_HOME` or `~/.local/state`."""
    root = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".local" / "state")
    return Path(root) / "headrace" / "dev"


def up(directory: Path, wishes: Wishes, environ: Mapping[str, str], progress: Progress) -> Report:
    """
    What runs after everything that was missing has been started.

    Raises: ClusterError, KubeError: with what to do about it.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(directory.iterdir()) and not (directory / "lock").exists():
        msg = f'--directory "{directory}" holds something else; name an empty folder or one that is not there yet'
        raise ClusterError(msg)
    with one_at_a_time(directory / "lock", progress, "another command works on this cluster; waiting"):
        known = _known(directory)
        way = _way(wishes, known, environ, progress)
        if known and known.way not in {way, CONTEXT}:
            msg = (
                f"a cluster of another kind ({known.way}) is kept in {directory}; remove it: headrace dev down --purge"
            )
            raise ClusterError(msg)
        if way == PROCESSES:
            _up_processes(directory, wishes, environ, progress)
        else:
            _remember(directory, Known(way, context=wishes.context))
            if way == KIND:
                kind.up(directory / "kubeconfig", environ, progress)
        if wishes.definitions:
            names = asyncio.run(_install(_login(directory, way), wishes.context))
            progress.step(f"custom resources installed: {', '.join(name.partition('.')[0] for name in names)}")
    return status(directory)


def down(directory: Path, environ: Mapping[str, str], *, purge: bool) -> list[str]:
    """
    Ends what `up` started, and returns its names, the last started first; empty when nothing ran.

    Args:
        purge: Also remove the folder with all data. A folder that holds no cluster is left alone.
    Raises: ClusterError.
    """
    directory = directory.resolve()
    known = _known(directory)
    ended = Processes(directory).stop()
    if known and known.way == KIND and kind.exists(environ):
        kind.down(directory / "kubeconfig", environ)
        ended.append(f"kind cluster {kind.NAME}")
    if known and (purge or known.way != PROCESSES):
        (directory / "cluster.json").unlink()
    if known and purge:
        shutil.rmtree(directory)
    return ended


def status(directory: Path) -> Report:
    """What runs of the cluster in this folder."""
    directory = directory.resolve()
    known = _known(directory)
    if known is None:
        return Report("", "", None, {}, {}, problem=f"there is no cluster in {directory}: headrace dev up")
    kubeconfig = _login(directory, known.way)
    alive = Processes(directory).alive()
    expected = [*plane.NAMES, *(process_name(each.name) for each in known.nodes)] if known.way == PROCESSES else []
    parts = {name: name in alive for name in expected}
    try:
        connection = load_connection(str(kubeconfig) if kubeconfig else None, known.context)
        nodes, problem = asyncio.run(_nodes(connection)), ""
    except KubeError as error:
        connection, nodes, problem = None, {}, f"the API server does not answer: {error}"
    return Report(known.way, connection.server if connection else known.server, kubeconfig, parts, nodes, problem)


def _way(wishes: Wishes, known: Known | None, environ: Mapping[str, str], progress: Progress) -> str:
    """Which kind of cluster: the named one, that of the last time, kind if it can be had, else processes."""
    if wishes.context:
        return CONTEXT
    if known and known.way != CONTEXT and (wishes.docker or known.way != KIND):
        return known.way
    if not wishes.docker or not kind.docker_answers(environ):
        return PROCESSES
    if kind.installed(environ):
        return KIND
    progress.step("Docker answers, but kind is not installed (https://kind.sigs.k8s.io): going on without Docker")
    return PROCESSES


def _up_processes(directory: Path, wishes: Wishes, environ: Mapping[str, str], progress: Progress) -> None:
    known = _known(directory)
    running = plane.start(directory, provide_binaries(environ, progress), progress=progress)
    wanted = tuple(wishes.nodes) or (tuple(known.nodes) if known else ()) or DEFAULT_NODES
    before = {each.name: each for each in known.nodes} if known and known.server == running.server else {}
    processes = Processes(directory)
    stale = [each for each in known.nodes if each not in wanted] if known else []
    processes.stop([process_name(each.name) for each in stale])
    _remember(directory, Known(PROCESSES, running.server, nodes=wanted))
    for each in wanted:
        if process_name(each.name) not in processes.alive() or before.get(each.name) != each:
            processes.stop([process_name(each.name)])
            start_node(running, each, directory)
    nodes = (directory / "kubeconfig", wanted, stale)
    asyncio.run(_settle(*nodes, progress=progress))


async def _settle(
    kubeconfig: Path, wanted: Sequence[NodeDescription], stale: Sequence[NodeDescription], *, progress: Progress
) -> None:
    processes = Processes(kubeconfig.parent)
    async with KubeClient(load_connection(str(kubeconfig))) as client:
        kept = {each.name for each in wanted}
        for each in stale:
            if each.name not in kept:
                await client.delete(f"/api/v1/nodes/{each.name}")
        for each in wanted:
            await wait_until_ready(client, each.name, processes)
            progress.step(f"node {each.name} is ready")


async def _install(kubeconfig: Path | None, context: str | None) -> list[str]:
    connection = load_connection(str(kubeconfig) if kubeconfig else None, context)
    async with KubeClient(connection) as client:
        names = await install_definitions(client)
        await install_policies(client)
        await install_guards(client)
        return names


async def _nodes(connection: Any) -> dict[str, str]:
    """What to know of each node: Ready or not, and its pool."""
    async with KubeClient(connection) as client:
        nodes = await client.list("/api/v1/nodes")
    return {node["metadata"]["name"]: _node_text(node) for node in nodes}


def _node_text(node: Mapping[str, Any]) -> str:
    ready = any(
        each["type"] == "Ready" and each["status"] == "True" for each in node.get("status", {}).get("conditions") or ()
    )
    pool = (node["metadata"].get("labels") or {}).get("headrace.dev/pool")
    return ("Ready" if ready else "not ready") + (f", pool {pool}" if pool else "")


def _login(directory: Path, way: str) -> Path | None:
    """The kubeconfig of a cluster of ours; None for the user's own."""
    return None if way == CONTEXT else directory / "kubeconfig"


def _known(directory: Path) -> Known | None:
    try:
        kept = json.loads((directory / "cluster.json").read_text())
    except FileNotFoundError:
        return None
    nodes = [NodeDescription(**{**each, "taints": tuple(Taint(**t) for t in each["taints"])}) for each in kept["nodes"]]
    return Known(**{**kept, "nodes": tuple(nodes)})


def _remember(directory: Path, known: Known) -> None:
    (directory / "cluster.json").write_text(json.dumps(asdict(known), indent=1))
