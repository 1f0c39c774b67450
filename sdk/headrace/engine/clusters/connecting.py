"""Which cluster a runner means."""

from __future__ import annotations

from functools import partial

from headrace.engine.clusters import on_dask, on_ray
from headrace.engine.clusters.sending import OnCluster
from headrace.engine.runners import Dask, Ray


def connected(runner: Dask | Ray) -> OnCluster:
    """The way of tasks there. Raises: UsageError: its library is not installed, or nobody answers at its address."""
    connect = on_dask.connected if isinstance(runner, Dask) else on_ray.connected
    return OnCluster(partial(connect, runner.address))
