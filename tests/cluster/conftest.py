"""
A real control plane for the tests of this folder, started once, without Docker.

What a test asks for: `client` (an open KubeClient, administrator), `kubectl`, `kubeconfig`, `namespace` (its own),
`audit_log`, `local_node` (starts nodes that run pods as local processes). Those whose operators serve all namespaces:
`own_plane`, `admin` (a client of it).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.devcluster import plane
from headrace.devcluster.binaries import Binaries, provide_binaries
from headrace.devcluster.crds import install_definitions
from headrace.devcluster.errors import ClusterError
from headrace.devcluster.plane import Plane
from headrace.devcluster.policies import install_guards
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import NotFound
from tests.cluster.support import rights
from tests.cluster.support.local_nodes import LocalNodes, SharedNode, start_shared
from tests.cluster.support.pods import Pods
from tests.cluster.support.waiting import eventually

HERE = Path(__file__).parent
BINARIES = pytest.StashKey[Binaries]()
PROBLEM = pytest.StashKey[str]()

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


class Printed:
    """Progress of a build, between pytest's own lines."""

    def step(self, text: str) -> None:
        print(text)

    def tick(self, text: str) -> None:
        print(f"\r  {text}  ", end="", flush=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what is missing before the first test: it takes minutes, and a test's time is limited."""
    wanted = any(HERE in item.path.parents for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    try:
        session.stash[BINARIES] = provide_binaries(os.environ, Printed())
    except ClusterError as error:
        session.stash[PROBLEM] = str(error)


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest) -> Binaries:
    """The programs of the control plane."""
    if PROBLEM in request.session.stash:
        pytest.skip(request.session.stash[PROBLEM])
    return request.session.stash[BINARIES]


@pytest.fixture(scope="session")
def control_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A control plane with our definitions and an audit log; it ends with the tests, also if they are killed."""
    with _a_plane(tmp_path_factory.mktemp("control-plane"), binaries) as started:
        yield started


@pytest.fixture
def own_plane(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """As `control_plane`, for one test alone, whose operators serve all namespaces."""
    with _a_plane(tmp_path_factory.mktemp("own-plane"), binaries) as started:
        yield started


@pytest.fixture
async def admin(own_plane: Plane) -> AsyncIterator[KubeClient]:
    """An open client of the test's own plane, whatever network its operators have."""
    async with KubeClient(load_connection(str(own_plane.kubeconfig)), user_agent="headrace-tests") as opened:
        yield opened


@contextmanager
def _a_plane(directory: Path, binaries: Binaries) -> Iterator[Plane]:
    guard = plane.tie(directory)
    try:
        started = plane.start(directory, binaries, audit=True)
        asyncio.run(_install(started.kubeconfig))
        yield started
    finally:
        guard.communicate()
    assert started.audit_log
    assert rights.note(started.audit_log).denied == (), (
        "operators lack rights: charts/headrace/files/operator-rules.yaml"
    )


async def _install(kubeconfig: Path) -> None:
    async with KubeClient(load_connection(str(kubeconfig))) as client:
        await install_definitions(client)
        await install_guards(client)


@pytest.fixture(scope="session")
def kubeconfig(control_plane: Plane) -> Path:
    """Signs in as administrator."""
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def audit_log(control_plane: Plane) -> Path:
    """A line of JSON a request, written before its answer."""
    assert control_plane.audit_log
    return control_plane.audit_log


@pytest.fixture(scope="session")
def kubectl(binaries: Binaries, kubeconfig: Path) -> Kubectl:
    """`kubectl(*arguments, input=None, check=True)` with captured output, as text."""

    def call(*arguments: str, input: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:  # noqa: A002 - as subprocess.run names it
        command = [binaries.kubectl, "--kubeconfig", kubeconfig, *arguments]
        done = subprocess.run(command, input=input, check=False, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done

    return call


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    """An open client that signs in as administrator."""
    async with KubeClient(load_connection(str(kubeconfig)), user_agent="headrace-tests") as opened:
        yield opened


@pytest.fixture
async def namespace(client: KubeClient) -> AsyncIterator[str]:
    """The name of a new namespace in which pods may be created; it goes away after the test, in the background."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    await client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    await eventually(lambda: _exists(client, account), what="the namespace has its default ServiceAccount")
    yield name
    await client.delete(f"/api/v1/namespaces/{name}")


async def _exists(client: KubeClient, path: str) -> bool:
    try:
        await client.get(path)
    except NotFound:
        return False
    return True


@pytest.fixture(scope="session")
def shared_node(control_plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedNode]:
    """A local node for pods that name it in `nodeName`; its taint keeps the scheduler away."""
    directory = tmp_path_factory.mktemp("shared-node")
    guard = plane.tie(directory)
    try:
        yield asyncio.run(start_shared(control_plane, directory))
    finally:
        guard.communicate()


@pytest.fixture
def pods(client: KubeClient, namespace: str, shared_node: SharedNode) -> Pods:
    """Pods in the test's namespace, on the shared node."""
    return Pods(client, namespace, shared_node.name)


@pytest.fixture
async def local_node(control_plane: Plane, client: KubeClient, tmp_path: Path) -> AsyncIterator[LocalNodes]:
    """
    Starter of local nodes, each Ready when its name is returned: labels, taints and capacity are keywords.

    Pin a pod to it by `nodeName`, or give it a label of its own. Its log, volumes and container logs are in
    `tmp_path`. After the test the processes are gone, and the Node objects too.
    """
    guard = plane.tie(tmp_path)
    nodes = LocalNodes(control_plane, client, tmp_path)
    try:
        yield nodes
    finally:
        guard.communicate()
        for name in nodes.names:
            await client.delete(f"/api/v1/nodes/{name}")
