"""`headrace cancel`, `suspend` and `resume`: runs, Deployments and Backfills, by name or all of a namespace."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer

from headrace.api import keys
from headrace.cli.agreement import Yes, agreed
from headrace.cli.cluster import Api, ClusterRefusal, Context, Namespace, asked, in_cluster, path_of
from headrace.cli.exits import FAILED, OK, status_of
from headrace.cli.names import run_names
from headrace.cli.references import Reference, reference
from headrace.cli.runs import ENDED, phase_of
from headrace.cli.sweep import CANCEL, ENDED_BACKFILLS, RESUME, SUSPEND, Sweep, marked, plan, swept, targets_of
from headrace.errors import HeadraceError, UsageError
from headrace.kubeapi.errors import ApiError
from headrace.terminal_text import harmless

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Runs; or deployment/NAME, backfill/NAME.", autocompletion=run_names),
]
Some = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Runs; or backfill/NAME.", autocompletion=run_names),
]
CancelAll = Annotated[bool, typer.Option("--all", help="All runs and Backfills of the namespace that have not ended.")]
SuspendAll = Annotated[
    bool,
    typer.Option(
        "--all",
        help="All Deployments and Automations of the namespace, and its Backfills and runs that have not ended.",
    ),
]
ResumeAll = Annotated[bool, typer.Option("--all", help="All of the namespace that `suspend --all` has suspended.")]

STEERED = (keys.FLOWRUNS, keys.DEPLOYMENTS, keys.BACKFILLS)
Step = Callable[[Api, str, Reference], Any]


def register(app: typer.Typer) -> None:
    """Adds `headrace cancel`, `suspend` and `resume`."""
    for command in (cancel, suspend, resume):
        app.command(name=command.__name__)(command)


def cancel(
    names: Some = None, *, all_: CancelAll = False, yes: Yes = False, namespace: Namespace = "", context: Context = None
) -> None:
    """
    Ends runs for good: `headrace cancel etl-7`. Their pods get SIGTERM, and SIGKILL after their grace period.

    A Backfill starts no more runs, and those of it that have not ended are cancelled. It cannot be taken back.
    """
    if _is_all(names, "cancel etl-7", all_=all_):
        _sweep(CANCEL, yes=yes, namespace=namespace, context=context)
    _each(names or (), (keys.FLOWRUNS, keys.BACKFILLS), cancelled, namespace=namespace, context=context)


def suspend(
    names: Names = None,
    *,
    all_: SuspendAll = False,
    yes: Yes = False,
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """
    Holds back: the next attempt of a run, the schedules of a Deployment, further runs of a Backfill.

    What runs goes on.
    """
    if _is_all(names, "suspend deployment/nightly", all_=all_):
        _sweep(SUSPEND, yes=yes, namespace=namespace, context=context)
    _each(names or (), STEERED, _suspended, namespace=namespace, context=context)


def resume(
    names: Names = None,
    *,
    all_: ResumeAll = False,
    yes: Yes = False,
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """Lets go on what was suspended: `headrace resume deployment/nightly`. A run that asks a person needs `approve`."""
    if _is_all(names, "resume deployment/nightly", all_=all_):
        _sweep(RESUME, yes=yes, namespace=namespace, context=context)
    _each(names or (), STEERED, _resumed, namespace=namespace, context=context)


async def cancelled(api: Api, namespace: str, target: Reference) -> str:
    """What was done, for people. Raises: ClusterRefusal: it has ended, is not there, or may not be changed. ApiError."""
    wanted = f"cancel {target}"
    found = await found_object(api, namespace, target, wanted)
    phase = phase_of(found)
    if phase in (ENDED if target.resource is keys.FLOWRUNS else ENDED_BACKFILLS):
        raise ClusterRefusal(wanted, f"it has ended already: it is {phase}")
    if found["spec"].get("cancel"):
        return f"{target}: is being cancelled already"
    await asked(wanted, api.patch(path_of(target.resource, namespace, target.name), {"spec": {"cancel": True}}))
    return f"{target}: will be cancelled; it was {phase}"


async def held(api: Api, namespace: str, target: Reference, *, suspend: bool) -> str:
    """As `cancelled`, for spec.suspend."""
    wanted = f"{'suspend' if suspend else 'resume'} {target}"
    found = await found_object(api, namespace, target, wanted)
    if target.resource is not keys.DEPLOYMENTS:
        _refuse_ended(found, target, wanted)
    if bool(found["spec"].get("suspend")) == suspend:
        return _unchanged(found, target, wanted, suspend=suspend)
    change: dict[str, Any] = {"spec": {"suspend": suspend}, **(marked(together=False) if _is_marked(found) else {})}
    await asked(wanted, api.patch(path_of(target.resource, namespace, target.name), change))
    return f"{target}: {'suspended; what runs goes on' if suspend else 'resumed'}"


async def found_object(api: Api, namespace: str, target: Reference, wanted: str) -> dict[str, Any]:
    """The object as it is. Raises: ClusterRefusal: it is not there, or may not be read. ApiError."""
    resource = target.resource
    listing = {
        keys.FLOWRUNS.plural: "list",
        keys.DEPLOYMENTS.plural: "deployments",
        keys.BACKFILLS.plural: "backfill list",
    }
    shows = f"headrace {listing[resource.plural]} -n {namespace}" if resource.plural in listing else "kubectl get fl"
    missing = f"there is no such {resource.kind} in namespace {namespace}; {shows} shows those that are"
    return await asked(wanted, api.get(path_of(resource, namespace, target.name)), missing=missing)


def _is_marked(found: dict[str, Any]) -> bool:
    return keys.SUSPENDED_TOGETHER_ANNOTATION in (found["metadata"].get("annotations") or {})


def _refuse_ended(found: dict[str, Any], target: Reference, wanted: str) -> None:
    phase = phase_of(found)
    if phase in (ENDED if target.resource is keys.FLOWRUNS else ENDED_BACKFILLS):
        again = (
            f"headrace retry {target.name}"
            if target.resource is keys.FLOWRUNS
            else f"headrace backfill retry-failed {target.name}"
        )
        raise ClusterRefusal(wanted, f"it has ended: it is {phase}; {again} runs it again")


def _unchanged(found: dict[str, Any], target: Reference, wanted: str, *, suspend: bool) -> str:
    """Raises: ClusterRefusal: something else than spec.suspend holds it."""
    status = found.get("status") or {}
    pause = status.get("pause") or {}
    if not suspend and pause.get("kind") == "Approval":
        raise ClusterRefusal(
            wanted, f"it waits for an answer; headrace approve {target.name}, or headrace reject {target.name}"
        )
    if not suspend and (status.get("circuit") or {}).get("state") == "Open":
        raise ClusterRefusal(wanted, f"it is not suspended, its circuit is open; headrace circuit close {target.name}")
    return f"{target}: {'is suspended already' if suspend else 'is not suspended'}"


async def _suspended(api: Api, namespace: str, target: Reference) -> str:
    return await held(api, namespace, target, suspend=True)


async def _resumed(api: Api, namespace: str, target: Reference) -> str:
    return await held(api, namespace, target, suspend=False)


def _each(
    names: Sequence[str],
    allowed: Sequence[keys.Resource],
    step: Step,
    *,
    namespace: str,
    context: str | None,
) -> None:
    """One after the other; the failure of one is no matter to the others, and the exit status is that of the first."""
    targets = [reference(name, allowed) for name in dict.fromkeys(names)]

    async def work(api: Api, here: str) -> int:
        worst = OK
        for target in targets:
            try:
                print(await step(api, here, target), flush=True)
            except (HeadraceError, ApiError) as error:
                print(harmless(f"headrace: {error}"), file=sys.stderr)
                worst = worst or status_of(error)
        return worst

    raise typer.Exit(in_cluster(work, namespace=namespace, context=context))


def _is_all(names: Sequence[str] | None, example: str, *, all_: bool) -> bool:
    """Whether all of a namespace is meant. Raises: UsageError: nothing is, or both."""
    if bool(names) == all_:
        verb = example.partition(" ")[0]
        raise UsageError(f"name them, or say --all: headrace {example}, headrace {verb} --all -n team-a")
    return all_


def _sweep(sweep: Sweep, *, yes: bool, namespace: str, context: str | None) -> NoReturn:
    """Ends the command. Raises: UsageError, ClusterRefusal, ApiError."""

    async def looked(api: Api, here: str) -> tuple[str, list[Reference]]:
        return here, await targets_of(api, here, sweep)

    here, targets = in_cluster(looked, namespace=namespace, context=context)
    if not targets:
        print(f"nothing in namespace {here} is there to {sweep.verb}", file=sys.stderr)
        raise typer.Exit(OK)
    if not yes and not agreed(plan(targets, sweep, here)):
        raise typer.Exit(FAILED)
    raise typer.Exit(in_cluster(lambda api, _: swept(api, here, sweep), namespace=namespace, context=context))
