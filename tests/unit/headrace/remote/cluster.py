"""A cluster that runs each task's FlowRun as a real process, as soon as somebody watches it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from headrace.engine.session import using
from headrace.entrypoints import load_flow
from headrace.podapi import PodApiError
from headrace.remote.calling import TaskPods
from headrace.remote.flow_runs import Parent
from tests.unit.headrace.runs import a_session

FOLDER = Path(__file__).parent
ENTRYPOINT = "remote_flows.py:main"
PHASES = {0: "Succeeded", 1: "Failed", 75: "Failed", 78: "Failed"}


class Cluster:
    """
    The API of one namespace, as far as remote tasks use it.

    Attributes: `objects` by name, `ran` the names in the order of their processes, `logs` what they printed, `faults`
    what the next requests meet instead: a PodApiError, or None to do as asked.
    """

    def __init__(self, folder):
        self.objects = {}
        self.ran = []
        self.logs = {}
        self.cancelled = []
        self.faults = []
        self._folder = folder
        self._version = 0

    def get(self, path):
        self._fault()
        return copy.deepcopy(self._held(path))

    def create(self, path, body):
        self._fault()
        name = body["metadata"]["name"]
        if name in self.objects:
            raise PodApiError(f"POST {path}", 409, "already exists")
        self.objects[name] = copy.deepcopy(body)
        self.objects[name]["metadata"]["uid"] = f"uid-of-{name}"
        return self._touched(name)

    def patch(self, path, body):
        self._fault()
        name = self._held(path)["metadata"]["name"]
        assert body == {"spec": {"cancel": True}}
        self.cancelled.append(name)
        self.objects[name]["spec"]["cancel"] = True
        return self._touched(name)

    def watch(self, path, params, *, timeout_s):
        self._fault()
        name = params["fieldSelector"].partition("=")[2]
        assert params["resourceVersion"] == self.objects[name]["metadata"]["resourceVersion"]
        yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}}
        self.run(name)
        yield {"type": "MODIFIED", "object": self._touched(name)}

    def run(self, name, **variables):
        """The run's pod, from its start to its end."""
        spec = self.objects[name]["spec"]
        log = self._folder / f"{name}.termination"
        environment = {
            "PATH": os.environ["PATH"],
            "HEADRACE_ENTRYPOINT": ENTRYPOINT,
            "HEADRACE_CODE_DIR": str(FOLDER),
            "HEADRACE_FLOW": spec["flowRef"]["name"],
            "HEADRACE_FLOW_RUN": name,
            "HEADRACE_PARAMETERS": json.dumps(spec.get("parameters") or {}),
            "HEADRACE_TASK": json.dumps(spec["task"]),
            "HEADRACE_TERMINATION_LOG": str(log),
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-m", "headrace.pod"],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.ran.append(name)
        self.logs[name] = done.stdout + done.stderr
        report = json.loads(log.read_text())
        self.end(name, PHASES[done.returncode], report["reason"], report["message"])
        return report

    def end(self, name, phase, reason="", message=""):
        """The operator's last word."""
        self.objects[name]["status"] = {"phase": phase, "reason": reason, "message": message}
        self._touched(name)

    def _held(self, path):
        name = path.rpartition("/")[2]
        if name not in self.objects:
            raise PodApiError(f"GET {path}", 404, "not found")
        return self.objects[name]

    def _touched(self, name):
        self._version += 1
        self.objects[name]["metadata"]["resourceVersion"] = str(self._version)
        return copy.deepcopy(self.objects[name])

    def _fault(self):
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault


PARENT = Parent("team-a", "etl-7", "uid-7", "etl", "rev1", 1, {"day": "2026-01-01"})


@contextmanager
def in_flows_pod(cluster, url, **changes):
    """The flows of remote_flows.py, as in a flow's pod; `changes` to the parent run."""
    module = sys.modules[load_flow(ENTRYPOINT, code_dir=FOLDER).fn.__module__]
    parent = replace(PARENT, **changes)
    pods = TaskPods(parent, url, ENTRYPOINT, FOLDER, {}, connect=lambda _: cluster)
    session = a_session(flow_run=parent.name, flow=parent.flow, namespace=parent.namespace, elsewhere=pods)
    with using(session):
        yield module
