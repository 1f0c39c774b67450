"""`headrace dev`: the local cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.printing import progress

if TYPE_CHECKING:
    from headrace.devcluster.cluster import Report

dev = typer.Typer(no_args_is_help=True)

Directory = Annotated[
    Path | None,
    typer.Option(help="Where the cluster is kept (default: $XDG_STATE_HOME or ~/.local/state, headrace/dev)."),
]


def register(app: typer.Typer) -> None:
    """Adds `headrace dev` with its commands."""
    app.add_typer(dev, name="dev")


@dev.callback()
def _group() -> None:
    """A Kubernetes cluster for development, without Docker where there is none."""


@dev.command()
def build() -> None:
    """
    Find the programs of the control plane, or build them once with Go.

    Looks into KUBEBUILDER_ASSETS, PATH and the cache (XDG_CACHE_HOME or ~/.cache), in this order.
    """
    from headrace.devcluster.binaries import provide_binaries  # noqa: PLC0415 - slow to import

    with progress() as shown:
        binaries = provide_binaries(os.environ, shown)
    for name in ("etcd", "apiserver", "controller_manager", "scheduler", "kubectl"):
        print(f"{name.replace('_', '-'):20} {getattr(binaries, name)}")


@dev.command()
def up(
    *,
    context: Annotated[str | None, typer.Option(help="A cluster of your kubeconfig instead of one of its own.")] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE",
            help="A local node, may be repeated: name=gpu,label:KEY=VALUE,taint:KEY=VALUE:EFFECT,"
            "capacity:RESOURCE=QUANTITY. Default: the nodes of the last time, at first one named local-1.",
        ),
    ] = None,
    directory: Directory = None,
    crds: Annotated[bool, typer.Option(help="Install the custom resource definitions.")] = True,
    docker: Annotated[bool, typer.Option(help="Use kind where a Docker engine answers.")] = True,
) -> None:
    """
    Bring a cluster up, or complete one that is up in part; running it twice is fine.

    Takes the cluster that --context names, else kind where a Docker engine answers, else the real control plane and
    nodes that run pods as local processes.
    """
    from headrace.devcluster import cluster  # noqa: PLC0415 - slow to import
    from headrace.devcluster.node_option import parse_node  # noqa: PLC0415 - as above

    wishes = cluster.Wishes(context, [parse_node(each) for each in node or ()], crds, docker)
    with progress() as shown:
        report = cluster.up(directory or cluster.state_folder(os.environ), wishes, os.environ, shown)
        shown.step(f"the cluster is up at {report.server}; headrace dev status shows it, headrace dev down ends it")
    if report.kubeconfig:
        print(f"export KUBECONFIG={report.kubeconfig}")
    else:
        print(f"kubectl config use-context {context}")


@dev.command()
def status(directory: Directory = None) -> None:
    """Show what runs. Exit status 0 if everything does, 1 if not."""
    from headrace.devcluster import cluster  # noqa: PLC0415 - slow to import

    report = cluster.status(directory or cluster.state_folder(os.environ))
    print(described(report))
    raise typer.Exit(0 if report.healthy else 1)


@dev.command()
def down(
    *,
    purge: Annotated[bool, typer.Option("--purge", help="Remove its data too.")] = False,
    directory: Directory = None,
) -> None:
    """End exactly what `up` started. Its data stays for the next `up`, unless it is kind's or --purge is given."""
    from headrace.devcluster import cluster  # noqa: PLC0415 - slow to import

    ended = cluster.down(directory or cluster.state_folder(os.environ), os.environ, purge=purge)
    print(f"ended: {', '.join(ended)}" if ended else "nothing was running")


def described(report: Report) -> str:
    """The report as lines for a terminal."""
    lines = [f"{'cluster':20} {report.way}  {report.server}"] if report.way else []
    if report.kubeconfig:
        lines.append(f"{'kubeconfig':20} {report.kubeconfig}")
    lines += [f"{name:20} {'running' if runs else 'not running'}" for name, runs in report.parts.items()]
    lines += [f"{'node ' + name:20} {text}" for name, text in report.nodes.items()]
    return "\n".join([*lines, *([report.problem] if report.problem else ())])
