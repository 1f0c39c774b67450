"""A local node on a machine that mounts nothing for it: as on macOS, or without root."""

from __future__ import annotations

import asyncio
import os
import shutil

import psutil
import pytest

from headrace.devcluster import plane
from headrace.devcluster.node.options import NodeDescription
from headrace.devcluster.nodes import node_command, process_name, wait_until_ready
from headrace.devcluster.processes import Processes
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from tests.cluster.support.pods import Pods, terminated
from tests.cluster.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="needs setpriv to give up the right to mount"
)
NODE = NodeDescription("plain")
GIVE_UP = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")


@pytest.fixture(scope="module")
def plain_node(control_plane, tmp_path_factory):
    """A node whose process may not mount."""
    directory = tmp_path_factory.mktemp("plain-node")
    guard = plane.tie(directory)
    processes = Processes(directory)
    command = node_command(control_plane, NODE, directory)
    processes.start(process_name(NODE.name), [*(GIVE_UP if os.geteuid() == 0 else ()), *command])

    async def ready():
        async with KubeClient(load_connection(str(control_plane.kubeconfig))) as client:
            await wait_until_ready(client, NODE.name, processes)

    async def forget():
        async with KubeClient(load_connection(str(control_plane.kubeconfig))) as client:
            await client.delete(f"/api/v1/nodes/{NODE.name}")

    asyncio.run(ready())
    yield processes.log(process_name(NODE.name))
    guard.communicate()
    asyncio.run(forget())


@pytest.fixture
def plain(client, namespace, plain_node):
    return Pods(client, namespace, NODE.name)


def test_the_node_says_what_the_machine_lacks(plain_node):
    """In its log, with the reason."""
    assert "containers are not isolated, paths of mounts are rewritten in their words" in plain_node.read_text()


async def test_paths_of_mounts_lead_to_the_pods_folder(plain):
    """In command, arguments, environment and working folder; the termination message too."""
    await plain.config_map("code", **{"a.txt": "content"})
    container = {
        "volumeMounts": [{"name": "code", "mountPath": "/code"}, {"name": "work", "mountPath": "/scratch"}],
        "workingDir": "/code",
        "env": [{"name": "WORK", "value": "/scratch/sub"}, {"name": "LOG", "value": "/dev/termination-log"}],
    }
    volumes = [{"name": "code", "configMap": {"name": "code"}}, {"name": "work", "emptyDir": {}}]
    script = 'cat a.txt /code/a.txt; mkdir "$WORK" && ls /scratch; echo told > "$LOG"'
    await plain.shell("paths", script, container=container, volumes=volumes)

    assert await plain.says("paths") == "contentcontentsub\n"
    assert terminated(await plain.get("paths"))["message"] == "told\n"


async def test_the_whole_process_group_ends(plain):
    """Grace, then SIGKILL, for everything that the container started."""
    marker = f"{os.getpid()}.8181"
    await plain.shell("group", f"trap '' TERM; sleep {marker} & while :; do sleep 0.1; done")
    await plain.running("group")
    found = await eventually(lambda: find(marker))
    await plain.client.delete(plain.path("pods", "group"), grace_s=1)
    await plain.gone("group")

    assert found
    assert not find(marker)


def find(argument):
    """Processes of this machine that have the argument."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if argument in (each.info["cmdline"] or ())]
