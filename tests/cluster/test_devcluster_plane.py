"""The control plane of the local cluster: what it answers, whom it lets in, and what it leaves behind."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest
import yaml

from headrace.devcluster import plane
from headrace.devcluster.processes import Processes
from tests.cluster.support.audit import whole_lines
from tests.cluster.support.waiting import eventually


@pytest.fixture
def own(tmp_path):
    """A folder for a control plane of the test's own; what runs there ends with the test."""
    guard = plane.tie(tmp_path)
    yield tmp_path
    guard.communicate()


def test_data_and_address_survive_a_stop(own, binaries, kubectl_of):
    """A second start takes up the data of the first, at the same address."""
    first = plane.start(own, binaries)
    kubectl_of(first)("create", "configmap", "kept", "--from-literal=a=b")
    stopped = plane.stop(own)
    second = plane.start(own, binaries)

    assert stopped == ["scheduler", "controller-manager", "apiserver", "etcd"]
    assert second == first
    assert kubectl_of(second)("get", "configmap", "kept", "-o", "jsonpath={.data.a}").stdout == "b"


def test_starting_twice_starts_once(own, binaries):
    """What runs is taken as it is."""
    plane.start(own, binaries)
    before = Processes(own).alive()
    plane.start(own, binaries)

    assert Processes(own).alive() == before


def test_nothing_survives_its_owner(tmp_path, binaries):
    """A control plane that is tied to a process ends when that process is killed."""
    script = (
        "import os, sys, time; from pathlib import Path; from headrace.devcluster import binaries, plane\n"
        "folder = Path(sys.argv[1]); guard = plane.tie(folder)\n"
        "plane.start(folder, binaries.find_binaries(os.environ)); print(guard.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    guard = psutil.Process(int(owner.stdout.readline()))
    alive = [each.process() for each in Processes(tmp_path).alive().values()]
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    guard.wait(30)

    assert len(alive) == 4
    assert not any(process.is_running() for process in alive)


def test_only_the_loopback_listens(control_plane):
    """Nobody outside this machine reaches any port of the cluster, and etcd has none at all."""
    listening = {
        name: {c.laddr.ip for c in each.process().net_connections("inet") if c.status == psutil.CONN_LISTEN}
        for name, each in Processes(control_plane.directory).alive().items()
        if each.process()
    }

    assert listening == {"etcd": set(), "apiserver": {"127.0.0.1"}, "controller-manager": set(), "scheduler": set()}


def test_who_does_not_sign_in_is_refused(control_plane):
    """The API server proves who it is, and answers 401 to strangers."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    assert "insecure-skip-tls-verify" not in cluster
    context = ssl.create_default_context(cafile=control_plane.directory / "pki" / "ca.crt")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{control_plane.server}/api", context=context)


def test_keys_are_for_their_owner_alone(control_plane):
    """No other user of the machine reads a key or a kubeconfig."""
    secret = [*control_plane.directory.glob("pki/*.key"), *control_plane.directory.glob("*kubeconfig")]

    assert {path.name: oct(path.stat().st_mode & 0o077) for path in secret} == {path.name: "0o0" for path in secret}
    assert len(secret) >= 7


async def test_writes_are_audited(client, namespace, audit_log):
    """A request is in the audit log when its answer is there: ours and pods with their bodies, others without."""
    await client.create(
        f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "seen"}, "data": {"a": "b"}}
    )
    await client.create(f"/api/v1/namespaces/{namespace}/pods", a_pod("seen"))

    written = [json.loads(line) for line in whole_lines(audit_log) if namespace in line]
    mine = {
        e["objectRef"]["resource"]: e for e in written if e["userAgent"] == "headrace-tests" and e["verb"] == "create"
    }
    assert "requestObject" not in mine["configmaps"]
    assert mine["pods"]["requestObject"]["metadata"]["name"] == "seen"
    assert mine["pods"]["user"]["username"] == "headrace-admin"


async def test_the_controllers_work(client, namespace):
    """Deleting an owner collects what it owns."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = await client.create(path, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await client.create(path, {"metadata": {"name": "owned", "ownerReferences": [reference]}})
    await client.delete(f"{path}/owner")

    async def collected():
        return "owned" not in {item["metadata"]["name"] for item in await client.list(path)}

    await eventually(collected)


def test_a_component_that_ends_is_named_with_its_last_words(own, binaries, tmp_path_factory):
    """The error names the component and shows the end of its log."""
    broken = tmp_path_factory.mktemp("broken") / "etcd"
    broken.write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(plane.StartFailed, match=r"(?s)etcd ended while it started; .*etcd\.log.*no space left"):
        plane.start(own, binaries.__class__(broken, *[getattr(binaries, n) for n in binaries.__slots__[1:]]))


def test_a_port_that_was_taken_meanwhile_is_replaced(own, binaries):
    """A start does not fail because somebody else took the last port."""
    (own / "layout.json").write_text(json.dumps({"port": 1, "audit": False}))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        (own / "layout.json").write_text(json.dumps({"port": taken, "audit": False}))
        started = plane.start(own, binaries)

    assert not started.server.endswith(f":{taken}")


@pytest.fixture
def kubectl_of(binaries):
    def of(running):
        def call(*arguments):
            command = [binaries.kubectl, "--kubeconfig", running.kubeconfig, *arguments]
            return subprocess.run(command, check=True, capture_output=True, text=True)

        return call

    return of


def a_pod(name: str) -> dict:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
