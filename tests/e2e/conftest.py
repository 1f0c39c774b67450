"""
Real nodes, and the operator of the chart in pods on them. `make e2e`, or `pytest tests/e2e --e2e`.

What a test asks for:
    client        an open KubeClient, administrator
    namespace     its own, deleted afterwards
    kubectl       `kubectl("get", "pods")`, in that namespace
    helm          Helm, for the release that is installed
    runs          `await runs.start(flow, ...)`, `await runs.ended(name)`: flows and runs of that namespace
    added_node    `added_node("name")`: a node of its own, labelled `headrace.dev/pool=name`; its `close()` pulls the plug
    measured      rows of the table at the end

`node-1` is of the pool general, `node-2` of the pool spare; both have the operator's image. Every namespace enforces Pod
Security `restricted`.
With HEADRACE_E2E_LOGS=FOLDER, the output of every component is there afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from headrace.devcluster import kind
from headrace.devcluster.binaries import Binaries, provide_binaries
from headrace.devcluster.errors import ClusterError
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from tests import tools
from tests.cluster.support.helm import Helm
from tests.e2e.images.provided import Images, provide_images
from tests.e2e.in_docker import kind_cluster
from tests.e2e.installed import RESTRICTED, install_operator, restrict_namespaces
from tests.e2e.nodes.cluster import RealCluster, real_cluster
from tests.e2e.nodes.machine import make_own_folder, problem
from tests.e2e.nodes.node import RealNode
from tests.e2e.runs import Kubectl, Runs
from tests.gotools import provide

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
TEST_WITHIN_S = 600
"""The first one waits for the cluster, too."""
PROBLEM = pytest.StashKey[str]()
BINARIES = pytest.StashKey[Binaries]()
IMAGES = pytest.StashKey[Images]()
DOCKER = pytest.StashKey[bool]()
MEASURED = pytest.StashKey["list[str]"]()


class Printed:
    """Progress of a build, between pytest's own lines."""

    def step(self, text: str) -> None:
        print(text, flush=True)

    def tick(self, text: str) -> None:
        """Nothing: a log keeps every tick."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(TEST_WITHIN_S))
            if not config.getoption("--e2e"):
                item.add_marker(pytest.mark.skip(reason="real nodes are asked for by --e2e"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what is missing before the first test: it takes minutes, and a test's time is limited."""
    wanted = any(
        HERE in item.path.parents and "kubeconfig" in getattr(item, "fixturenames", ()) for item in session.items
    )
    if not wanted or session.config.option.collectonly or not session.config.getoption("--e2e"):
        return
    if kind.docker_answers(os.environ) and kind.installed(os.environ):
        session.stash[DOCKER] = True
        return
    if trouble := problem():
        session.stash[PROBLEM] = trouble
        return
    try:
        session.stash[BINARIES] = provide_binaries(os.environ, Printed())
        for tool in (*tools.NODE_TOOLS, tools.HELM):
            provide(tool, Printed())
        session.stash[IMAGES] = provide_images(Printed())
    except ClusterError as error:
        session.stash[PROBLEM] = str(error)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        msg = f"the images of the tests cannot be made: {error} {getattr(error, 'stderr', '')}"
        raise pytest.UsageError(msg) from error


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of what was measured."""
    rows = config.stash.get(MEASURED, [])
    if rows:
        terminalreporter.section("latencies")
        terminalreporter.write_line("\n".join(rows))


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> list[str]:
    """Lines to print when everything has run."""
    return request.config.stash.setdefault(MEASURED, [])


@pytest.fixture(scope="session")
def real_nodes(request: pytest.FixtureRequest) -> Iterator[RealCluster | None]:
    """The cluster, started once; it ends with the tests, also if they are killed. None: kind is used."""
    if PROBLEM in request.session.stash:
        pytest.skip(request.session.stash[PROBLEM])
    if DOCKER in request.session.stash:
        yield None
        return
    images = request.session.stash[IMAGES]
    folder = make_own_folder()
    # As Ctrl-C does: the fixtures end, and with them goes what is in the folder.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with real_cluster(folder, request.session.stash[BINARIES]) as cluster:
            cluster.add("node-1", images.archives, "headrace.dev/pool=general")
            cluster.add("node-2", images.archives, "headrace.dev/pool=spare")
            yield cluster
    finally:
        _keep_logs(folder)
        shutil.rmtree(folder)
        signal.signal(signal.SIGTERM, before)


def _keep_logs(folder: Path) -> None:
    """Into the folder that HEADRACE_E2E_LOGS names, if it does."""
    if kept := os.environ.get("HEADRACE_E2E_LOGS"):
        shutil.copytree(
            folder, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("containerd", "etcd", "pki", "*.sock")
        )


@pytest.fixture(scope="session")
def empty_cluster(real_nodes: RealCluster | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a cluster on which nothing of ours is installed."""
    if real_nodes is not None:
        yield real_nodes.kubeconfig
        return
    with kind_cluster(tmp_path_factory.mktemp("kind") / "kubeconfig") as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="session")
def any_kubectl(request: pytest.FixtureRequest, empty_cluster: Path) -> Kubectl:
    """Kubectl of the control plane's build, as administrator."""
    binaries = request.session.stash.get(BINARIES, None)
    program = binaries.kubectl if binaries else Path("kubectl")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(empty_cluster)}
        whole = [program, *arguments]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=True, timeout=120)

    return call


@pytest.fixture(scope="session")
def kubeconfig(empty_cluster: Path, any_kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The administrator's, of a cluster on which the chart's operator runs."""
    restrict_namespaces(any_kubectl)
    install_operator(empty_cluster, tmp_path_factory.mktemp("helm"))
    return empty_cluster


@pytest.fixture
def helm(kubeconfig: Path, tmp_path: Path) -> Helm:
    """For the release that is installed."""
    return Helm(tmp_path, kubeconfig)


@pytest.fixture
def added_node(real_nodes: RealCluster | None, request: pytest.FixtureRequest) -> Callable[[str], RealNode]:
    """`added_node("name")`: one more node that runs flows, labelled `headrace.dev/pool=name`. Skips where kind is used."""
    if real_nodes is None:
        pytest.skip("nodes of kind are not stopped by these tests")
    archives = request.session.stash[IMAGES].of_runs
    return lambda name: real_nodes.add(name, archives, f"headrace.dev/pool={name}")


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[KubeClient]:
    """An open client, administrator."""
    async with KubeClient(load_connection(str(kubeconfig)), user_agent="headrace-e2e") as opened:
        yield opened


@pytest.fixture
async def namespace(client: KubeClient) -> AsyncIterator[str]:
    """A namespace of the test's own."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    await client.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    yield name
    await client.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
async def runs(client: KubeClient, namespace: str) -> Runs:
    """Flows and runs of the test's namespace."""
    made = Runs(client, namespace)
    await made.wait_for_service_account()
    return made


@pytest.fixture
def kubectl(any_kubectl: Kubectl, namespace: str) -> Kubectl:
    """Kubectl in the test's namespace."""
    return lambda *arguments: any_kubectl(f"--namespace={namespace}", *arguments)
