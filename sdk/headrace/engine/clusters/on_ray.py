"""
Tasks on a Ray cluster.

Each runs in a worker process of Ray's, alone: to stop it, Ray kills that. Ray is told not to repeat what was lost with
its worker, as an attempt is made once.
"""

from __future__ import annotations

import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from headrace.engine.clusters.sending import Lost
from headrace.engine.clusters.there import answer_to
from headrace.engine.transitions import told
from headrace.errors import UsageError

CONNECT_S = 10.0
"""How long a cluster may take to accept a connection; Ray itself waits for minutes."""
PORTS = {"ray": 10001, "": 6379}
"""Where the two ways to reach a cluster are, if the address does not say it."""


class RayCluster:
    """The process's one connection to a cluster."""

    def __init__(self, address: str, ray: Any) -> None:
        self.label = f"Ray at {address}"
        self.at_a_time = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._ray = ray
        self._carry_out = ray.remote(max_retries=0)(answer_to)

    def start(self, name: str, parcel: bytes) -> RayJob:
        """As promised by Cluster."""
        try:
            reference = self._carry_out.options(name=f"headrace-{name}").remote(parcel)
        except Exception as error:
            raise Lost(f"it takes no tasks ({told(error)}); see whether its head is there") from error
        return RayJob(self._ray, reference)

    def close(self) -> None:
        """As promised by Cluster."""
        CONNECTION.leave()


class RayJob:
    """An object of Ray that will be the answer."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self.ended = threading.Event()
        self._ray = ray
        self._reference = reference
        self._future = reference.future()
        self._future.add_done_callback(lambda _: self.ended.set())

    def answer(self) -> bytes:
        """As promised by Job."""
        try:
            answer: bytes = self._future.result()
        except Exception as error:
            missing = isinstance(error.__cause__ or error, ModuleNotFoundError)
            advice = "; install headrace, and what the flow needs, on its nodes" if missing else ""
            raise Lost(f"the task did not run to its end ({told(error)}){advice}") from error
        return answer

    def stop(self) -> None:
        """As promised by Job."""
        self._ray.cancel(self._reference, force=True)


class _Connection:
    """Ray keeps one connection a process: the first flow opens it, the last one lets it go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._is_ours = False

    def enter(self, ray: Any, address: str) -> None:
        with self._lock:
            if not ray.is_initialized():
                ray.init(address, log_to_driver=False, configure_logging=False)
                self._is_ours = True
            self._users += 1

    def leave(self) -> None:
        import ray  # noqa: PLC0415 - an extra

        with self._lock:
            self._users -= 1
            if not self._users and self._is_ours:
                self._is_ours = False
                ray.shutdown()


CONNECTION = _Connection()


def connected(address: str) -> RayCluster:
    """
    The cluster of that address. A connection that the program has opened itself is used, and stays.

    Raises: UsageError: ray is not installed, or nobody accepts a connection there within ten seconds.
    """
    try:
        import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401, PLC0415 - as below
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(f"task_runner=Ray(…): {told(error)}; install headrace[ray]") from None
    try:
        _refuse_silence(address)
        CONNECTION.enter(ray, address)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f'task_runner=Ray(address="{address}"): no Ray cluster answers there ({told(error)}); expected "auto" on a '
            'node of one, or the address of a head, such as "ray://ray-head:10001"'
        ) from error
    try:
        return RayCluster(address, ray)
    except BaseException:
        CONNECTION.leave()
        raise


def _refuse_silence(address: str) -> None:
    """Raises: OSError, ValueError: nobody accepts a connection there."""
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    socket.create_connection((parts.hostname or "", parts.port or PORTS.get(parts.scheme, 6379)), CONNECT_S).close()
