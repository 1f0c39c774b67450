"""`headrace rerun`: runs that ended, once more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol

import typer

from headrace.api import keys
from headrace.cli.again import Changes, NotToBeRunAgain, once_more
from headrace.cli.agreement import Yes, agreed
from headrace.cli.arguments import Overrides, OverridesFile, fitting_parameters, text_parameters, untyped_parameters
from headrace.cli.cluster import Api, Context, Namespace, asked, in_cluster, path_of
from headrace.cli.deadletters import Filters, ForReason, OfDeployment, OfFlow, Since, age_from, dead_letters
from headrace.cli.exits import FAILED, OK, status_of
from headrace.cli.fitting import fitted
from headrace.cli.printing import counted, progress
from headrace.errors import HeadraceError, UsageError
from headrace.kubeapi.errors import AlreadyExists, ApiError, TooManyRequests
from headrace.terminal_text import harmless

AT_ONCE = 8
"""Requests at the same time; the API server shares its time fairly between users only up to a point."""
TRIES = 5
FIRST_DELAY_S = 0.5
MAX_GOES = 1000
SKEW = timedelta(minutes=1)
"""By how much the API server's clock may be behind the one here."""
SHOWN = 10
"""Runs that are named before a person is asked."""


def register(app: typer.Typer) -> None:
    """Adds `headrace rerun`, and `headrace retry`, which is the same."""
    app.command(name="rerun")(rerun)
    app.command(name="retry", help="The same as rerun: `headrace retry etl-7` runs it again.")(rerun)


class Telling(Protocol):
    """Shows how far a command is: its steps, and ticks while one lasts."""

    def step(self, text: str) -> None: ...

    def tick(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What to run again, and how."""

    names: tuple[str, ...]
    filters: Filters
    changes: Changes
    limit: int | None = None
    another: bool = False
    typed: Mapping[str, str] = field(default_factory=dict)
    """Parameters as a person has typed them, which win over those of `changes`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run: the new run's name, or why there is none."""

    run: str
    new: str | None
    problem: HeadraceError | ApiError | None = None


def rerun(  # noqa: PLR0913 - one argument an option
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Names of FlowRuns that ended.")] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="All that `headrace failures` lists with these filters.")] = False,
    namespace: Namespace = "",
    deployment: OfDeployment = None,
    flow: OfFlow = None,
    since: Since = None,
    reason: ForReason = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --all: at most so many, the oldest ones.")] = None,
    set_: Overrides = None,
    parameters: OverridesFile = None,
    same_revision: Annotated[
        bool, typer.Option("--same-revision", help="With the Flow's revision of then. Else the latest.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Even if it was run again before.")] = False,
    yes: Yes = False,
    context: Context = None,
) -> None:
    """
    Runs again what ended: `headrace rerun etl-7`, or `headrace rerun --all --since 24h`.

    With the old parameters, unless --set changes some or --parameters names others. The exit status is
    not 0 if any run could not be run again.
    """
    if bool(runs) == all_:
        raise UsageError("name the runs, or say --all: headrace rerun etl-7, headrace rerun --all --since 24h")
    filters = Filters(deployment, flow, datetime.now(UTC) - age_from(since) if since else None, reason)
    if not all_ and (filters != Filters() or limit):
        raise UsageError("--deployment, --flow, --since, --reason and --limit go with --all; leave out the names")
    changes = Changes(
        parameters=untyped_parameters((), parameters) if parameters else None,
        same_revision=same_revision,
    )
    wish = Wish(tuple(runs or ()), filters, changes, limit, again, text_parameters(set_ or ()))
    meant = in_cluster(lambda api, here: runs_meant(api, here, wish), namespace=namespace, context=context)
    if not meant:
        raise typer.Exit(_nothing())
    if (all_ or len(meant) > 1) and not yes and not agreed(plan(meant, wish)):
        raise typer.Exit(1)
    with progress() as shown:
        outcomes = in_cluster(lambda api, _: run_again(api, meant, wish, shown), namespace=namespace, context=context)
    raise typer.Exit(told(outcomes))


async def runs_meant(api: Api, namespace: str, wish: Wish) -> list[Any]:
    """The FlowRuns that are to be run again, oldest first. Raises: ClusterRefusal, ApiError."""
    if wish.names:
        return [await _found(api, namespace, name) for name in dict.fromkeys(wish.names)]
    letters = await dead_letters(api, namespace, wish.filters)
    return [letter.run for letter in reversed(letters)][: wish.limit]


async def run_again(api: Api, old: Sequence[dict[str, Any]], wish: Wish, tell: Telling) -> list[Outcome]:
    """What became of each of them, in their order: the failure of one is no matter to the others."""
    turns = asyncio.Semaphore(AT_ONCE)
    done: list[Outcome] = []

    async def one(run: dict[str, Any]) -> Outcome:
        async with turns:
            outcome = await _outcome(api, run, wish)
            done.append(outcome)
            tell.tick(f"{len(done)} of {len(old)}")
            return outcome

    return list(await asyncio.gather(*map(one, old)))


def plan(old: Sequence[dict[str, Any]], wish: Wish) -> str:
    """What will be done, for people."""
    lines = [f"  {run['metadata']['namespace']}/{run['metadata']['name']}" for run in old[:SHOWN]]
    lines += [f"  and {len(old) - SHOWN} more"] if len(old) > SHOWN else []
    changed = "the old parameters" if wish.changes.parameters is None else "the parameters of the file"
    if wish.typed:
        changed += f" but for {', '.join(wish.typed)}"
    return "\n".join([f"{counted(len(old), 'run')} will be run again, with {changed}:", *lines])


async def _found(api: Api, namespace: str, name: str) -> dict[str, Any]:
    wanted = f"run {name} again"
    missing = (
        f"there is no such FlowRun in namespace {namespace}; headrace failures -n {namespace} lists those that failed"
    )
    return await asked(wanted, api.get(path_of(keys.FLOWRUNS, namespace, name)), missing=missing)


async def _outcome(api: Api, run: dict[str, Any], wish: Wish) -> Outcome:
    name, changes = run["metadata"]["name"], wish.changes
    try:
        if wish.typed:
            changes = replace(changes, overrides=await _fitted(api, run, wish.typed))
        return Outcome(name, await _created(api, run, changes, goes=MAX_GOES if wish.another else 2))
    except (HeadraceError, ApiError) as error:
        return Outcome(name, None, error)


async def _fitted(api: Api, run: Mapping[str, Any], typed: Mapping[str, str]) -> dict[str, Any]:
    """As the Flow of the run takes it, which its label names where it is one of a Deployment."""
    metadata, flow_ref = run["metadata"], run["spec"].get("flowRef") or {}
    flow = flow_ref.get("name") or (metadata.get("labels") or {}).get(keys.FLOW_LABEL, "")
    return await fitted(api, metadata["namespace"], flow, typed) if flow else fitting_parameters(typed, {})


async def _created(api: Api, run: dict[str, Any], changes: Changes, *, goes: int) -> str:
    """The name of the new run. Raises: NotToBeRunAgain, ClusterRefusal, ApiError."""
    for go in range(1, goes):
        manifest = once_more(run, changes, go=go)
        new: str = manifest["metadata"]["name"]
        if await _is_new(api, manifest):
            return new
    raise NotToBeRunAgain(run["metadata"]["name"], f"was run again already, as {new}; --again makes another")


async def _is_new(api: Api, manifest: Mapping[str, Any]) -> bool:
    """Whether the run is created now, if need be once the API server is less busy; else it was there. Raises: ClusterRefusal, ApiError."""
    since = datetime.now(UTC) - SKEW
    attempt, was_lost = 0, False
    while True:
        try:
            return await _is_created(api, manifest, ours_since=since if was_lost else None)
        except ApiError as error:
            attempt += 1
            if not error.retryable or attempt == TRIES:
                raise
            # Who is sent away for being one too many has created nothing; of any other request only the answer may be lost.
            was_lost = was_lost or not isinstance(error, TooManyRequests)
            await asyncio.sleep(error.retry_after_s or FIRST_DELAY_S * 2 ** (attempt - 1))


async def _is_created(api: Api, manifest: Mapping[str, Any], *, ours_since: datetime | None) -> bool:
    """
    Whether the run is created, by this request or by one before whose answer was lost.

    Args:
        ours_since: A run of this name that is there is ours where it was created then or later; None: no answer was lost.
    Raises: ClusterRefusal, ApiError.
    """
    metadata = manifest["metadata"]
    try:
        await asked("create the run", api.create(path_of(keys.FLOWRUNS, metadata["namespace"]), manifest))
    except AlreadyExists:
        if ours_since is None:
            return False
        there = await asked("read the run", api.get(path_of(keys.FLOWRUNS, metadata["namespace"], metadata["name"])))
        return datetime.fromisoformat(there["metadata"]["creationTimestamp"]) >= ours_since
    return True


def told(outcomes: Sequence[Outcome]) -> int:
    """Tells each run; returns the exit status, which is that of what went wrong where it is the same for all of them."""
    for outcome in outcomes:
        if outcome.new is not None:
            print(outcome.new)
    problems = [(outcome.run, outcome.problem) for outcome in outcomes if outcome.problem is not None]
    for run, problem in problems:
        text = str(problem) if isinstance(problem, NotToBeRunAgain) else f"run {run}: {problem}"
        print(harmless(f"headrace: {text}"), file=sys.stderr)
    statuses = {status_of(problem) for _, problem in problems}
    return statuses.pop() if len(statuses) == 1 else FAILED if statuses else OK


def _nothing() -> int:
    print("no failed run is left that matches", file=sys.stderr)
    return 0
