"""What `helm test` runs: a run of a Flow, from its creation to its end, in the namespace that HEADRACE_CHECK_NAMESPACE names."""

import asyncio
import os
import sys
import uuid

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace.kubeapi.errors import Unavailable

NAMESPACE = os.environ["HEADRACE_CHECK_NAMESPACE"]
TIMEOUT_S = float(os.environ["HEADRACE_CHECK_TIMEOUT_S"])
NAME = f"headrace-check-{uuid.uuid4().hex[:8]}"
FLOWS = f"/apis/headrace.dev/v1alpha1/namespaces/{NAMESPACE}/flows"
RUNS = f"/apis/headrace.dev/v1alpha1/namespaces/{NAMESPACE}/flowruns"
FLOW = {
    "apiVersion": "headrace.dev/v1alpha1",
    "kind": "Flow",
    "metadata": {"name": NAME},
    "spec": {
        "entrypoint": "check.py:main",
        "source": {"inline": {"files": {"check.py": "def main():\n    return 'it works'\n"}}},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
    },
}
RUN = {
    "apiVersion": "headrace.dev/v1alpha1",
    "kind": "FlowRun",
    "metadata": {"name": NAME},
    "spec": {"flowRef": {"name": NAME}},
}
FINISHED = {"Succeeded", "Failed", "Crashed", "Cancelled", "Skipped"}


async def main() -> int:
    """The exit status: 0 if the run has succeeded."""
    async with KubeClient(load_connection(), user_agent="headrace-check") as client:
        await created(client, FLOWS, FLOW)
        try:
            await created(client, RUNS, RUN)
            return await outcome(client)
        finally:
            for path in (RUNS, FLOWS):
                await client.delete(f"{path}/{NAME}")


async def created(client: KubeClient, path: str, body: dict[str, object]) -> None:
    """Made, though policies know no new kind for some seconds after the first install, and refuse it so long."""
    for _ in range(int(TIMEOUT_S)):
        try:
            await client.create(path, body)
        except Unavailable as error:
            print(f"not yet: {error}", flush=True)
            await asyncio.sleep(1)
        else:
            return
    await client.create(path, body)


async def outcome(client: KubeClient) -> int:
    """Tells each change of the run until it has ended."""
    told, status = "", {}
    for _ in range(int(TIMEOUT_S)):
        status = (await client.get(f"{RUNS}/{NAME}")).get("status") or {}
        news = f"{status.get('phase', 'no phase yet')}: {status.get('reason', '')} {status.get('message', '')}"
        if news != told:
            print(news, flush=True)
            told = news
        if status.get("phase") in FINISHED:
            return int(status["phase"] != "Succeeded")
        await asyncio.sleep(1)
    hint = "look at its conditions" if status else "no operator took it up: look at the operator's pods and their logs"
    print(f"FlowRun {NAMESPACE}/{NAME} has not ended after {TIMEOUT_S:.0f} s, expected Succeeded; {hint}", flush=True)
    return 1


sys.exit(asyncio.run(main()))
