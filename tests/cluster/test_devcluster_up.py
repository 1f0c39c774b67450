"""`headrace dev up`, `status` and `down`, as a person types them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from headrace.devcluster import plane
from headrace.devcluster.processes import Processes

GPU = "name=gpu,label:headrace.dev/pool=gpu,taint:nvidia.com/gpu=present:NoSchedule,capacity:nvidia.com/gpu=1"


@pytest.fixture
def dev(tmp_path, binaries):
    """`dev("up", …)` in a folder of its own; what runs there ends with the test."""
    folder = tmp_path / "dev"
    folder.mkdir()
    guard = plane.tie(folder)

    def call(command, *options):
        line = [sys.executable, "-m", "headrace.cli", "dev", command, "--directory", str(folder), *options]
        return subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)

    call.folder = folder
    yield call
    guard.communicate()


def test_up_status_down_and_up_again(dev, binaries):
    """Up is idempotent, the second start finds the data; down ends everything."""

    def kubectl(*arguments):
        command = [binaries.kubectl, "--kubeconfig", dev.folder / "kubeconfig", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    first = dev("up", "--no-docker", "--node", "name=local-1", "--node", GPU)
    assert first.stdout == f"export KUBECONFIG={dev.folder}/kubeconfig\n", first.stderr
    assert "node gpu is ready" in first.stderr
    assert "custom resources installed: " in first.stderr
    kubectl("create", "namespace", "kept")
    before = Processes(dev.folder).alive()
    assert dev("up", "--no-docker").returncode == 0
    assert Processes(dev.folder).alive() == before
    shown = dev("status")
    assert (shown.returncode, "gpu" in shown.stdout) == (0, True)
    assert "node local-1         Ready" in shown.stdout

    ended = dev("down")
    assert ended.stdout == "ended: node-gpu, node-local-1, scheduler, controller-manager, apiserver, etcd\n"
    assert dev("status").returncode == 1
    assert dev("down").stdout == "nothing was running\n"

    assert dev("up", "--no-docker").returncode == 0
    assert set(Processes(dev.folder).alive()) == set(before)
    assert "namespace/kept" in kubectl("get", "namespace", "-o", "name")
    assert "flows" in kubectl("api-resources", "--api-group", "headrace.dev", "-o", "name")

    dev("down", "--purge")
    assert not dev.folder.exists()


def test_a_part_that_died_is_started_again(dev):
    """Status names it and says 1; up completes what is missing."""
    dev("up", "--no-docker")
    Processes(dev.folder).stop(["scheduler", "node-local-1"])
    broken = dev("status")
    repaired = dev("up", "--no-docker")

    assert broken.returncode == 1
    assert "scheduler            not running" in broken.stdout
    assert repaired.returncode == 0, repaired.stderr
    assert dev("status").returncode == 0


def test_other_nodes_replace_the_old(dev, binaries):
    """--node describes all nodes: those that are no longer wanted go, Node object included."""
    dev("up", "--no-docker", "--no-crds", "--node", "name=old")
    done = dev("up", "--no-docker", "--no-crds", "--node", "name=new,label:a=b")
    command = [binaries.kubectl, "--kubeconfig", dev.folder / "kubeconfig", "get", "nodes", "-o", "name"]

    assert done.returncode == 0, done.stderr
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "node/new\n"


def test_a_cluster_of_the_user_gets_the_definitions_only(dev, kubeconfig, monkeypatch):
    """--context: nothing is started, nothing is ended."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    up = dev("up", "--context", "headrace")
    status = dev("status")
    down = dev("down")

    assert up.stdout == "kubectl config use-context headrace\n", up.stderr
    assert status.returncode == 0
    assert status.stdout.startswith("cluster              context  https://127.0.0.1:")
    assert down.stdout == "nothing was running\n"


def test_a_folder_with_other_things_is_refused(dev):
    """Purging a cluster must never remove anything else."""
    (dev.folder / "thesis.txt").write_text("important")
    refused = dev("up", "--no-docker")

    assert refused.returncode == 1
    assert "holds something else" in refused.stderr
    assert dev("down", "--purge").stdout == "nothing was running\n"
    assert (dev.folder / "thesis.txt").exists()


def test_a_context_that_does_not_exist_is_named(dev, kubeconfig, monkeypatch):
    """One line, no traceback."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    refused = dev("up", "--context", "nowhere")

    assert refused.returncode == 5
    assert refused.stderr.startswith("headrace: no cluster to talk to: ")
    assert "nowhere" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_kind_is_taken_where_docker_answers(dev, kubeconfig, tmp_path, monkeypatch):
    """With a Docker engine and kind on the PATH, kind makes the cluster and deletes it."""
    calls = tmp_path / "calls"
    programs = {
        "docker": "echo 27.0",
        "kind": f'echo "$*" >> {calls}; case "$1" in get) grep -q "^create" {calls} && echo headrace;; create) '
        f'while [ "$1" != --kubeconfig ]; do shift; done; cp {kubeconfig} "$2";; esac; exit 0',
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    up = dev("up")
    status = dev("status")
    down = dev("down")
    called = [line.split(" --")[0] for line in calls.read_text().splitlines()]

    assert up.returncode == 0, up.stderr
    assert "creating a cluster in Docker with kind" in up.stderr
    assert status.stdout.startswith("cluster              kind ")
    assert down.stdout == "ended: kind cluster headrace\n"
    assert called == ["get clusters", "create cluster", "get clusters", "delete cluster"]
