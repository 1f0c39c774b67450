"""Containers on a local node: what they find, how they end, and in which words a kubelet would tell."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

from headrace.devcluster.node.cgroups import open_groups
from tests.cluster.support.pods import condition, conditions, restarts, state, terminated, waiting
from tests.cluster.support.waiting import eventually

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="without root containers are not isolated")


async def test_exit_0_is_succeeded(pods):
    """The status of a finished pod, whole."""
    await pods.shell("good", "exit 0")
    pod = await pods.ended("good")
    status = pod["status"]

    assert (status["phase"], status["qosClass"], status["podIP"]) == ("Succeeded", "BestEffort", "127.0.0.1")
    assert terminated(pod) | {"exitCode": 0, "reason": "Completed"} == terminated(pod)
    assert terminated(pod)["startedAt"] <= terminated(pod)["finishedAt"]
    assert terminated(pod)["containerID"].startswith("headrace://")
    assert status["startTime"]
    assert conditions(pod) == {
        "PodReadyToStartContainers": "False",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }
    assert condition(pod, "Ready")["reason"] == "PodCompleted"


async def test_any_other_exit_is_failed(pods):
    """The exit code is the command's."""
    await pods.shell("bad", "exit 3")
    pod = await pods.ended("bad")

    assert pod["status"]["phase"] == "Failed"
    assert terminated(pod) | {"exitCode": 3, "reason": "Error"} == terminated(pod)
    assert condition(pod, "Ready")["reason"] == "PodFailed"


async def test_a_signal_is_128_and_its_number(pods):
    """As shells and container runtimes count."""
    await pods.run("shot", "python", "-c", "import os, subprocess; os._exit(139)")
    await pods.shell("killed", "sh -c 'kill -9 $$$$'; exit $?")

    assert terminated(await pods.ended("shot"))["exitCode"] == 139
    assert terminated(await pods.ended("killed"))["exitCode"] == 137


async def test_a_pod_runs_soon_after_it_is_bound(pods):
    """Under 300 ms at the median, with a ServiceAccount token, on a machine that does other things too."""
    took = []
    for number in range(7):
        began = time.monotonic()
        await pods.run(f"quick-{number}", "sleep", "60")
        await pods.running(f"quick-{number}")
        took.append(time.monotonic() - began)

    assert sorted(took)[3] < 0.3, took


async def test_running_is_reported(pods):
    """While it runs it is ready, unless a probe says otherwise."""
    await pods.run("runs", "sleep", "60")
    pod = await pods.running("runs")

    assert state(pod)["running"]["startedAt"]
    assert (
        pod["status"]["containerStatuses"][0] | {"ready": True, "started": True, "restartCount": 0}
        == (pod["status"]["containerStatuses"][0])
    )
    assert {conditions(pod)[kind] for kind in ("Ready", "ContainersReady", "Initialized", "PodScheduled")} == {"True"}


async def test_every_source_of_environment(pods):
    """Values, references between them, ConfigMaps, Secrets, the downward API; whole and by key."""
    await pods.config_map("settings", COLOUR="blue", SHAPE="round")
    await pods.secret("access", TOKEN="t0p")
    env = [
        {"name": "PLAIN", "value": "a"},
        {"name": "COMBINED", "value": "$(PLAIN)-$(PRE_COLOUR)-$(UNKNOWN)-$$(PLAIN)"},
        {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "SHAPE"}}},
        {"name": "ANY", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "access", "key": "TOKEN"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    container = {
        "env": env,
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "PRE_"}, {"secretRef": {"name": "access"}}],
        "resources": {"limits": {"memory": "96Mi"}},
    }
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    await pods.run("env", "python", "-c", program, container=container, metadata={"labels": {"team": "a"}})
    found = json.loads(await pods.says("env"))

    expected = {
        "PLAIN": "a",
        "COMBINED": "a-blue-$(UNKNOWN)-$(PLAIN)",
        "PRE_COLOUR": "blue",
        "PRE_SHAPE": "round",
        "ONE": "round",
        "SECRET": "t0p",
        "TOKEN": "t0p",
        "POD": "env",
        "TEAM": "a",
        "NODE": pods.node,
        "MEMORY": "96",
        "HOSTNAME": "env",
    }
    given = {"PATH", "HOME", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS"}
    assert {key: value for key, value in found.items() if key in expected} == expected
    assert set(found) - set(expected) - {"LC_CTYPE"} == given, "nothing of the node's own environment leaks in"


async def test_arguments_take_variables(pods):
    """`$(NAME)` in command and arguments; `python` is the interpreter that runs the node."""
    container = {
        "args": ["-c", "import headrace, sys; print(sys.argv[1])", "$(WHO)!"],
        "env": [{"name": "WHO", "value": "you"}],
    }
    await pods.run("args", "python3", container=container)

    assert await pods.says("args") == "you!\n"


@root_only
async def test_every_kind_of_volume_at_its_path(pods):
    """Files with their modes, at the paths and in the folder that the pod names."""
    await pods.config_map("code", **{"etl.py": "print('etl')", "other": "x"})
    await pods.secret("key", id="s3cret")
    volumes = [
        {
            "name": "code",
            "configMap": {"name": "code", "items": [{"key": "etl.py", "path": "lib/etl.py"}], "defaultMode": 0o440},
        },
        {"name": "key", "secret": {"secretName": "key"}},
        {"name": "none", "secret": {"secretName": "none", "optional": True}},
        {"name": "work", "emptyDir": {}},
        {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "host", "hostPath": {"path": "/etc"}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "code"}}, {"secret": {"name": "key"}}]}},
    ]
    mounts = [
        {"name": "code", "mountPath": "/code"},
        {"name": "code", "mountPath": "/one.py", "subPath": "lib/etl.py"},
        {"name": "key", "mountPath": "/keys"},
        {"name": "none", "mountPath": "/none"},
        {"name": "work", "mountPath": "/w"},
        {"name": "work", "mountPath": "/deep", "subPath": "a/b"},
        {"name": "about", "mountPath": "/about"},
        {"name": "host", "mountPath": "/host", "readOnly": True},
        {"name": "all", "mountPath": "/all"},
    ]
    script = """
    python lib/etl.py; stat -L -c %a lib/etl.py; cat /one.py; echo; cat /keys/id; echo; ls /none | wc -l
    echo w > /w/w; echo d > /deep/d; cat /w/a/b/d; cat /about/labels; echo; ls /all
    test -s /host/passwd && touch /host/x 2>/dev/null || echo read-only
    touch /keys/new 2>/dev/null || echo read-only
    """
    container = {"volumeMounts": mounts, "workingDir": "/code"}
    await pods.shell("volumes", script, container=container, volumes=volumes, metadata={"labels": {"a": "b"}})

    assert (await pods.says("volumes")).split("\n") == [
        *("etl", "440", "print('etl')", "s3cret", "0", "d", 'a="b"', "etl.py", "id", "other", "read-only", "read-only"),
        "",
    ]


@root_only
async def test_a_container_leaves_no_trace(pods, tmp_path):
    """It reads what the machine has, but its writes are its own, and so are its processes and its name."""
    await pods.shell(
        "tidy", f"ls -d {tmp_path}; echo x > {tmp_path}/trace; echo $$$$; hostname; ls /proc | grep -c '^[0-9]'"
    )
    written = await pods.says("tidy")

    assert written.split("\n")[:3] == [str(tmp_path), "1", "tidy"]
    assert int(written.split("\n")[3]) < 6
    assert list(tmp_path.iterdir()) == []


@root_only
async def test_a_token_signs_in_to_the_api(pods):
    """In-cluster configuration works: the token, the authority, the address; RBAC rules what it may."""
    program = (
        "import os, ssl, urllib.request, urllib.error, pathlib\n"
        "at = pathlib.Path('/var/run/secrets/kubernetes.io/serviceaccount')\n"
        "host, port = os.environ['KUBERNETES_SERVICE_HOST'], os.environ['KUBERNETES_SERVICE_PORT']\n"
        "request = urllib.request.Request(f'https://{host}:{port}/api/v1/nodes',\n"
        "    headers={'Authorization': 'Bearer ' + (at / 'token').read_text()})\n"
        "try: urllib.request.urlopen(request, context=ssl.create_default_context(cafile=at / 'ca.crt'))\n"
        "except urllib.error.HTTPError as error: print(error.read().decode(), (at / 'namespace').read_text())"
    )
    await pods.run("token", "python", "-c", program)
    written = await pods.says("token")

    assert f'User \\"system:serviceaccount:{pods.namespace}:default\\" cannot list resource' in written
    assert written.strip().endswith(pods.namespace)


async def test_a_termination_message_is_reported(pods):
    """What the container wrote to its path, at most 4,096 bytes, also on success."""
    script = 'import sys; open("/dev/termination-log", "w").write("é" + "x" * 5000)'
    env = [{"name": "LOG", "value": "/dev/termination-log"}]
    await pods.run("message", "python", "-c", script, container={"env": env})
    message = terminated(await pods.ended("message"))["message"]

    assert message.startswith("éxxx")
    assert len(message.encode()) == 4096


async def test_the_log_stands_in_for_a_missing_message(pods):
    """With FallbackToLogsOnError, and only on errors."""
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    await pods.shell("fails", "echo it broke; exit 1", container=policy)
    await pods.shell("works", "echo fine", container=policy)

    assert terminated(await pods.ended("fails"))["message"] == "it broke\n"
    assert "message" not in terminated(await pods.ended("works"))


async def test_init_containers_come_first_and_in_order(pods):
    """Each must succeed before the next starts; a volume hands on what they made."""
    volumes = [{"name": "work", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/shared"}], "image": "none"}
    inits = [
        {"name": name, "command": ["sh", "-c", f"sleep 0.2; echo {name} >> /shared/order"], **mount}
        for name in ("one", "two")
    ]
    await pods.shell("inits", "cat /shared/order", container=mount, volumes=volumes, initContainers=inits)

    assert await pods.says("inits") == "one\ntwo\n"
    pod = await pods.get("inits")
    assert [each["state"]["terminated"]["reason"] for each in pod["status"]["initContainerStatuses"]] == [
        "Completed"
    ] * 2


async def test_a_failed_init_container_fails_the_pod(pods):
    """The main container never starts, and says so."""
    inits = [{"name": "one", "image": "none", "command": ["sh", "-c", "exit 7"]}]
    await pods.shell("stuck", "echo never", initContainers=inits)
    pod = await pods.ended("stuck")

    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    assert waiting(pod)["reason"] == "PodInitializing"
    assert condition(pod, "Initialized")["message"] == "containers with incomplete status: [one]"


async def test_a_sidecar_runs_beside_and_ends_after(pods):
    """An init container that restarts always starts first, goes on, and ends when the others have."""
    sidecar = {
        "name": "side",
        "image": "none",
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
    }
    await pods.shell("pair", "sleep 0.5", initContainers=[{**sidecar, "restartPolicy": "Always"}])
    running = await pods.running("pair")
    pod = await pods.ended("pair")

    assert "running" in running["status"]["initContainerStatuses"][0]["state"]
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


async def test_a_container_that_fails_is_restarted(pods):
    """At once the first time, then with a back-off that is reported; the last end is kept."""
    await pods.shell("crashes", "echo run; exit 1", restartPolicy="OnFailure")
    pod = await pods.waits("crashes", "CrashLoopBackOff")
    status = pod["status"]["containerStatuses"][0]

    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    uid = pod["metadata"]["uid"]
    text = f"restarting failed container=main pod=crashes_{pods.namespace}({uid})"
    assert waiting(pod)["message"] == f"back-off 10s {text}"
    assert pod["status"]["phase"] == "Running"
    assert (await pods.events("crashes"))["BackOff"] == f"Back-off {text}"
    assert await pods.logs("crashes", previous="true") == "run\n"


async def test_success_ends_a_pod_that_restarts_on_failure(pods):
    """OnFailure: the second run succeeds, the pod too."""
    volumes = [{"name": "work", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/shared"}]}
    script = "test -e /shared/second && exit 0; touch /shared/second; exit 1"
    await pods.shell("twice", script, container=mount, volumes=volumes, restartPolicy="OnFailure")
    pod = await pods.ended("twice")

    assert (pod["status"]["phase"], pod["status"]["containerStatuses"][0]["restartCount"]) == ("Succeeded", 1)


async def test_what_is_missing_is_named_and_awaited(pods):
    """CreateContainerConfigError in the kubelet's words; the container starts when the object is there."""
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "late", "key": "a"}}}]
    await pods.shell("waits", "echo $A", container={"env": env})
    pod = await pods.waits("waits", "CreateContainerConfigError")
    before = waiting(pod)["message"]
    await pods.secret("late", b="x")
    await pods.until("waits", lambda pod: "find key" in waiting(pod).get("message", ""))
    after = waiting(await pods.get("waits"))["message"]
    await pods.client.patch(pods.path("secrets", "late"), {"stringData": {"a": "there"}})

    assert before == 'secret "late" not found'
    assert after == f"couldn't find key a in Secret {pods.namespace}/late"
    assert await pods.says("waits") == "there\n"
    assert (await pods.events("waits"))["Failed"].startswith("Error: ")


async def test_a_missing_volume_keeps_the_pod_waiting(pods):
    """ContainerCreating, and an event FailedMount that names it."""
    volumes = [{"name": "cfg", "configMap": {"name": "absent"}}]
    await pods.shell(
        "unmounted", "cat /cfg/a", container={"volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}]}, volumes=volumes
    )
    pod = await pods.waits("unmounted", "ContainerCreating")
    events = await eventually(lambda: pods.events("unmounted"))
    await pods.config_map("absent", a="now")

    assert pod["status"]["phase"] == "Pending"
    assert events["FailedMount"] == 'MountVolume.SetUp failed for volume "cfg" : configmap "absent" not found'
    assert await pods.says("unmounted") == "now"


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
async def test_a_command_that_cannot_start(pods, command, problem):
    """StartError with 128, in containerd's words."""
    await pods.run("absent", command)
    end = terminated(await pods.ended("absent"))

    assert (end["exitCode"], end["reason"], end["startedAt"]) == (128, "StartError", "1970-01-01T00:00:00Z")
    assert end["message"].endswith(f"error during container init: {problem}")


async def test_an_image_of_an_invalid_host_cannot_be_pulled(pods):
    """The one thing that the image decides, so that this failure can be shown."""
    await pods.shell("unpullable", "true", container={"image": "registry.invalid/team/etl:1"})
    pod = await pods.waits("unpullable", "ImagePullBackOff")

    assert waiting(pod)["message"].startswith('Back-off pulling image "registry.invalid/team/etl:1": ErrImagePull: ')
    assert pod["status"]["phase"] == "Pending"
    assert "no such host" in (await pods.events("unpullable"))["Failed"]


async def test_a_command_is_needed(pods):
    """The image is not used, so its entrypoint is not known; the pod says so."""
    await pods.run("commandless")

    assert "must say its command" in waiting(await pods.waits("commandless", "CreateContainerConfigError"))["message"]


async def test_a_pod_that_ends_before_its_deadline_has_succeeded(pods):
    """A pod whose activeDeadlineSeconds are not used up ends as any other does, and at once."""
    await pods.shell("punctual", "true", activeDeadlineSeconds=300)
    assert (await pods.ended("punctual"))["status"]["phase"] == "Succeeded"


async def test_a_deadline_ends_the_pod(pods):
    """Beyond activeDeadlineSeconds it is Failed, DeadlineExceeded, in the kubelet's words."""
    await pods.shell("late", "trap 'exit 5' TERM; while :; do sleep 0.1; done", activeDeadlineSeconds=1)
    pod = await pods.ended("late")

    assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert pod["status"]["message"] == "Pod was active on the node longer than the specified deadline"
    assert terminated(pod)["exitCode"] == 5


async def test_a_container_over_its_memory_is_killed(pods):
    """OOMKilled with 137, where the machine lets a node hold memory limits."""
    groups = open_groups("probe")
    if isinstance(groups, str):
        pytest.skip(f"this machine holds no memory limits: {groups}")
    groups.remove()
    program = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    await pods.run("greedy", "python", "-c", program, container={"resources": {"limits": {"memory": "64Mi"}}})
    pod = await pods.ended("greedy")

    assert terminated(pod) | {"exitCode": 137, "reason": "OOMKilled"} == terminated(pod)


async def test_readiness_follows_its_probe(pods):
    """Not ready until the command in the container succeeds, and again when it fails."""
    probe = {"exec": {"command": ["test", "-e", "/shared/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    volumes = [{"name": "work", "emptyDir": {}}]
    mount = {"volumeMounts": [{"name": "work", "mountPath": "/shared"}], "readinessProbe": probe}
    script = "sleep 1; touch /shared/ready; sleep 2; rm /shared/ready; sleep 60"
    await pods.shell("probed", script, container=mount, volumes=volumes)
    first = await pods.running("probed")
    await pods.until("probed", lambda pod: conditions(pod)["Ready"] == "True")
    pod = await pods.until("probed", lambda pod: conditions(pod)["Ready"] == "False")

    assert conditions(first)["Ready"] == "False"
    assert condition(pod, "Ready")["message"] == "containers with unready status: [main]"


async def test_a_container_that_is_not_alive_is_restarted(pods):
    """A liveness probe that fails ends the container; the restart policy starts it again."""
    probe = {"httpGet": {"port": 1, "path": "/"}, "periodSeconds": 1, "failureThreshold": 1}
    await pods.shell(
        "hung", "sleep 60", container={"livenessProbe": probe}, restartPolicy="Always", terminationGracePeriodSeconds=0
    )
    pod = await pods.until("hung", lambda pod: restarts(pod) == 1)

    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    assert "Liveness probe failed" in (await pods.events("hung"))["Unhealthy"]


async def test_ids_of_containers_differ_between_runs(pods):
    """Who looks at a status can tell one run from the next."""
    await pods.shell("again", "exit 1", restartPolicy="Always")
    pod = await pods.waits("again", "CrashLoopBackOff")
    await pods.until("again", lambda pod: restarts(pod) == 1)
    status = pod["status"]["containerStatuses"][0]

    assert re.fullmatch(r"headrace://[0-9a-f]{32}", status["containerID"])
