"""What a run's container may do, judged by the kernel and the API server."""

from __future__ import annotations

from tests.e2e.inside import ASK
from tests.e2e.runs import Runs

READ_ONLY = {"spec": {"containers": [{"name": "flow", "securityContext": {"readOnlyRootFilesystem": True}}]}}
"""The rest of Pod Security `restricted` is what runs get anyway."""
LOOKS = """
import pathlib
from headrace import flow

@flow(log_prints=True)
def main():
    status = dict(line.split(":\\t") for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
    print("capabilities", int(status["CapEff"], 16), "of", int(status["CapBnd"], 16))
    print("seccomp", status["Seccomp"], "no new privileges", status["NoNewPrivs"])
    try:
        pathlib.Path("/usr/written").write_text("x")
    except OSError as error:
        print("root refused:", error.strerror)
    print("token", pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists())
"""
ASKS = f"""
{ASK}
from headrace import flow

@flow(log_prints=True)
def main():
    review = {{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}}
    me = ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
    print("I am", me["username"], "in pod", me["extra"]["authentication.kubernetes.io/pod-name"][0])
    print("secrets:", ask("GET", "/api/v1/namespaces/kube-system/secrets"))
"""


async def test_a_run_under_pod_security_restricted(runs: Runs) -> None:
    """No capability, no way to one, a read-only root, system calls filtered, and no token."""
    name = await runs.start_code("restricted", LOOKS, podTemplate=READ_ONLY)

    status = await runs.ended(name)

    assert status["phase"] == "Succeeded", status
    log = await runs.log(f"{name}-1")
    for said in (
        "capabilities 0 of 0",
        "seccomp 2 no new privileges 1",
        "root refused: Read-only file system",
        "token False",
    ):
        assert said in log


async def test_a_run_with_api_access_is_its_service_account(runs: Runs) -> None:
    """The projected token signs it in at the Service of the API server, is bound to its pod, and gives no right by itself."""
    name = await runs.start_code("asks", ASKS, apiAccess="Enabled")

    status = await runs.ended(name)

    assert status["phase"] == "Succeeded", status
    log = await runs.log(f"{name}-1")
    assert f"I am system:serviceaccount:{runs.namespace}:default in pod {name}-1" in log
    assert "secrets: 403" in log
