"""A cluster in memory in which each run of a Deployment ends as the test says, when somebody watches it."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from datetime import UTC, datetime

from headrace.deployments.starting import Origin, Starter
from headrace.engine.session import using
from headrace.podapi import PodApiError
from tests.unit.headrace.runs import FakeClock, a_session

NOW = datetime(2026, 1, 1, 7, tzinfo=UTC)
ORIGIN = Origin("team-a", "top-7", "uid-7", "top-7", 1, "", "top")
SUCCEEDED = {"phase": "Succeeded", "reason": "Succeeded", "result": {"value": 42}}


class Killed(BaseException):
    """The process is no more; nothing in it may hold that up."""


class Cluster:
    """
    The API of a cluster, as far as run_deployment() uses it.

    Its process can be killed at each request: `kill_at` is (number of the request, "before" or "after" it takes effect).

    Attributes: `runs` and `deployments` by "namespace/name", `ends` the statuses that a watch shows of a run, `faults` what
    the next requests meet instead: a PodApiError, or None to do as asked; `on_watch` is called when a watch begins.
    """

    def __init__(self):
        self.runs = {}
        self.deployments = {"team-a/nightly": {"flowRef": {"name": "etl"}}, "team-a/other": {"flowRef": {"name": "x"}}}
        self.ends = [SUCCEEDED]
        self.faults = []
        self.cancelled = []
        self.on_watch = lambda: None
        self.kill_at = None
        self.requests = 0
        self._version = 0

    def get(self, path):
        with self._request():
            return self._got(path)

    def _got(self, path):
        _, _, _, _, _, namespace, plural, *name = path.split("/")
        held = self.deployments if plural == "deployments" else self.runs
        if not name:
            mine = [key.partition("/")[2] for key in held if key.startswith(f"{namespace}/")]
            return {"items": [{"metadata": {"name": each}} for each in mine]}
        key = f"{namespace}/{name[0]}"
        if key not in held:
            raise PodApiError(f"GET {path}", 404, "not found")
        return {"spec": held[key]} if plural == "deployments" else copy.deepcopy(held[key])

    def create(self, path, body):
        with self._request():
            return self._created(path, body)

    def _created(self, path, body):
        key = f"{body['metadata']['namespace']}/{body['metadata']['name']}"
        assert path == f"/apis/headrace.dev/v1alpha1/namespaces/{body['metadata']['namespace']}/flowruns"
        if key in self.runs:
            raise PodApiError(f"POST {path}", 409, "already exists")
        self.runs[key] = copy.deepcopy(body)
        self.runs[key]["metadata"]["uid"] = f"uid-of-{key}"
        return self._touched(key)

    def patch(self, path, body):
        with self._request():
            return self._patched(path, body)

    def _patched(self, path, body):
        assert body == {"spec": {"cancel": True}}
        _, _, _, _, _, namespace, _, name = path.split("/")
        self.cancelled.append(f"{namespace}/{name}")
        return {}

    def watch(self, path, params, *, timeout_s):
        with self._request():
            self.on_watch()
        key = f"{path.split('/')[5]}/{params['fieldSelector'].partition('=')[2]}"
        assert params["resourceVersion"] == self.runs[key]["metadata"]["resourceVersion"]
        yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}}
        for status in self.ends:
            self.runs[key]["status"] = status
            yield {"type": "MODIFIED", "object": self._touched(key)}

    def end(self, name, **status):
        """The operator's word about a run."""
        self.runs[name]["status"] = status
        self._touched(name)

    @property
    def names(self):
        """Of the runs, in the order of their creation."""
        return list(self.runs)

    def _touched(self, key):
        self._version += 1
        self.runs[key]["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.runs[key])

    @contextmanager
    def _request(self):
        """One request: it meets its fault, or the process is killed on either side of it."""
        self.requests += 1
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault
        if self.kill_at == (self.requests, "before"):
            raise Killed
        try:
            yield
        finally:
            if self.kill_at == (self.requests, "after"):
                raise Killed


@contextmanager
def in_pod(cluster, origin=ORIGIN, **session):
    """A flow's pod; None: a person's program. `session` as a Session has it."""
    clock = FakeClock()
    starter = Starter(cluster, origin, namespace="team-a", clock=clock, now=lambda: NOW)
    facts = {"flow_run": origin.run, "flow_run_uid": origin.uid, "repeats_flows": False} if origin else {}
    with using(a_session(deployments=starter, clock=clock, **facts, **session)) as made:
        yield made
