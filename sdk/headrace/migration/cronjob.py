"""CronJobs of Kubernetes (batch/v1) as Flow and Deployment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headrace.api.deployment import MAX_BOTH_NAMES
from headrace.api.deployment import MAX_NAME as MAX_DEPLOYMENT
from headrace.api.flow import MAX_NAME as MAX_FLOW
from headrace.api.keys import FLOW_CONTAINER
from headrace.errors import shown
from headrace.migration.checking import checked, manifest, schedule_problems
from headrace.migration.cronlines import translated
from headrace.migration.errors import MigrationError
from headrace.migration.names import Names
from headrace.migration.report import Migrated, Notes, Output
from headrace.migration.yamlfiles import line_of, plain, refuse_other_shapes

SCHEDULE: Final = "cron"
IN_FLOW: Final = ("image", "imagePullPolicy", "command", "args", "env", "envFrom", "resources")
"""Fields of a container that a Flow has too."""
POD_IN_FLOW: Final = ("serviceAccountName", "imagePullSecrets")
BACKOFF: Final = {"delaySeconds": 10, "factor": 2, "maxDelaySeconds": 360, "jitter": 0}
"""Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/: 10 s, 20 s, 40 s, … capped at six minutes."""
OF_KUBECTL: Final = ("kubectl.kubernetes.io/", "deployment.kubernetes.io/")
EVERY: Final = re.compile(r"(\d+)(h|m|s)")


@dataclass(frozen=True, slots=True)
class Case:
    """A CronJob with where it stands."""

    raw: Mapping[str, Any]
    name: str
    notes: Notes

    def line(self, *path: str) -> int:
        """The line of the field at this path, else of the nearest one above that is there."""
        found: Any = self.raw
        line = line_of(found)
        for key in path:
            line = line_of(found, key, line)
            found = found.get(key) if isinstance(found, Mapping) else None
        return line

    def at(self, *path: str) -> Any:
        """The value at this path; None where there is none."""
        found: Any = self.raw
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def tell(self, how: Callable[[int, str, str], None], path: Sequence[str], text: str = "") -> None:
        """A finding about the field at this path."""
        how(self.line(*path), f"{self.name}: {'.'.join(path)}", text)


JOB: Final = ("spec", "jobTemplate", "spec")
POD: Final = (*JOB, "template", "spec")


def migrated(path: Path, documents: Sequence[Any], *, names: Names, namespace: str) -> Migrated:
    """
    The manifests of the CronJobs among these documents.

    Raises: MigrationError: one has no name, or would be refused by the API server.
    """
    notes = Notes(str(path))
    manifests: list[dict[str, Any]] = []
    for document in _flat(documents):
        kind = document.get("kind") if isinstance(document, Mapping) else None
        if kind != "CronJob":
            notes.left(line_of(document), f"kind {kind}", "only CronJobs are migrated; apply it as it is")
            continue
        _refuse_shapes(document, notes)
        manifests += _both(Case(document, _name(document, notes), notes), names, namespace)
    output = Output(f"{path.stem}.headrace.yaml", tuple(manifests))
    return Migrated(str(path), "CronJobs", (output,) if manifests else (), tuple(notes.found))


def _refuse_shapes(document: Mapping[str, Any], notes: Notes) -> None:
    """Raises: MigrationError: a part of the CronJob that is read is no mapping or list."""
    source = notes.source
    refuse_other_shapes(document, {"metadata": "mapping", "spec": "mapping"}, source, "")
    refuse_other_shapes(
        document.get("metadata") or {}, dict.fromkeys(("labels", "annotations"), "mapping"), source, "metadata"
    )
    case = Case(document, "", notes)
    for length in range(1, len(POD)):
        refuse_other_shapes(case.at(*POD[:length]) or {}, {POD[length]: "mapping"}, source, ".".join(POD[:length]))
    refuse_other_shapes(case.at(*JOB, "template") or {}, {"metadata": "mapping"}, source, "template")
    refuse_other_shapes(case.at(*POD) or {}, {"containers": "list of mappings"}, source, ".".join(POD))
    for container in case.at(*POD, "containers") or []:
        refuse_other_shapes(container, {"resources": "mapping"}, source, "containers")
        amounts = {"requests": "mapping", "limits": "mapping"}
        refuse_other_shapes(container.get("resources") or {}, amounts, source, "resources")


def _flat(documents: Sequence[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, Mapping) and document.get("kind") in ("List", "CronJobList"):
            yield from document.get("items") or []
        else:
            yield document


def _name(document: Mapping[str, Any], notes: Notes) -> str:
    metadata = document.get("metadata") or {}
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str):
        problem = f"it is {shown(name)}, expected a name; write one"
        raise MigrationError(notes.source, line_of(document, "metadata"), "metadata.name", problem)
    return name


def _both(case: Case, names: Names, namespace: str) -> list[dict[str, Any]]:
    schedule = _schedule(case)
    container = _container(case)
    if schedule is None or container is None:
        return []
    where = str(case.at("metadata", "namespace") or namespace)
    flow = names.take(case.name, "Flow", where, MAX_FLOW)
    limit = min(MAX_DEPLOYMENT, MAX_BOTH_NAMES - len(schedule["name"]))
    deployment = names.take(case.name, "Deployment", where, limit)
    for kind, name in (("Flow", flow), ("Deployment", deployment)):
        if name != case.name:
            text = f'the {kind} is named "{name}", as names are unique DNS labels of limited length'
            case.tell(case.notes.changed, ("metadata", "name"), text)
    labels, annotations = _metadata(case)
    metadata = {"namespace": where, "labels": labels, "annotations": annotations}
    spec = {"flowRef": {"name": flow}, "schedules": [schedule], **_rules(case)}
    line = case.line("spec")
    made = [
        checked(manifest("Flow", {"name": flow, **metadata}, _flow_spec(case, container)), case.notes, line),
        checked(manifest("Deployment", {"name": deployment, **metadata}, spec), case.notes, line),
    ]
    _others(case)
    return made


def _metadata(case: Case) -> tuple[dict[str, str], dict[str, str]]:
    labels = {name: str(value) for name, value in (case.at("metadata", "labels") or {}).items()}
    annotations = {
        name: str(value)
        for name, value in (case.at("metadata", "annotations") or {}).items()
        if not name.startswith(OF_KUBECTL)
    }
    return labels, annotations


def _schedule(case: Case) -> dict[str, Any] | None:
    path = ("spec", "schedule")
    given = str(case.at(*path) or "")
    zone, line = _zone(case, given)
    found: dict[str, Any] = {"name": SCHEDULE}
    seconds = _every_s(line)
    times = translated(line)
    if seconds:
        found |= {"name": "interval", "intervalSeconds": seconds}
        text = "it counts from 1970-01-01T00:00:00Z, not from when it was applied; write an anchor to shift it"
        case.tell(case.notes.changed, path, text)
    elif times.problem:
        case.tell(case.notes.left, path, times.problem)
        return None
    else:
        found |= {"cron": times.cron, **({"timeZone": zone} if zone else {})}
    problem = next(schedule_problems(found), None)
    if problem:
        case.tell(case.notes.left, path, problem)
        return None
    case.tell(case.notes.carried, path, "Deployment.spec.schedules")
    return found


def _zone(case: Case, given: str) -> tuple[str, str]:
    """The time zone, empty for the default, and the line without one."""
    prefix = re.match(r"^(?:CRON_)?TZ=(\S+)\s+(.*)$", given)
    zone = case.at("spec", "timeZone")
    if zone:
        case.tell(case.notes.carried, ("spec", "timeZone"), "schedules[].timeZone")
    elif prefix:
        zone = prefix[1]
    else:
        text = "without timeZone it goes by the zone of kube-controller-manager; runs go by Etc/UTC unless timeZone says other"
        case.tell(case.notes.changed, ("spec", "schedule"), text)
    return "" if zone in (None, "UTC", "Etc/UTC") else str(zone), prefix[2] if prefix else given


def _every_s(line: str) -> int:
    if not line.startswith("@every "):
        return 0
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(count) * units[unit] for count, unit in EVERY.findall(line))


def _rules(case: Case) -> dict[str, Any]:
    """What a CronJob's own fields say, in a Deployment's words; what it leaves out, by its defaults."""
    deadline = case.at("spec", "startingDeadlineSeconds")
    history = {
        "succeeded": _default(case.at("spec", "successfulJobsHistoryLimit"), 3),
        "failed": _default(case.at("spec", "failedJobsHistoryLimit"), 1),
        "ttlSeconds": case.at(*JOB, "ttlSecondsAfterFinished"),
    }
    for name in ("suspend", "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        if case.at("spec", name) is not None:
            case.tell(case.notes.carried, ("spec", name))
    return {
        "suspend": case.at("spec", "suspend"),
        "concurrency": _concurrency(case),
        "catchUp": {"startingDeadlineSeconds": deadline} if deadline else None,
        "history": {name: value for name, value in history.items() if value is not None},
    }


def _default(value: Any, default: Any) -> Any:
    return default if value is None else value


def _concurrency(case: Case) -> dict[str, Any] | None:
    policy = case.at("spec", "concurrencyPolicy") or "Allow"
    path = ("spec", "concurrencyPolicy")
    if policy == "Allow":
        return None
    conflict = {"Forbid": "Skip", "Replace": "Replace"}.get(str(policy))
    if conflict is None:
        case.tell(case.notes.left, path, f"{shown(policy)} is not known; write concurrency into the Deployment")
        return None
    case.tell(case.notes.carried, path, f"concurrency: limit 1, onConflict {conflict}")
    return {"limit": 1, "onConflict": conflict}


def _container(case: Case) -> Mapping[str, Any] | None:
    containers = case.at(*POD, "containers") or []
    if not containers:
        case.tell(case.notes.left, (*POD, "containers"), "it has no container; write one")
        return None
    first = containers[0]
    if not first.get("command"):
        name = first.get("name")
        text = f"container {name} has no command, and a Flow needs one; write the ENTRYPOINT of its image there, and migrate again"
        case.notes.left(line_of(first), f"{case.name}: containers[{name}].command", text)
        return None
    if len(containers) > 1:
        text = (
            f"container {first.get('name')} is the flow, whose end is the run's; the others are sidecars in podTemplate"
        )
        case.tell(case.notes.changed, (*POD, "containers"), text)
    checked_container: Mapping[str, Any] = first
    return checked_container


def _flow_spec(case: Case, container: Mapping[str, Any]) -> dict[str, Any]:
    spec = {name: plain(container[name]) for name in IN_FLOW if container.get(name)}
    if "resources" in spec:
        spec["resources"] = _resources(case, container)
    for name in IN_FLOW:
        if container.get(name):
            case.notes.carried(line_of(container, name), f"{case.name}: containers[{container.get('name')}].{name}")
    for name in POD_IN_FLOW:
        if case.at(*POD, name):
            spec[name] = plain(case.at(*POD, name))
            case.tell(case.notes.carried, (*POD, name))
    return {
        **spec,
        "retries": _retries(case),
        "timeoutSeconds": _timeout(case),
        "podTemplate": _pod_template(case, container),
    }


def _resources(case: Case, container: Mapping[str, Any]) -> dict[str, Any]:
    raw = container["resources"]
    if "claims" in raw:
        text = "write them into resources of the container flow in podTemplate"
        case.notes.left(line_of(raw, "claims"), f"{case.name}: resources.claims", text)
    kinds = {kind: raw[kind] for kind in ("requests", "limits") if raw.get(kind)}
    return {kind: {name: str(value) for name, value in amounts.items()} for kind, amounts in kinds.items()}


def _retries(case: Case) -> dict[str, Any] | None:
    path = (*JOB, "backoffLimit")
    limit = _default(case.at(*path), 6)
    if case.at(*path) is not None:
        case.tell(case.notes.carried, path, "Flow.spec.retries")
    text = "every retry is a new pod; a lost node or an eviction is tried again by infrastructureRetries, and is not counted"
    case.tell(case.notes.changed, path, text)
    return {"limit": limit, **BACKOFF} if limit else None


def _timeout(case: Case) -> Any:
    job, pod = case.at(*JOB, "activeDeadlineSeconds"), case.at(*POD, "activeDeadlineSeconds")
    if job is not None:
        text = "timeoutSeconds bounds each attempt; the Job's bound was for all of its attempts together"
        case.tell(case.notes.changed, (*JOB, "activeDeadlineSeconds"), text)
    if pod is not None:
        case.tell(case.notes.carried, (*POD, "activeDeadlineSeconds"), "Flow.spec.timeoutSeconds")
    return min((each for each in (job, pod) if each is not None), default=None)


def _pod_template(case: Case, container: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a Flow has no field for; the flow's container goes by its own name there."""
    rest = {key: plain(value) for key, value in container.items() if key not in {"name", *IN_FLOW}}
    taken = {"containers", "restartPolicy", "activeDeadlineSeconds", *POD_IN_FLOW}
    spec = {key: plain(value) for key, value in (case.at(*POD) or {}).items() if key not in taken}
    containers = [{"name": FLOW_CONTAINER, **rest}] if rest else []
    containers += [plain(each) for each in case.at(*POD, "containers")[1:]]
    if containers:
        spec["containers"] = containers
    metadata = {
        key: plain(value)
        for key, value in (case.at(*JOB, "template", "metadata") or {}).items()
        if key in {"labels", "annotations"} and value
    }
    for key in (*rest, *spec):
        case.notes.carried(case.line(*POD, key), f"{case.name}: {key}", "Flow.spec.podTemplate")
    template = {**({"metadata": metadata} if metadata else {}), **({"spec": spec} if spec else {})}
    return template or None


def _others(case: Case) -> None:
    job = {
        "completions": "start as many runs by a schedule each, or one run that does all",
        "parallelism": "start as many runs by a schedule each, or one run that does all",
        "completionMode": "give each run its part as a parameter",
        "backoffLimitPerIndex": "give each run its part as a parameter",
        "podFailurePolicy": "exit codes 75 and 78 ask for and refuse another attempt: docs/pod-contract.md",
        "successPolicy": "the end of the container flow is the end of the run",
        "maxFailedIndexes": "give each run its part as a parameter",
        "podReplacementPolicy": "a new attempt starts only when the last pod has ended",
    }
    for name, advice in job.items():
        value = case.at(*JOB, name)
        if value not in (None, 1, "NonIndexed"):
            case.tell(case.notes.left, (*JOB, name), advice)
    if case.at(*JOB, "ttlSecondsAfterFinished") is not None:
        text = "history.ttlSeconds removes finished runs with their pods"
        case.tell(case.notes.carried, (*JOB, "ttlSecondsAfterFinished"), text)
    if case.at(*POD, "restartPolicy") == "OnFailure":
        text = "the container is not started again in its pod: each attempt is a new pod"
        case.tell(case.notes.changed, (*POD, "restartPolicy"), text)
