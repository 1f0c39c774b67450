"""`headrace get`: one run with its attempts, tasks and the runs that it started."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.api import keys
from headrace.cli.cluster import Context, Namespace, in_cluster, listed, path_of
from headrace.cli.names import run_names
from headrace.cli.outputs import Output, document, name_of, tidy, with_kind
from headrace.cli.podlogs import Section, attempts_of, pod_lines
from headrace.cli.printing import paints
from headrace.cli.runs import the_run
from headrace.cli.tree import Family, TaskRun, branch_of, drawn, task_runs
from headrace.kubeapi.errors import ApiError

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

LOG_LINES: Final = 20_000
"""Of an attempt's log, in which its tasks are looked for."""
DEEPEST: Final = 5
"""Generations of runs that started runs."""


def register(app: typer.Typer) -> None:
    """Adds `headrace get`."""
    app.command(name="get")(get)


def get(
    run: Annotated[str, typer.Argument(help="Name of the FlowRun.", autocompletion=run_names)],
    *,
    tasks: Annotated[
        bool, typer.Option("--tasks/--no-tasks", help="Tasks of each attempt, from the logs of pods that are there.")
    ] = True,
    namespace: Namespace = "",
    output: Output = "table",
    context: Context = None,
) -> None:
    """Shows a run as a tree: attempts with their tasks, child runs, result, artifacts, cost; `-o json` is the object itself."""

    async def work(client: KubeClient, here: str) -> Family:
        found = await the_run(client, here, run, f"show run {run}")
        return await _family(client, found, tasks=tasks) if output in {"table", "wide"} else Family(found)

    family = in_cluster(work, namespace=namespace, context=context)
    whole = with_kind([dict(family.run)], "FlowRun")[0]
    if output in {"json", "yaml"}:
        print(document(tidy(whole), output))
    elif output == "name":
        print(name_of(whole))
    else:
        print(drawn(branch_of(family, datetime.now(UTC), colours=paints(sys.stdout))))


async def _family(client: KubeClient, run: dict[str, Any], *, tasks: bool) -> Family:
    """Raises: ClusterRefusal, ApiError."""
    namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
    by_parent: dict[str, list[dict[str, Any]]] = {}
    path = path_of(keys.FLOWRUNS, namespace)
    # Those of the next generation by either label, and all that come from a run at the top.
    for label in (keys.PARENT_LABEL, keys.STARTED_BY_LABEL, keys.ROOT_LABEL):
        for child in await listed(client, path, {"labelSelector": f"{label}={name}"}):
            _note(by_parent, child)
    found = {each["number"]: await _tasks(client, namespace, each["pod"]) for each in attempts_of(run)} if tasks else {}
    return Family(run, found, _children(name, by_parent, DEEPEST))


def _note(by_parent: dict[str, list[dict[str, Any]]], child: dict[str, Any]) -> None:
    labels = child["metadata"]["labels"]
    siblings = by_parent.setdefault(labels.get(keys.PARENT_LABEL) or labels.get(keys.STARTED_BY_LABEL, ""), [])
    if all(each["metadata"]["uid"] != child["metadata"]["uid"] for each in siblings):
        siblings.append(child)


def _children(name: str, by_parent: dict[str, list[dict[str, Any]]], deep: int) -> list[Family]:
    children = sorted(by_parent.get(name, ()), key=lambda each: str(each["metadata"]["creationTimestamp"]))
    return [
        Family(child, children=_children(child["metadata"]["name"], by_parent, deep - 1) if deep > 1 else ())
        for child in children
    ]


async def _tasks(client: KubeClient, namespace: str, pod: str) -> list[TaskRun]:
    """What the log tells; nothing where it is gone, has not begun or may not be read: the tree is shown all the same."""
    try:
        return task_runs([line async for line in pod_lines(client, namespace, pod, Section(tail=LOG_LINES))])
    except ApiError:
        return []
