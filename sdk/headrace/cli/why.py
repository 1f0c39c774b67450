"""`headrace why`: what a run waits for or what killed it, why a Deployment, Backfill or limit stands as it does, and the next step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.api import keys
from headrace.cli.budgets import spent_text
from headrace.cli.cluster import Context, Namespace, in_cluster, listed, path_of
from headrace.cli.deployments import state_of
from headrace.cli.leases import OPERATOR_NAMESPACE, operator_leases, works
from headrace.cli.names import WORDS, explainable
from headrace.cli.podlogs import Section, attempts_of, pod_lines
from headrace.cli.references import reference
from headrace.cli.runs import ENDED, phase_of, the_run
from headrace.cli.surroundings import events_about, explanation, or_none
from headrace.diagnose.explaining import Explanation, Facts, explained
from headrace.terminal_text import harmless

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

LOG_LINES: Final = 10
DIED: Final = frozenset({"Failed", "Crashed"})


def register(app: typer.Typer) -> None:
    """Adds `headrace why`."""
    app.command(name="why")(why)


def why(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A run; or deployment/NAME, backfill/NAME, limit/NAME.", autocompletion=explainable
        ),
    ],
    *,
    operator_namespace: Annotated[str, typer.Option(help="Where the operator keeps its Leases.")] = OPERATOR_NAMESPACE,
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """
    Tells what a run waits for, or what killed it, and what to do next: `headrace why etl-7`.

    Of a Deployment or a Backfill, why it starts no runs; of a limit, who holds it: `headrace why deployment/nightly`.
    """
    target = reference(name, (keys.FLOWRUNS, keys.DEPLOYMENTS, keys.BACKFILLS, keys.CONCURRENCYLIMITS))

    async def work(client: KubeClient, here: str) -> Explanation:
        if target.resource is not keys.FLOWRUNS:
            return await explanation(client, here, target, operator_namespace)
        found = await the_run(client, here, target.name, f"explain run {target.name}")
        return explained(await _facts(client, found, operator_namespace))

    print(as_text(in_cluster(work, namespace=namespace, context=context)))


def as_text(found: Explanation) -> str:
    """A line, then what is behind it by headings, then what to do."""
    lines = [found.what]
    for heading, told in found.because.items():
        lines += ["", f"{heading}:", *(indent(line, "  ") for line in told)]
    if found.steps:
        lines += ["", "next:", *(f"  {step}" for step in found.steps)]
    return harmless("\n".join(lines))


async def _facts(client: KubeClient, run: dict[str, Any], operator_namespace: str) -> Facts:
    """What bears on its present state, asked for at once; what may not be read is left out."""
    namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
    is_over, reason = phase_of(run) in ENDED, str((run.get("status") or {}).get("reason"))
    attempts = attempts_of(run)
    pod = attempts[-1]["pod"] if attempts else f"{name}-1"
    core = f"/api/v1/namespaces/{namespace}"
    now = datetime.now(UTC)
    found_pod, events, around, tail, leases = await asyncio.gather(
        or_none(client.get(f"{core}/pods/{pod}")),
        or_none(events_about(client, namespace, name, pod)),
        or_none(_around(client, run, reason)),
        or_none(_tail(client, namespace, pod) if phase_of(run) in DIED and attempts else _nothing()),
        or_none(operator_leases(client, operator_namespace, namespace) if not is_over else _nothing()),
    )
    ahead = await or_none(_ahead(client, run)) if reason == "WaitingForSlot" else None
    return Facts(
        run=run,
        now=now,
        pod=found_pod,
        events=events or (),
        ahead=ahead,
        around=around or (),
        log_tail=tail or (),
        operator=works(leases, now) if leases else None,
    )


async def _nothing() -> list[Any]:
    return []


async def _tail(client: KubeClient, namespace: str, pod: str) -> list[str]:
    return [line.readable(colours=False) async for line in pod_lines(client, namespace, pod, Section(tail=LOG_LINES))]


async def _around(client: KubeClient, run: Mapping[str, Any], reason: str) -> list[str]:
    """The state of what it waits for."""
    if reason in {"WaitingForLimit", "WaitingForRate", "LimitTooSmall"}:
        return [_limit(each) for each in await listed(client, path_of(keys.CONCURRENCYLIMITS)) if _is_named(each, run)]
    if reason in {"WaitingForPool", "NoPoolFits", "PoolNotFound", "Unschedulable"}:
        return [_pool(each) for each in await listed(client, path_of(keys.WORKPOOLS))]
    deployment = (run["spec"].get("deploymentRef") or {}).get("name")
    if deployment and reason in {"WaitingForSlot", "WaitingForBudget", "CircuitOpen", "CircuitHalfOpen"}:
        return _deployment(await client.get(path_of(keys.DEPLOYMENTS, run["metadata"]["namespace"], deployment)))
    return []


async def _ahead(client: KubeClient, run: Mapping[str, Any]) -> int:
    """Runs of its Deployment that wait, and stand before it: by priority, then by age."""
    metadata, deployment = run["metadata"], run["spec"]["deploymentRef"]["name"]
    waiting = await listed(
        client, path_of(keys.FLOWRUNS, metadata["namespace"]), {"fieldSelector": "status.phase=Pending"}
    )
    mine = _turn(run)
    others = [each for each in waiting if (each["spec"].get("deploymentRef") or {}).get("name") == deployment]
    return sum(_turn(each) < mine for each in others)


def _turn(run: Mapping[str, Any]) -> tuple[int, str, str]:
    return -int(run["spec"].get("priority") or 0), run["metadata"]["creationTimestamp"], run["metadata"]["name"]


def _is_named(limit: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    """Whether the message of the run speaks of it."""
    return limit["metadata"]["name"] in WORDS.findall(str((run.get("status") or {}).get("message", "")))


def _limit(limit: Mapping[str, Any]) -> str:
    status, slots = limit.get("status") or {}, limit["spec"].get("slots")
    holders = [str(holder["holder"]) for holder in status.get("holders") or ()]
    held = ", ".join(holders[:3]) + (f" and {len(holders) - 3} more" if len(holders) > 3 else "")
    count = f"{status.get('active') or 0} of {slots} slots held" if slots is not None else "a rate only"
    return (
        f"limit {limit['metadata']['name']}: {count}{f' by {held}' if held else ''}; {status.get('waiting') or 0} wait"
    )


def _pool(pool: Mapping[str, Any]) -> str:
    status, most = pool.get("status") or {}, (pool["spec"].get("capacity") or {}).get("runs")
    nodes = (status.get("nodes") or {}).get("ready") or 0
    runs = f"{status.get('active') or 0}{f' of {most}' if most is not None else ''} runs"
    return f"pool {pool['metadata']['name']}: {runs}, {status.get('queued') or 0} wait, {nodes} nodes ready"


def _deployment(found: Mapping[str, Any]) -> list[str]:
    status = found.get("status") or {}
    active = [str(run["name"]) for run in status.get("active") or ()]
    most = (found["spec"].get("concurrency") or {}).get("limit")
    running = ", ".join(active[:3]) + (f" and {len(active) - 3} more" if len(active) > 3 else "")
    line = f"deployment {found['metadata']['name']}: {state_of(found)}; {status.get('activeCount') or 0}{f' of {most}' if most else ''} under way"
    spent = spent_text(found)
    return [line + (f": {running}" if running else ""), *([f"spent {spent}"] if spent else [])]
