"""`headrace dashboard`: the web page, of the cluster where it has one, else started here with your own rights."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from headrace.api import keys
from headrace.cli.cluster import ClusterRefusal, Context, asked, in_cluster, listed
from headrace.cli.commanding import kubeconfig
from headrace.cli.exits import CANCELLED
from headrace.cli.forwarding import LOOPBACK, Target, forwarded
from headrace.cli.leases import OPERATOR_NAMESPACE
from headrace.cli.surroundings import or_none
from headrace.diagnose.wording import condition
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

USUAL_PORT: Final = 8088
OF_THE_PAGE: Final = {"labelSelector": "app.kubernetes.io/name=headrace,app.kubernetes.io/component=dashboard"}
MODULE: Final = "headrace_dashboard"
REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
TOLD: Final = frozenset({"warning", "error", "critical"})
KNOWN: Final = frozenset({"authentication_switched_off"})
"""What its log says, and the user is told by this command itself."""


def register(app: typer.Typer) -> None:
    """Adds `headrace dashboard`."""
    app.command(name="dashboard")(dashboard)


def dashboard(
    *,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help=f"On this machine; 0 a free one. Else {USUAL_PORT}, or a free one."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Started here, also where the cluster has one.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    operator_namespace: Annotated[str, typer.Option(help="Where the chart is installed.")] = OPERATOR_NAMESPACE,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Started here: the only one to show. Else all that you may see.")
    ] = "",
    context: Context = None,
) -> None:
    """
    Shows runs, logs, Deployments and cost in the browser, until Ctrl-C: `headrace dashboard --open`.

    Where the chart has installed a dashboard, a port of this machine leads to it, and it asks for a token; else it is started here, for you alone and
    with your own rights, which takes headrace[dashboard].
    """
    service = None if local else in_cluster(lambda client, _: the_service(client, operator_namespace), context=context)
    status = (
        _here(namespace, port, context, opens=open_) if service is None else _there(service, port, context, opens=open_)
    )
    raise typer.Exit(status)


async def the_service(client: KubeClient, namespace: str) -> dict[str, Any] | None:
    """The Service of the dashboard in that namespace; None: there is none, or it may not be looked for."""
    found = await or_none(listed(client, f"/api/v1/namespaces/{namespace}/services", OF_THE_PAGE))
    return found[0] if found else None


async def a_pod(client: KubeClient, service: Mapping[str, Any]) -> Target:
    """One of its pods that is ready. Raises: ClusterRefusal: none is, or they may not be listed. ApiError."""
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    selector = {"labelSelector": ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())}
    pods = await listed(client, f"/api/v1/namespaces/{namespace}/pods", selector)
    ready = sorted((each for each in pods if _is_ready(each)), key=lambda each: str(each["metadata"]["name"]))
    if not ready:
        why = f"no pod of service {name} in namespace {namespace} is ready; kubectl get pods -n {namespace} shows them"
        raise ClusterRefusal("reach the dashboard", f"{why}, and headrace dashboard --local does without")
    return Target(namespace, str(ready[0]["metadata"]["name"]), _port_of(service, ready[0]))


def _there(service: Mapping[str, Any], port: int | None, context: str | None, *, opens: bool) -> int:
    """Leads to the one of the cluster until Ctrl-C. Raises: ClusterRefusal, ApiError, UsageError."""

    async def work(client: KubeClient, _: str) -> NoReturn:
        async with forwarded(client.connection, lambda: a_pod(client, service), _chosen(port)) as listening:
            namespace = service["metadata"]["namespace"]
            print(f"http://localhost:{listening}", flush=True)
            _say(f"leads to service {service['metadata']['name']} in namespace {namespace}, until Ctrl-C")
            _say(
                "it asks for a token of the cluster: kubectl create token NAME -n NAMESPACE gives that of a ServiceAccount"
            )
            _opened(listening, opens=opens)
            await asyncio.Event().wait()
        raise AssertionError  # the event is never set

    try:
        in_cluster(work, context=context)
    except KeyboardInterrupt:
        return CANCELLED
    except OSError as error:
        raise UsageError(f"cannot listen on port {port}: {error.strerror}; choose another by --port") from error


def _here(namespace: str, port: int | None, context: str | None, *, opens: bool) -> int:
    """Runs one of our own until Ctrl-C. Raises: UsageError: it is not installed. ApiError: there is no cluster to look at."""
    if find_spec(MODULE) is None:
        raise UsageError(
            "no dashboard is installed, neither in the cluster (dashboard.enabled of the chart) nor here: pip install 'headrace[dashboard]'"
        )
    shown = namespace or in_cluster(_all_or_one, context=context)
    settings = {
        "AUTH": "insecure-own-rights",
        "HOST": LOOPBACK,
        "PORT": str(_chosen(port)),
        "NAMESPACE": shown,
        "CONTEXT": context or "",
        "LOG_FORMAT": "json",
    }
    environment = {**os.environ, **{f"HEADRACE_DASHBOARD_{name}": value for name, value in settings.items()}}
    if chosen := kubeconfig():
        environment["KUBECONFIG"] = chosen
    with _child(environment) as process:
        try:
            for line in process.stdout or ():
                _told(line, shown, opens=opens)
            return process.wait()
        except KeyboardInterrupt:
            return CANCELLED


async def _all_or_one(client: KubeClient, here: str) -> str:
    """The namespace to show: all of them (""), where the runs of all may be listed; else that of the context. Raises: ApiError."""
    attributes = {"verb": "list", "group": keys.GROUP, "resource": keys.FLOWRUNS.plural}
    spec = {"resourceAttributes": attributes}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = await asked("look at the cluster", client.create(REVIEWS, body))
    return "" if (answer.get("status") or {}).get("allowed") is True else here


@contextmanager
def _child(environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A dashboard that ends with the block, and with this process, however that ends."""
    command = [sys.executable, "-m", "headrace.cli.alongside", MODULE]
    process = subprocess.Popen(  # noqa: S603 - this interpreter, and modules of ours
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _told(line: str, namespace: str, *, opens: bool) -> None:
    """What a line of its log means to the person who has started it."""
    try:
        facts = json.loads(line)
    except ValueError:
        _say(line.rstrip())
        return
    if facts.get("event") == "dashboard_started":
        print(f"http://localhost:{facts['port']}", flush=True)
        _say(
            f"shows {f'namespace {namespace}' if namespace else 'all namespaces'} with your own rights, to this machine alone, until Ctrl-C"
        )
        _opened(facts["port"], opens=opens)
    elif facts.get("level") in TOLD and facts.get("event") not in KNOWN:
        more = " ".join(f"{key}={value}" for key, value in facts.items() if key not in {"event", "level", "time"})
        _say(f"{facts['event']} {more}")


def _opened(port: int, *, opens: bool) -> None:
    if opens and not webbrowser.open(f"http://localhost:{port}"):
        _say("no browser could be opened; open the address yourself")


def _chosen(port: int | None) -> int:
    """The port that was asked for, else the usual one, else 0 for a free one."""
    if port is not None:
        return port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, USUAL_PORT))
        except OSError:
            return 0
    return USUAL_PORT


def _is_ready(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and condition(pod, "Ready").get("status") == "True"


def _port_of(service: Mapping[str, Any], pod: Mapping[str, Any]) -> int:
    """That of the pod which the Service's first port leads to."""
    first = service["spec"]["ports"][0]
    target = first.get("targetPort", first["port"])
    if isinstance(target, int):
        return target
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or ()]
    named: int | None = next((port["containerPort"] for port in ports if port.get("name") == target), None)
    if named is None:
        raise ClusterRefusal(
            "reach the dashboard", f'pod {pod["metadata"]["name"]} has no port that is named "{target}"'
        )
    return named


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
