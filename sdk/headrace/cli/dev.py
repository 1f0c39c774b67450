"""`headrace dev`: the local cluster."""

from __future__ import annotations

import typer

dev = typer.Typer(
    help="A Kubernetes cluster for development, without Docker where there is none.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Adds `headrace dev build`."""
    app.add_typer(dev, name="dev")


@dev.callback()
def _group() -> None:
    """A Kubernetes cluster for development, without Docker where there is none."""
