"""Where runs of Deployments are started from here: this pod's cluster, or that of the kubeconfig."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from headrace.deployments.starting import Origin, Starter, wall_clock
from headrace.engine.session import DeploymentRuns, current_session
from headrace.errors import UsageError
from headrace.podapi import PodApi


def starter_here() -> DeploymentRuns:
    """
    What starts the runs.

    Raises: UsageError: this pod may not use the API; on a laptop: there is no cluster, or `headrace[kube]` is missing.
    """
    found = current_session().deployments
    if found is not None:
        return found
    if not os.environ.get("HEADRACE_FLOW_RUN_UID"):
        from headrace.deployments.outside import starter_outside  # noqa: PLC0415 - a Kubernetes client, for laptops

        return starter_outside()
    return _in_pod(origin_of(os.environ))


def origin_of(variables: Mapping[str, str]) -> Origin:
    """The run of this pod, as its environment describes it (docs/pod-contract.md)."""
    run = variables.get("HEADRACE_FLOW_RUN", "")
    return Origin(
        namespace=variables.get("HEADRACE_NAMESPACE", ""),
        run=run,
        uid=variables.get("HEADRACE_FLOW_RUN_UID", ""),
        root=variables.get("HEADRACE_ROOT_RUN") or run,
        attempt=int(variables.get("HEADRACE_ATTEMPT") or 1),
        deployment=variables.get("HEADRACE_DEPLOYMENT", ""),
        flow=variables.get("HEADRACE_FLOW", ""),
    )


@cache
def _in_pod(origin: Origin) -> Starter:
    """One for the process: what it has started is known to all of its calls."""
    try:
        api = PodApi.from_environment(os.environ)
    except UsageError as error:
        raise UsageError(
            f'run_deployment() talks to the Kubernetes API; set spec.apiAccess: Enabled of Flow "{origin.flow}" ({error})'
        ) from error
    return Starter(api, origin, namespace=origin.namespace, clock=current_session().clock, now=wall_clock)
