"""Who is measured on a control plane with simulated nodes: our operator, and pods that nobody looks after; others are in `bench.peers`."""

from __future__ import annotations

from typing import Any, Protocol

from headrace.api.keys import API_VERSION, FLOW_RUN_LABEL
from headrace.devcluster.crds import install_definitions
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import TooManyRequests
from headrace_operator.wiring import LEADER_LEASE
from tests.cluster.support.operator import OperatorProcess
from tests.cluster.support.waiting import eventually

FREE, LIMITED = "free", "limited"
"""Names of the Flows: without a limit, and with one."""
LIMIT = "slots"
LEASE_S = 60
"""A leader that cannot renew its lease ends itself, and the benchmark with it; other work on the machine must not bring that about."""
CODE = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "def main(): ..."}}}}


class Contender(Protocol):
    """
    One controller of runs, in one namespace.

    Attributes:
        name: For people.
        agent: How the user agent of its requests begins.
        lease: How the name of the Lease begins by which it leads; "" for none.
        runs: Path of the collection of its runs.
    """

    name: str
    agent: str
    lease: str

    def __init__(self, plane: Plane, client: KubeClient, namespace: str) -> None:
        """For one namespace of a plane that knows its kinds."""

    @property
    def runs(self) -> str:
        """As above."""

    @staticmethod
    async def define(client: KubeClient) -> None:
        """Has the plane know its kinds."""

    async def start(self, slots: int) -> int | None:
        """Its process id, None if it has none, when it has done a first run; a limit that it knows has so many slots."""

    async def create(self, name: str, *, limited: bool) -> None:
        """A run whose pod has nothing to do."""

    async def all_succeeded(self) -> bool:
        """Whether no run is left that has not."""

    async def succeeded(self) -> int:
        """How many runs have."""

    def run_of(self, pod: dict[str, Any]) -> str:
        """The name of a pod's run."""

    def stop(self) -> None:
        """Ends it, if the plane's end does not."""


async def first_run(contender: Contender) -> None:
    """Returns when it has succeeded."""
    await contender.create("warm", limited=False)

    async def done() -> bool | None:
        try:
            return await contender.succeeded() == 1
        except TooManyRequests:  # the API server has not yet read what it stores of a new kind
            return False

    _: bool = await eventually(done, within_s=60, what=f"a first run of {contender.name} succeeds")


class _InPhases:
    """Runs that tell their phase where a field selector finds it."""

    _client: KubeClient
    runs: str

    async def all_succeeded(self) -> bool:
        """Whether none is left in another phase."""
        page = await self._client.get(self.runs, {"fieldSelector": "status.phase!=Succeeded", "limit": "1"})
        return not page["items"]

    async def succeeded(self) -> int:
        """How many did."""
        return len(await self._client.list(self.runs, {"fieldSelector": "status.phase=Succeeded"}))


class Headrace(_InPhases):
    """Our operator with its default settings, but for a longer lease, and nothing but warnings in its log."""

    name = "headrace"
    agent = "headrace-operator"
    lease = LEADER_LEASE

    def __init__(self, plane: Plane, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.runs = self._path("flowruns")
        self._operator = OperatorProcess(
            plane.kubeconfig, namespace, plane.directory, log_level="warning", leader_lease_s=LEASE_S
        )

    @staticmethod
    async def define(client: KubeClient) -> None:
        """Installs our definitions."""
        await install_definitions(client)

    async def start(self, slots: int) -> int:
        """The process id, when a first run has succeeded; `slots` are those of a ConcurrencyLimit."""
        limit = {"apiVersion": API_VERSION, "kind": "ConcurrencyLimit", "metadata": {"name": LIMIT}}
        await self._client.create(f"/apis/{API_VERSION}/concurrencylimits", limit | {"spec": {"slots": slots}})
        await self._create("Flow", FREE, **CODE)
        await self._create("Flow", LIMITED, **CODE, limits=[{"name": LIMIT}])
        self._operator.start()
        await first_run(self)
        return self._operator.pid

    async def create(self, name: str, *, limited: bool) -> None:
        """A FlowRun, of the Flow with the limit if `limited`."""
        await self._create("FlowRun", name, flowRef={"name": LIMITED if limited else FREE})

    def run_of(self, pod: dict[str, Any]) -> str:
        """The FlowRun of a pod."""
        return str(pod["metadata"]["labels"][FLOW_RUN_LABEL])

    def stop(self) -> None:
        """Kills the operator."""
        self._operator.kill()

    def _path(self, plural: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self._namespace}/{plural}"

    async def _create(self, kind: str, name: str, **spec: Any) -> None:
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
        await self._client.create(self._path(f"{kind.lower()}s"), body)


class BarePods(_InPhases):
    """No controller at all: whoever wants a run creates its pod. What that takes, every controller of pods takes at least."""

    name = "pods alone"
    agent = "nobody"
    lease = ""

    def __init__(self, plane: Plane, client: KubeClient, namespace: str) -> None:
        del plane
        self._client = client
        self.runs = f"/api/v1/namespaces/{namespace}/pods"

    @staticmethod
    async def define(client: KubeClient) -> None:
        """Every plane knows pods."""

    async def start(self, slots: int) -> None:
        """Nothing to start; a first pod has succeeded."""
        del slots
        await first_run(self)

    async def create(self, name: str, *, limited: bool) -> None:
        """The smallest pod there is. Raises: ValueError: nobody holds a limit."""
        if limited:
            raise ValueError(name)
        spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i", "command": ["true"]}]}
        await self._client.create(self.runs, {"metadata": {"name": name}, "spec": spec})

    def run_of(self, pod: dict[str, Any]) -> str:
        """Its own name."""
        return str(pod["metadata"]["name"])

    def stop(self) -> None:
        """Nothing to stop."""
