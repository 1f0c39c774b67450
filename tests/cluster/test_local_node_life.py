"""Ends that come from outside: deletion, finalizers, force; and nodes that go away, come back, or act as pools."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from headrace.devcluster.node.options import NodeDescription
from headrace.devcluster.nodes import process_name, start_node, wait_until_ready
from tests.cluster.support.pods import Pods, condition, state, terminated
from tests.cluster.support.waiting import eventually

LOOP = "while :; do sleep 0.1; done"
KEPT = {"finalizers": ["headrace.dev/test"]}


async def release(pods, name):
    """Takes the finalizer away."""
    await pods.client.patch(pods.path("pods", name), {"metadata": {"finalizers": None}})


async def deleted(pods, name, *, grace_s=None):
    """The pod after its deletion, held by a finalizer, when the node has reported its last status."""
    await pods.client.delete(pods.path("pods", name), grace_s=grace_s)
    return await pods.until(name, lambda pod: pod["status"]["phase"] in {"Succeeded", "Failed"})


async def test_deletion_asks_first(pods):
    """SIGTERM to the main process; its exit code and message are in the last status, and then the object goes."""
    script = f"trap 'echo bye > /dev/termination-log; exit 143' TERM; {LOOP}"
    await pods.shell("polite", script, metadata=KEPT)
    await pods.running("polite")
    pod = await deleted(pods, "polite")
    await release(pods, "polite")
    await pods.gone("polite")

    assert terminated(pod) | {"exitCode": 143, "message": "bye\n", "reason": "Error"} == terminated(pod)
    assert pod["status"]["phase"] == "Failed"


async def test_who_does_not_listen_is_killed_with_all_it_started(pods):
    """SIGKILL after the grace period, children included."""
    marker = f"{os.getpid()}.5151"
    await pods.shell("stubborn", f"trap '' TERM; sleep {marker} & while :; do sleep 0.1; done", metadata=KEPT)
    await pods.running("stubborn")
    children = await eventually(lambda: find(marker))
    began = time.monotonic()
    pod = await deleted(pods, "stubborn", grace_s=1)
    took = time.monotonic() - began
    await release(pods, "stubborn")

    assert terminated(pod)["exitCode"] == 137
    assert 0.8 < took < 5
    assert children
    assert not find(marker)


async def test_a_pre_stop_hook_comes_before_the_signal(pods):
    """The hook runs in the container and may end it gracefully."""
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /dev/termination-log; sleep 0.3"]}}}
    await pods.shell("hooked", f"trap 'exit 4' TERM; {LOOP}", container={"lifecycle": hook}, metadata=KEPT)
    await pods.running("hooked")
    pod = await deleted(pods, "hooked")
    await release(pods, "hooked")

    assert terminated(pod) | {"exitCode": 4, "message": "hook\n"} == terminated(pod)


async def test_a_pod_deleted_before_it_ran(pods):
    """Its container is reported as never located; the object goes."""
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a"}}}]
    await pods.shell("unborn", "true", container={"env": env}, metadata=KEPT)
    await pods.waits("unborn", "CreateContainerConfigError")
    pod = await deleted(pods, "unborn")
    await release(pods, "unborn")
    await pods.gone("unborn")

    assert pod["status"]["phase"] == "Failed"
    assert terminated(pod) | {"exitCode": 137, "reason": "ContainerStatusUnknown"} == terminated(pod)


async def test_a_finished_pod_is_let_go(pods, shared_node):
    """Deleting it removes the object, and its folder on the node."""
    pod = await pods.shell("over", "exit 0")
    await pods.ended("over")
    folder = shared_node.pods / pod["metadata"]["uid"]
    existed = folder.exists()
    await pods.client.delete(pods.path("pods", "over"))
    await pods.gone("over")
    await eventually(lambda: not folder.exists())

    assert existed


async def test_a_pod_removed_by_force_is_killed(pods):
    """The object goes at once, the process soon after."""
    marker = f"{os.getpid()}.6161"
    await pods.shell("forced", f"trap '' TERM; sleep {marker} & {LOOP}")
    await pods.running("forced")
    await eventually(lambda: find(marker))
    await pods.client.delete(pods.path("pods", "forced"), grace_s=0)
    await pods.gone("forced")

    await eventually(lambda: not find(marker), within_s=10)


async def test_a_pod_of_the_same_name_is_another(pods):
    """A pod that is created when its namesake has gone runs anew."""
    for number in ("1", "2"):
        await pods.shell("twin", f"echo {number}")
        assert await pods.says("twin") == f"{number}\n"
        await pods.client.delete(pods.path("pods", "twin"))
        await pods.gone("twin")


async def test_conditions_of_others_are_kept(pods):
    """An eviction's DisruptionTarget survives the node's last status."""
    await pods.shell("evicted", f"trap 'exit 1' TERM; {LOOP}", metadata=KEPT)
    await pods.running("evicted")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted"}}
    await pods.client.create(pods.path("pods", "evicted") + "/eviction", eviction)
    pod = await pods.until("evicted", lambda pod: pod["status"]["phase"] == "Failed")
    await release(pods, "evicted")

    assert condition(pod, "DisruptionTarget")["reason"] == "EvictionByEvictionAPI"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_ran_when_the_node_went_is_lost_and_not_run_twice(
    client, namespace, local_node, control_plane, number
):
    """After the node comes back: Failed with ContainerStatusUnknown, one run, no survivor."""
    name = await local_node()
    pods = Pods(client, namespace, name)
    marker = f"{os.getpid()}.7171"
    await pods.shell("lost", f"echo run; exec sleep {marker}")
    await pods.shell("done", "exit 0")
    await pods.running("lost")
    await pods.ended("done")
    process = local_node.processes.alive()[process_name(name)].process()
    process.send_signal(number)
    await eventually(lambda: not find(marker), within_s=10, what="the container ends with its node")
    process.wait(10)
    start_node(control_plane, NodeDescription(name), local_node.processes.directory)
    await wait_until_ready(client, name, local_node.processes)
    lost = await pods.ended("lost")

    assert terminated(lost) | {"exitCode": 137, "reason": "ContainerStatusUnknown"} == terminated(lost)
    assert await pods.logs("lost") == "run\n"
    assert (await pods.get("done"))["status"]["phase"] == "Succeeded"


async def test_a_restarting_pod_starts_again_after_its_node(client, namespace, local_node, control_plane):
    """RestartPolicy Always: the lost run is kept as the last state, and the container runs again."""
    name = await local_node()
    pods = Pods(client, namespace, name)
    await pods.run("service", "sleep", "60", restartPolicy="Always")
    await pods.running("service")
    local_node.processes.stop([process_name(name)])
    start_node(control_plane, NodeDescription(name), local_node.processes.directory)
    pod = await pods.until("service", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1)

    assert "running" in state(pod)
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


async def test_nodes_act_as_pools(client, namespace, local_node):
    """Labels, taints and extended resources decide where the scheduler puts a pod; a GPU is held by one at a time."""
    gpu = await local_node(
        labels={"headrace.dev/pool": "gpu-test"},
        taints=["nvidia.com/gpu=present:NoSchedule"],
        capacity={"nvidia.com/gpu": "1", "memory": "64Gi"},
    )
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists"}
    spec = {"nodeSelector": {"headrace.dev/pool": "gpu-test"}, "tolerations": [toleration]}
    pods = Pods(client, namespace, gpu)
    limits = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    await pods.run("trains", "sleep", "60", container=limits, nodeName=None, **spec)
    first = await pods.running("trains")
    await pods.run("waits", "sleep", "60", container=limits, nodeName=None, **spec)
    second = await pods.until("waits", lambda pod: pod["status"].get("conditions"))

    assert first["spec"]["nodeName"] == gpu
    assert "Insufficient nvidia.com/gpu" in condition(second, "PodScheduled")["message"]
    node = await client.get(f"/api/v1/nodes/{gpu}")
    assert node["status"]["allocatable"] | {"nvidia.com/gpu": "1", "memory": "64Gi"} == node["status"]["allocatable"]
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == gpu


async def test_a_node_is_seen_alive(client, shared_node):
    """A Lease as a kubelet's."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{shared_node.name}"
    lease = await client.get(path)

    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == (shared_node.name, 40)
    assert lease["metadata"]["ownerReferences"][0]["kind"] == "Node"


def find(argument):
    """Processes of this machine that have the argument."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if argument in (each.info["cmdline"] or ())]
