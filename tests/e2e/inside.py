"""Code of flows that several tests run in pods, and the word that ends one."""

from __future__ import annotations

from tests.e2e.runs import Kubectl

WAITS = """
import time
from headrace import flow

@flow
def main():
    time.sleep(600)
"""
UNTIL_TOLD = """
import pathlib, time
from headrace import flow

@flow
def main():
    while not pathlib.Path("/tmp/go").exists():
        time.sleep(0.1)
"""
ASK = """
import json, os, pathlib, ssl, urllib.error, urllib.request

def ask(method, path, body=None):
    folder = pathlib.Path(os.environ["HEADRACE_API_DIR"])
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": "Bearer " + (folder / "token").read_text(), "Content-Type": kind}
    request = urllib.request.Request(server + path, json.dumps(body).encode() if body else None, headers, method=method)
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=folder / "ca.crt")) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code
"""
"""The API server, asked by nothing but what is mounted: an object, or the status of a refusal."""


def tell(kubectl: Kubectl, pod: str) -> None:
    """Ends the wait of UNTIL_TOLD, by `kubectl exec`."""
    kubectl("exec", pod, "--", "python3", "-c", "open('/tmp/go', 'w').close()")
