"""`headrace dev`: the local cluster."""

from __future__ import annotations

import os

import typer

from headrace.cli.printing import progress

dev = typer.Typer(no_args_is_help=True)


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
