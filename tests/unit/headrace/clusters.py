"""Real clusters of Dask and Ray on loopback, in processes of their own that end with the block."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.ports import free_ports

WITHIN_S = 60


@contextmanager
def dask_cluster() -> Iterator[str]:
    """The address of a scheduler with one worker of two threads, which a nanny starts anew when it is killed."""
    with ExitStack() as stack:
        # The clusters' processes find headrace, and nothing of these tests.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-dask-")))
        told = folder / "scheduler.json"
        common = ["--no-dashboard", "--scheduler-file", told, "--host", "127.0.0.1"]
        stack.enter_context(_running(folder, "dask", "scheduler", *common, "--port", "0"))
        eventually(told.exists)
        stack.enter_context(
            _running(folder, "dask", "worker", *common, "--nthreads", "2", "--death-timeout", str(WITHIN_S))
        )
        yield json.loads(told.read_text())["address"]


@contextmanager
def ray_cluster() -> Iterator[tuple[str, str]]:
    """The addresses of a head with two CPUs: for the nodes of the cluster, and for others."""
    folder = Path(tempfile.mkdtemp(prefix="hr-ray-"))  # short: the paths of its sockets must be
    port, for_others = free_ports(2)
    start = ["start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    where = ["--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={for_others}"]
    memory = ["--object-store-memory=100000000", f"--temp-dir={folder}"]
    try:
        with _running(folder, "ray", *start, *where, *memory):
            eventually(lambda: _accepts(port) and _accepts(for_others))
            yield f"127.0.0.1:{port}", f"ray://127.0.0.1:{for_others}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(folder: Path, command: str, *arguments: object) -> Iterator[None]:
    program = Path(sys.executable).with_name(command)
    with (folder / f"{command}-{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *map(str, arguments)], cwd=folder, stdout=log, stderr=log, env=_environment()
        )
    try:
        yield
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for member in family:
            if member.is_running():
                member.kill()


def _environment() -> dict[str, str]:
    """With patience for a machine that is busy."""
    patience = dict.fromkeys(
        ("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "RAY_worker_register_timeout_seconds"), "120"
    )
    return {**os.environ, **patience}


def eventually(true: Callable[[], bool]) -> None:
    """Returns when that is true; soon."""
    until_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < until_s
        threading.Event().wait(0.05)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
