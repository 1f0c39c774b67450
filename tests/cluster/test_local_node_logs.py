"""`kubectl logs` of pods on a local node, in each of its forms; and who may ask the node."""

from __future__ import annotations

import asyncio
import re
import ssl

import aiohttp
import pytest

from headrace.kubeapi.errors import Invalid
from tests.cluster.support.pods import Pods


async def test_kubectl_logs_shows_both_streams(pods, kubectl):
    """Standard output and error, in the order in which they were written."""
    await pods.shell("talks", "echo out; sleep 0.1; echo err >&2; sleep 0.1; printf end")
    await pods.ended("talks")

    assert kubectl("logs", "--namespace", pods.namespace, "talks").stdout == "out\nerr\nend"


async def test_kubectl_logs_follows_until_the_end(pods, kubectl):
    """`kubectl logs -f` ends with the container and misses nothing."""
    await pods.shell("counts", "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done")
    await pods.running("counts")
    followed = await asyncio.to_thread(kubectl, "logs", "--follow", "--namespace", pods.namespace, "counts")

    assert followed.stdout == "1\n2\n3\n4\n5\n"


async def test_lines_come_while_it_runs(pods):
    """A line is there before the next is written."""
    await pods.shell("streams", "echo first; sleep 60")
    await pods.running("streams")
    async for line in pods.client.lines(pods.path("pods", "streams") + "/log", {"follow": "true"}):
        assert line == "first\n"
        break


async def test_the_part_that_is_asked_for(pods):
    """tailLines, limitBytes, sinceSeconds, timestamps."""
    await pods.shell("parts", "echo one; sleep 2.2; echo two; echo three")
    await pods.ended("parts")

    assert await pods.logs("parts", tailLines="2") == "two\nthree\n"
    assert await pods.logs("parts", tailLines="0") == ""
    assert await pods.logs("parts", limitBytes="5") == "one\nt"
    assert await pods.logs("parts", sinceSeconds="2") in {"two\nthree\n", ""}
    stamped = await pods.logs("parts", timestamps="true", tailLines="1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z three\n", stamped)


async def test_long_lines_stay_whole(pods):
    """A line of 200,000 characters comes back as it was."""
    await pods.run("long", "python", "-c", "print('x' * 200_000); print('y')")
    await pods.ended("long")

    assert await pods.logs("long") == "x" * 200_000 + "\ny\n"
    assert await pods.logs("long", tailLines="2") == "x" * 200_000 + "\ny\n"


async def test_a_container_that_has_not_started_has_no_log(pods):
    """The answer says what it waits for."""
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a"}}}]
    await pods.shell("silent", "true", container={"env": env})
    await pods.waits("silent", "CreateContainerConfigError")
    with pytest.raises(
        Invalid, match='container "main" in pod "silent" is waiting to start: CreateContainerConfigError'
    ):
        await pods.logs("silent")


async def test_exec_is_refused_with_a_reason(pods, kubectl):
    """What a local node cannot do, it says."""
    await pods.run("sleeps", "sleep", "60")
    await pods.running("sleeps")
    refused = await asyncio.to_thread(
        lambda: kubectl("exec", "--namespace", pods.namespace, "sleeps", "--", "true", check=False)
    )

    assert refused.returncode == 1
    assert "kubectl exec is not supported" in refused.stderr


async def test_only_the_api_server_may_ask_a_node(client, namespace, shared_node, control_plane):
    """Neither a stranger nor another holder of a certificate of the cluster reads logs past the API server."""
    node = await client.get(f"/api/v1/nodes/{shared_node.name}")
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    url = f"https://127.0.0.1:{port}/containerLogs/{namespace}/any/main"
    other = ssl.create_default_context()
    other.check_hostname, other.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(url, ssl=other)
        pki = control_plane.directory / "pki"
        other.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
        with pytest.raises(aiohttp.ClientError):
            await session.get(url, ssl=other)
    assert await served_by(Pods(client, namespace, shared_node.name)) == "hello\n"


async def served_by(pods):
    """What the API server gets for its question."""
    await pods.shell("hello", "echo hello")
    return await pods.says("hello")
