"""Orders for a container, with and without isolation."""

from __future__ import annotations

import pytest

from headrace.devcluster.node.container import _duration, pulled_from_nowhere
from headrace.devcluster.node.machine import Machine, base_environment, group_name, moved

PLACES = {"/code": "/pods/1/code", "/code/lib": "/pods/1/lib", "/dev/termination-log": "/pods/1/message"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/code", "/pods/1/code"),
        ("/code/etl.py", "/pods/1/code/etl.py"),
        ("/code/lib/x", "/pods/1/lib/x"),
        ("/codes", "/codes"),
        ("/my/code", "/my/code"),
        ("PATH=/code:/bin", "PATH=/pods/1/code:/bin"),
        ("cat '/code/a' /code/b", "cat '/pods/1/code/a' /pods/1/code/b"),
        ("ls /code; (cd /code&&ls)>/code/x", "ls /pods/1/code; (cd /pods/1/code&&ls)>/pods/1/code/x"),
        ('{"at": "/code"}', '{"at": "/pods/1/code"}'),
        ("/code/code", "/pods/1/code/code"),
        ("echo > /dev/termination-log", "echo > /pods/1/message"),
    ],
)
def test_paths_of_mounts_are_rewritten(text, result):
    """Whole paths and what lies below them, and nothing that only looks alike."""
    assert moved(text, PLACES) == result


def test_nodes_of_one_name_in_two_clusters_share_no_control_group(tmp_path):
    """A node removes its group when it ends; a node that comes back finds what it left."""
    first, second = group_name("local-1", tmp_path / "a"), group_name("local-1", tmp_path / "b")
    assert first != second
    assert first == group_name("local-1", tmp_path / "x" / ".." / "a")
    assert first.startswith("local-1-")


def test_without_isolation_the_orders_name_the_real_paths(tmp_path):
    """Command, environment and working folder; no mount is left."""
    machine = Machine(isolates=False, groups=None, kept=(), root=tmp_path, environment={})
    mounts = [{"source": source, "target": target, "read_only": False} for target, source in PLACES.items()]
    orders = machine.orders(["python", "/code/a"], env={"LOG": "/dev/termination-log"}, cwd="/code", mounts=mounts)

    assert (orders["argv"], orders["env"], orders["cwd"]) == (
        ["python", "/pods/1/code/a"],
        {"LOG": "/pods/1/message"},
        "/pods/1/code",
    )
    assert orders["mounts"] == []


def test_the_way_to_the_api_server():
    """Host and port of the kubeconfig's URL; 443 where it names none."""
    assert base_environment("https://127.0.0.1:6443")["KUBERNETES_SERVICE_PORT"] == "6443"
    assert base_environment("https://example.com")["KUBERNETES_SERVICE_PORT"] == "443"


@pytest.mark.parametrize(
    ("image", "nowhere"),
    [
        ("registry.invalid/a:1", True),
        ("registry.invalid:5000/a", True),
        ("a.invalid", False),
        ("team/a.invalid", False),
        ("python:3.12", False),
    ],
)
def test_images_that_cannot_be_pulled(image, nowhere):
    """By the host of the registry, and only by that."""
    assert pulled_from_nowhere(image) == nowhere


def test_durations_as_go_prints_them():
    """10s, 1m20s, 5m0s."""
    assert [_duration(seconds) for seconds in (10, 80, 300)] == ["10s", "1m20s", "5m0s"]
