"""Where runs of Deployments are started from: a pod as its environment has it, a kubeconfig, or nowhere."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headrace import Processes, UsageError, flow, run_deployment
from headrace.deployments.here import origin_of
from headrace.deployments.outside import KubeconfigApi
from headrace.deployments.starting import Origin
from headrace.podapi import PodApiError
from tests.unit.headrace import process_tasks

POD = {
    "HEADRACE_NAMESPACE": "team-a",
    "HEADRACE_FLOW_RUN": "top-7",
    "HEADRACE_FLOW_RUN_UID": "uid-7",
    "HEADRACE_FLOW": "top",
    "HEADRACE_ATTEMPT": "2",
}


@pytest.mark.parametrize(
    ("more", "origin"),
    [
        ({}, Origin("team-a", "top-7", "uid-7", "top-7", 2, "", "top")),
        (
            {"HEADRACE_ROOT_RUN": "first-1", "HEADRACE_DEPLOYMENT": "nightly"},
            Origin("team-a", "top-7", "uid-7", "first-1", 2, "nightly", "top"),
        ),
    ],
)
def test_a_pod_is_known_by_its_environment(more, origin):
    """The run at the top is this one, if nobody started it."""
    assert origin_of({**POD, **more}) == origin


def test_a_pod_without_a_token_is_told_what_its_flow_lacks(monkeypatch):
    """With the field to set."""
    for name, value in {**POD, "KUBERNETES_SERVICE_HOST": "127.0.0.1", "HEADRACE_API_DIR": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match='of Flow "top"'):
        run_deployment("nightly")


@pytest.mark.parametrize(
    ("missing", "says"),
    [("kubernetes", 'install "headrace[kube]"'), ("nothing", "no cluster to talk to")],
)
def test_a_laptop_without_a_cluster_is_told_what_to_do(tmp_path, missing, says):
    """Whether the client is missing, or the kubeconfig."""
    code = (
        f"import sys; sys.modules['{missing}'] = None\nfrom headrace import run_deployment\nrun_deployment('nightly')"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert says in done.stderr


@contextmanager
def serving(status=200):
    """An API server behind a path, as some proxies have it; what it is asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path.partition("?")[0], self.headers.get("Authorization")))
            body = json.dumps({"metadata": {"name": "nightly"}, "message": "no"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing: pytest shows enough."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/k8s/clusters/one/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("token", ["Bearer abc", None])
def test_a_kubeconfigs_server_may_have_a_path(token):
    """And a token, which is asked for before each request."""
    with serving() as (url, asked):
        api = KubeconfigApi(url, ssl=False, authorization=lambda: token)
        assert api.get("/apis/x")["metadata"] == {"name": "nightly"}
    assert asked == [("/k8s/clusters/one/apis/x", token)]


def test_what_a_kubeconfigs_server_refuses_is_told():
    """With its status."""
    with serving(403) as (url, _), pytest.raises(PodApiError, match="403: no"):
        KubeconfigApi(url, ssl=False, authorization=lambda: None).get("/apis/x")


def test_each_process_of_a_flow_asks_for_itself():
    """Two processes may make the same call at the same time, and know nothing of each other."""

    @flow(task_runner=Processes(max_workers=1))
    def top():
        return [each.result() for each in [process_tasks.asks.submit(), process_tasks.asks.submit()]]

    assert top() == ["asks-0", "asks-1"]
    assert process_tasks.asks.fn() == ""
