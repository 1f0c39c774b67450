"""`headrace cost`: what runs have cost, by Flow, Deployment, namespace or pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, get_args

import typer

from headrace.api import keys
from headrace.cli.budgets import budget_table, budgets_of
from headrace.cli.cluster import AllNamespaces, Api, Context, Namespace, in_cluster, listed, path_of
from headrace.cli.deadletters import age_from
from headrace.cli.outputs import document
from headrace.cli.printing import counted, table
from headrace.cli.runs import flow_of, flows_of_deployments, instant
from headrace.costs import Total, of_run, together, totals

By = Literal["flow", "deployment", "namespace", "pool", "backfill"]
MOST_RECORDS: Final = 100_000


def register(app: typer.Typer) -> None:
    """Adds `headrace cost`."""
    app.command(name="cost")(cost)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one run has cost; `amount` is None where no price is known. `keys` name what it belongs to, by kind."""

    uid: str
    keys: Mapping[str, str]
    amount: Decimal | None
    currency: str
    created: datetime | None


def cost(  # noqa: PLR0913 - one argument an option
    *,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Instead: what Deployments have spent of their budgets in this period.")
    ] = False,
    by: Annotated[By, typer.Option(help="What is added up.")] = "flow",
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only runs created within this time: 24h, 7d.")
    ] = None,
    store: Annotated[
        str, typer.Option(envvar="HEADRACE_HISTORY_URL", help="The history store, for runs that have left the cluster.")
    ] = "",
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    output: Annotated[
        Literal["table", "json", "yaml"], typer.Option("--output", "-o", help="json and yaml are for other programs.")
    ] = "table",
    context: Context = None,
) -> None:
    """
    Adds up what runs have cost, the dearest first: `headrace cost --by deployment --since 7d -A`.

    Of runs in the cluster, and with --store also of those that have left it. Prices are those of WorkPools.
    """
    if budgets:
        _print_budgets(namespace, context, all_namespaces=all_namespaces, output=output)
        return
    after = datetime.now(UTC) - age_from(since) if since else None

    async def work(api: Api, here: str) -> tuple[str, list[Spent]]:
        scope = "" if all_namespaces else here
        return scope, await spent_in_cluster(api, scope)

    scope, runs = in_cluster(work, namespace=namespace, context=context)
    known = {run.uid: run for run in (*(_recorded(store, scope, after) if store else ()), *runs)}
    found = added_up([run for run in known.values() if after is None or (run.created or after) >= after], by)
    print(as_table(found, by) if output == "table" else document([_object(total, by) for total in found], output))


def _print_budgets(namespace: str, context: str | None, *, all_namespaces: bool, output: str) -> None:
    async def work(api: Api, here: str) -> list[dict[str, Any]]:
        return await listed(api, path_of(keys.DEPLOYMENTS, "" if all_namespaces else here))

    found = budgets_of(in_cluster(work, namespace=namespace, context=context))
    print(budget_table(found) if output == "table" else document(found, output))


async def spent_in_cluster(api: Api, namespace: str) -> list[Spent]:
    """What the runs that are there have cost; the namespace "" is all of them. Raises: ClusterRefusal, ApiError."""
    deployments = await flows_of_deployments(api, namespace)
    return [_spent(run, deployments) for run in await listed(api, path_of(keys.FLOWRUNS, namespace))]


def added_up(runs: Iterable[Spent], by: str) -> list[Total]:
    """What runs of one name cost together, the dearest first; those that have no name are together."""
    return totals(of_run(run.keys.get(by) or "(none)", run.amount, run.currency) for run in runs)


def as_table(found: Sequence[Total], by: str) -> str:
    """A line each, and what it is together."""
    if not found:
        return "no run is there"
    rows = [(each.name, _amount(each), str(each.runs), str(each.unpriced) if each.unpriced else "") for each in found]
    amounts = ", ".join(f"{amount:f} {currency}" for currency, amount in together(found).items())
    runs = counted(sum(each.runs for each in found), "run")
    text = table((by.upper(), "COST", "RUNS", "WITHOUT PRICE"), rows)
    if not amounts:
        return f"{text}\nno run has a price: set spec.pricing of WorkPools (headrace pools)"
    return f"{text}\ntogether {amounts} for {runs}"


def _spent(run: Mapping[str, Any], deployments: Mapping[tuple[str, str], str]) -> Spent:
    metadata, status = run["metadata"], run.get("status") or {}
    price = status.get("cost")
    names = {
        "flow": flow_of(run, deployments),
        "deployment": (run["spec"].get("deploymentRef") or {}).get("name", ""),
        "namespace": metadata["namespace"],
        "pool": status.get("pool") or "",
        "backfill": (metadata.get("labels") or {}).get(keys.BACKFILL_LABEL, ""),
    }
    return Spent(
        uid=metadata["uid"],
        keys=names,
        amount=Decimal(price["amount"]) if price else None,
        currency=price["currency"] if price else "",
        created=instant(run, "creationTimestamp"),
    )


def _recorded(url: str, namespace: str, since: datetime | None) -> list[Spent]:
    """What the history store has of runs created since then, as `_spent` has those of the cluster. Raises: HistoryError, UsageError."""
    from headrace.history import open_history, reading  # noqa: PLC0415 - where a store is named

    opened = open_history(url, is_reader=True)
    try:
        rows = reading.listed(opened, reading.Question(namespace=namespace or None, created_since=since), MOST_RECORDS)
    finally:
        opened.close()
    return [
        Spent(
            uid=row["uid"],
            keys={name: row.get(name) or "" for name in get_args(By)},
            amount=Decimal(row["cost_amount"]) if row["cost_amount"] is not None else None,
            currency=row["cost_currency"] or "",
            created=datetime.fromisoformat(row["created_at"]),
        )
        for row in rows
    ]


def _amount(total: Total) -> str:
    return f"{total.amount:f} {total.currency}" if total.currency else "unknown"


def _object(total: Total, by: str) -> dict[str, Any]:
    amount = f"{total.amount:f}" if total.currency else None
    return {
        by: total.name,
        "amount": amount,
        "currency": total.currency or None,
        "runs": total.runs,
        "unpriced": total.unpriced,
    }
