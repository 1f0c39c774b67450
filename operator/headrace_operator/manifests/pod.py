"""
The pod of one attempt, from the Flow's revision, the Deployment's overrides and the run.

    revision, Deployment, pool, resources ──> mould ──> stamped with run and attempt ──> pod

A mould is made once for many runs: merging the templates anew for each takes three times the CPU (0.10 instead of 0.03 ms). A run has
no say in it but by the names of the variables that it brings; their values go in last, and no template looks at them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

from headrace.api import keys
from headrace.api.common import Resources
from headrace.api.deployment import DeploymentSpec
from headrace.api.flow import ApiAccess
from headrace.api.owners import owner_reference
from headrace.instants import stamp
from headrace_operator.decide.parameters import effective_parameters
from headrace_operator.decide.pausing import answers_json
from headrace_operator.decide.placement import Pool
from headrace_operator.decide.shapes import mapping, mappings
from headrace_operator.decide.sizing import base_resources
from headrace_operator.decide.snapshot import ResolvedFlow, Snapshot
from headrace_operator.decide.trace import traceparent
from headrace_operator.manifests.code import code_dir, code_mounts, code_volumes
from headrace_operator.manifests.merge import merge
from headrace_operator.manifests.mounts import with_sources
from headrace_operator.manifests.pool import placed
from headrace_operator.manifests.security import secured

SDK_COMMAND = ("python", "-m", "headrace.pod")
API_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where every cluster mounts the token of a ServiceAccount."""
IDENTITY = {"HEADRACE_POD_NAME": "metadata.name", "HEADRACE_POD_UID": "metadata.uid"}
"""Variables by which a pod with access to the API knows itself, and the fields that they come from."""
TASK_FIELDS = {"name", "parent", "function", "input", "output"}
"""What the process of a remote task reads; the rest of spec.task is in its pod."""
RUNS_OWN_LABELS = {keys.DEPLOYMENT_LABEL, keys.PARENT_LABEL}
"""Those that pods of some runs have and others have not: a template cannot say of which Deployment or run a pod is."""
MOULDS = 256
"""Kept, the latest used: some kilobytes each."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Same(Generic[T]):
    """One object: equal to itself alone, which is quicker to find out than what is in it."""

    it: T

    def __hash__(self) -> int:
        return id(self.it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.it is other.it


class _Terms(NamedTuple):
    """
    All that a mould rests on.

    Args:
        names: Of the variables that we set.
        resources: As JSON.
    """

    flow: _Same[ResolvedFlow]
    deployment: _Same[DeploymentSpec | None]
    pool: _Same[Pool | None]
    names: tuple[str, ...]
    default_image: str
    timeout_s: int | None
    resources: str | None


@dataclass(frozen=True, slots=True)
class _Gap:
    """Stands for the value of a variable of ours."""

    name: str


class _Mould(NamedTuple):
    """
    A pod without what is its run's own.

    Args:
        container: Index of the one that has gaps. None: none has; a template has taken it away.
        gaps: By index in the variables of that container.
    """

    manifest: dict[str, Any]
    container: int | None
    gaps: tuple[tuple[int, _Gap], ...]


def pod_name(run: str, attempt: int) -> str:
    """Derived from its cause, so that a second creation is a conflict and not a second pod."""
    return f"{run}-{attempt}"


def pod_manifest(
    seen: Snapshot,
    flow: ResolvedFlow,
    attempt: int,
    *,
    default_image: str,
    pool: Pool | None = None,
    resources: Resources | None = None,
) -> dict[str, Any]:
    """
    The pod to create. `podTemplate`s have the last word, the Deployment's after the Flow's, but for what the
    operator's bookkeeping rests on (name, owner, labels of ours, finalizer, restartPolicy Never) and for what its
    pool asks of its pods.

    Args:
        pool: Where it is placed; None: wherever the scheduler puts it.
        resources: Of the flow's container; None: those of the Deployment, else of the Flow.
    """
    sized = resources or base_resources(flow, seen.deployment)
    variables = _variables(seen, flow, attempt)
    terms = _Terms(
        _Same(flow),
        _Same(seen.deployment.spec if seen.deployment else None),
        _Same(pool),
        tuple(variables),
        default_image,
        _timeout_s(seen, flow),
        sized.model_dump_json(by_alias=True, exclude_none=True) if sized else None,
    )
    return _stamped(_mould(terms), _metadata(seen, flow, attempt), variables)


@lru_cache(maxsize=MOULDS)
def _mould(terms: _Terms) -> _Mould:
    flow, deployment = terms.flow.it, terms.deployment.it
    manifest: Any = {"metadata": {"finalizers": [keys.POD_FINALIZER]}, "spec": _spec(terms, flow)}
    for template in (flow.spec.pod_template, deployment.pod_template if deployment else None):
        manifest = merge(manifest, template or {})
    manifest = placed(secured(_kept_ours(with_sources(manifest, flow))), terms.pool.it)
    for index, container in enumerate(mappings(mapping(manifest["spec"]).get("containers"))):
        gaps = tuple(_gaps(container))
        if gaps:
            return _Mould(manifest, index, gaps)
    return _Mould(manifest, None, ())


def _gaps(container: Mapping[str, Any]) -> Iterator[tuple[int, _Gap]]:
    for index, variable in enumerate(mappings(container.get("env"))):
        value = variable.get("value")
        if isinstance(value, _Gap):
            yield index, value


def _stamped(mould: _Mould, ours: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """The pod; the mould is not altered."""
    theirs, spec = mould.manifest["metadata"], mould.manifest["spec"]
    if mould.container is not None:
        containers = list(spec["containers"])
        container = containers[mould.container]
        env = list(container["env"])
        for index, gap in mould.gaps:
            # The kubelet expands `$(X)` and reads `$$` as `$`; parameters are data.
            env[index] = {**env[index], "value": variables[gap.name].replace("$", "$$")}
        containers[mould.container] = {**container, "env": env}
        spec = {**spec, "containers": containers}
    metadata = {**theirs, **ours, "labels": {**theirs["labels"], **ours["labels"]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _metadata(seen: Snapshot, flow: ResolvedFlow, attempt: int) -> dict[str, Any]:
    run = seen.run
    labels = {
        keys.MANAGED_BY_LABEL: keys.MANAGED_BY,
        keys.FLOW_RUN_LABEL: run.key.name,
        keys.FLOW_LABEL: flow.name,
        keys.REVISION_LABEL: flow.revision,
        keys.ATTEMPT_LABEL: str(attempt),
    }
    if seen.deployment:
        labels[keys.DEPLOYMENT_LABEL] = seen.deployment.key.name
    if run.task:
        labels[keys.PARENT_LABEL] = run.task.parent.name
    return {
        "name": pod_name(run.key.name, attempt),
        "namespace": run.key.namespace,
        "labels": labels,
        "ownerReferences": [owner_reference(keys.FLOWRUNS.kind, run.key.name, run.uid)],
    }


def _kept_ours(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """With what no template may change. Where one put no map, there is nothing to keep, or nothing that we can mend."""
    theirs, spec = mapping(manifest.get("metadata")), manifest.get("spec")
    finalizers = theirs.get("finalizers")
    others = [name for name in finalizers if name != keys.POD_FINALIZER] if isinstance(finalizers, list) else []
    labels = {name: value for name, value in mapping(theirs.get("labels")).items() if name not in RUNS_OWN_LABELS}
    metadata = {**theirs, "labels": labels, "finalizers": [*others, keys.POD_FINALIZER]}
    if isinstance(spec, Mapping):  # an attempt is a pod: a restart inside one would not be counted
        spec = {**spec, "restartPolicy": "Never"}
    return {"metadata": metadata, "spec": spec}


def _spec(terms: _Terms, flow: ResolvedFlow) -> dict[str, Any]:
    spec = flow.spec
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": _has_api_access(flow),
        "enableServiceLinks": False,
        "containers": [_container(terms, flow)],
    }
    optional = {
        "serviceAccountName": spec.service_account_name,
        "activeDeadlineSeconds": terms.timeout_s,
        "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets or ()],
        "volumes": code_volumes(flow),
    }
    pod.update({key: value for key, value in optional.items() if value})
    return pod


def _timeout_s(seen: Snapshot, flow: ResolvedFlow) -> int | None:
    """Of the task where the run is one: the flow's is for the whole of it."""
    if seen.run.task:
        return seen.run.task.timeout_seconds
    timeout_s: int | None = _override(seen, "timeout_seconds")
    return timeout_s or flow.spec.timeout_seconds


def _container(terms: _Terms, flow: ResolvedFlow) -> dict[str, Any]:
    spec = flow.spec
    container: dict[str, Any] = {
        "name": keys.FLOW_CONTAINER,
        "image": spec.image or terms.default_image,
        "command": list(SDK_COMMAND) if spec.entrypoint else list(spec.command or ()),
        "env": _env(terms, flow),
        # A process that is killed cannot write its message: then the end of its log is the best there is.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    optional = {
        "args": list(spec.args or ()),
        "imagePullPolicy": spec.image_pull_policy,
        "envFrom": list(spec.env_from or ()),
        "resources": terms.resources and json.loads(terms.resources),
        "volumeMounts": code_mounts(flow),
    }
    container.update({key: value for key, value in optional.items() if value})
    return container


def _env(terms: _Terms, flow: ResolvedFlow) -> list[dict[str, Any]]:
    """Ours first, so that the user's may refer to it by $(HEADRACE_…); the user's win by name."""
    merged: Any = [{"name": name, "value": _Gap(name)} for name in terms.names]
    if _has_api_access(flow):
        merged += [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in IDENTITY.items()]
    for env in (flow.spec.env, terms.deployment.it.env if terms.deployment.it else None):
        merged = merge(merged, [_variable(variable) for variable in env or ()], field="env")
    result: list[dict[str, Any]] = merged
    return result


def _variables(seen: Snapshot, flow: ResolvedFlow, attempt: int) -> dict[str, str]:
    """What the process in the pod is told, by the name of the variable."""
    run = seen.run
    parameters = effective_parameters(run, flow, seen.deployment)
    ours: dict[str, str | None] = {
        "HEADRACE_ENTRYPOINT": flow.spec.entrypoint,
        keys.PARAMETERS_ENV: json.dumps(parameters, separators=(",", ":"), sort_keys=True),
        "HEADRACE_FLOW": flow.name,
        "HEADRACE_FLOW_REVISION": flow.revision,
        "HEADRACE_FLOW_RUN": run.key.name,
        "HEADRACE_FLOW_RUN_UID": run.uid,
        "HEADRACE_NAMESPACE": run.key.namespace,
        "HEADRACE_DEPLOYMENT": seen.deployment.key.name if seen.deployment else None,
        "HEADRACE_ATTEMPT": str(attempt),
        "HEADRACE_SCHEDULED_TIME": stamp(run.scheduled_time) if run.scheduled_time else None,
        "HEADRACE_PARENT_RUN": run.started_by.name if run.started_by else None,
        "HEADRACE_ROOT_RUN": run.started_by.root if run.started_by else None,
        "HEADRACE_CODE_DIR": code_dir(flow),
        "HEADRACE_RESULTS_URL": flow.spec.results.url if flow.spec.results else None,
        "HEADRACE_RESULTS_TTL_SECONDS": _results_ttl_seconds(flow),
        "HEADRACE_ANSWERS": answers_json(run.status.answers) if run.status.answers else None,
        "HEADRACE_TASK": run.task.model_dump_json(include=TASK_FIELDS) if run.task else None,
        "TRACEPARENT": traceparent(run),
        "HEADRACE_API_DIR": API_DIR if _has_api_access(flow) else None,
        "HEADRACE_SLOTS_NAMESPACE": (seen.slots_namespace or None) if _has_api_access(flow) else None,
    }
    return {name: value for name, value in ours.items() if value is not None}


def _results_ttl_seconds(flow: ResolvedFlow) -> str | None:
    ttl_seconds = flow.spec.results.ttl_seconds if flow.spec.results else None
    return None if ttl_seconds is None else str(ttl_seconds)


def _variable(variable: Any) -> Mapping[str, Any]:
    dumped: Mapping[str, Any] = variable.model_dump(by_alias=True, exclude_none=True)
    return dumped


def _has_api_access(flow: ResolvedFlow) -> bool:
    return flow.spec.api_access is ApiAccess.ENABLED


def _override(seen: Snapshot, name: str) -> Any:
    return getattr(seen.deployment.spec, name) if seen.deployment else None
