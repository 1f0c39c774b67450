"""`headrace doctor`: whether headrace works in a cluster, and what to mend where it does not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headrace.cli.checks import (
    Finding,
    Verdict,
    cluster_checked,
    definitions_checked,
    limits_checked,
    operator_checked,
    pools_checked,
    rights_checked,
    webhooks_checked,
)
from headrace.cli.cluster import ClusterRefusal, Context, Namespace, in_cluster
from headrace.cli.exits import FAILED, NO_CLUSTER, OK
from headrace.cli.leases import OPERATOR_NAMESPACE
from headrace.cli.outputs import document
from headrace.cli.printing import painted, paints
from headrace.kubeapi.errors import ApiError, ConfigurationError, Unreachable
from headrace.terminal_text import harmless

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

Check = Callable[["KubeClient"], Awaitable[Sequence[Finding]]]


def register(app: typer.Typer) -> None:
    """Adds `headrace doctor`."""
    app.command(name="doctor")(doctor)


def doctor(
    *,
    operator_namespace: Annotated[str, typer.Option(help="Where the operator keeps its Leases.")] = OPERATOR_NAMESPACE,
    namespace: Namespace = "",
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="json is for other programs.")
    ] = "table",
    context: Context = None,
) -> None:
    """
    Looks whether headrace works here: cluster, your rights, definitions, operator, webhook, pools, limits.

    Exit status: 0 nothing is broken (warnings may be), 1 something is, 5 the cluster cannot be reached.
    """
    try:
        found = in_cluster(
            lambda client, here: examined(client, here, operator_namespace), namespace=namespace, context=context
        )
    except (ConfigurationError, Unreachable) as error:
        found = [
            Finding(
                "cluster",
                "fail",
                str(error),
                "name a cluster by --context or --kubeconfig, or start one: headrace dev up",
            )
        ]
        print(document([each.as_object() for each in found], "json") if output == "json" else as_text(found))
        raise typer.Exit(NO_CLUSTER) from None
    print(document([each.as_object() for each in found], "json") if output == "json" else as_text(found))
    raise typer.Exit(FAILED if any(each.verdict == "fail" for each in found) else OK)


async def examined(client: KubeClient, namespace: str, operator_namespace: str) -> list[Finding]:
    """Every finding, in the order in which they should be mended. Raises: Unreachable."""
    now = datetime.now(UTC)
    reachable = await cluster_checked(client)
    checks: dict[str, Awaitable[Sequence[Finding]]] = {
        "rights": rights_checked(client, namespace),
        "definitions": definitions_checked(client),
        "operator": operator_checked(client, operator_namespace, namespace, now=now),
        "webhook": webhooks_checked(client),
        "pools": pools_checked(client),
        "limits": limits_checked(client),
    }
    parts = await asyncio.gather(*(_answered(subject, check) for subject, check in checks.items()))
    return [*reachable, *(finding for part in parts for finding in part)]


async def _answered(subject: str, check: Awaitable[Sequence[Finding]]) -> Sequence[Finding]:
    """What a check found; one that may not look says so, and the others go on."""
    try:
        return await check
    except ClusterRefusal as error:
        return [Finding(subject, "warn", f"could not be looked at: {error.problem}", "")]
    except Unreachable:
        raise
    except ApiError as error:
        return [Finding(subject, "warn", f"could not be looked at: {error}", "")]


def as_text(findings: Sequence[Finding]) -> str:
    """A line each, with what to do below those that are not well, and the sum."""
    colours = paints(sys.stdout)
    lines = []
    for each in findings:
        mark = f"{each.verdict:<5}"
        lines.append(f"{painted(mark, each.verdict) if colours else mark} {each.subject:<12} {each.told}")
        lines += [f"{'':18} do: {each.fix}"] if each.fix else []
    return harmless("\n".join([*lines, _sum([each.verdict for each in findings])]))


def _sum(verdicts: Sequence[Verdict]) -> str:
    broken, doubtful = verdicts.count("fail"), verdicts.count("warn")
    if broken:
        return f"{broken} broken, {doubtful} to look at"
    return f"nothing is broken, {doubtful} to look at" if doubtful else "all is well"
