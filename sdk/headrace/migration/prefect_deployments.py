"""Deployments of Prefect, from a prefect.yaml or from `.serve()` and `.deploy()`, as Flow, Deployment and WorkPool."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from headrace.api.deployment import MAX_BOTH_NAMES
from headrace.api.deployment import MAX_NAME as MAX_DEPLOYMENT
from headrace.api.flow import MAX_NAME as MAX_FLOW
from headrace.api.workpool import MAX_NAME as MAX_POOL
from headrace.errors import shown
from headrace.migration.checking import checked, manifest
from headrace.migration.errors import MigrationError
from headrace.migration.infrastructure import (
    TEMPLATE,
    Infrastructure,
    Variables,
    flow_container,
    infrastructure,
)
from headrace.migration.names import Names, dns_name
from headrace.migration.prefect_schedules import Written, schedules
from headrace.migration.prefect_triggers import NoSuchTrigger, trigger_from
from headrace.migration.report import Notes
from headrace.migration.yamlfiles import line_of, plain, refuse_other_shapes
from headrace.rendering import DESCRIPTION_ANNOTATION

TAG_PREFIX: Final = "tag"
"""Tags become labels `tag/<tag>: "true"`, which the selector of a ConcurrencyLimit can name."""
STRATEGIES: Final = {"ENQUEUE": "Queue", "CANCEL_NEW": "Skip"}
NEEDLESS: Final = {
    "version": "each content of a Flow has a revision: status.revision",
    "version_type": "each content of a Flow has a revision: status.revision",
    "enforce_parameter_schema": "parameters are checked where the Flow has spec.parameters.schema; `headrace render` writes it",
    "parameter_openapi_schema": "`headrace render` writes spec.parameters.schema of the Flow",
    "flow_name": "the Flow is named after the function of its entrypoint",
    "push": "push images in your build; nothing is uploaded here",
}
LEFT: Final = {
    "sla": "alert on late runs in your monitoring, by the metrics in docs/operations.md",
    "work_queue_name": "set spec.priority of the Deployment where one queue went before another",
    "global_concurrency_limit": "make a ConcurrencyLimit and name it in spec.limits of the Deployment",
}
SHAPES: Final = {
    "tags": "list",
    "parameters": "mapping",
    "schedules": "list",
    "work_pool": "mapping",
    "concurrency_options": "mapping",
    "build": "list of mappings",
    "pull": "list of mappings",
}
TAKEN: Final = {
    "name", "entrypoint", "description", "tags", "parameters", "schedule", "schedules", "work_pool",
    "concurrency_limit", "concurrency_options", "paused", "is_schedule_active", "build", "pull", "triggers",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Code:
    """What is known of a flow's function. `spec` has fields of a Flow's spec; `files` is its code, to be put inline."""

    name: str
    spec: Mapping[str, Any]
    files: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One deployment as it is written, in the words of a prefect.yaml."""

    raw: Mapping[str, Any]
    notes: Notes
    part: str
    fallback_line: int = 0

    def line(self, key: str = "") -> int:
        """The line of this key."""
        return line_of(self.raw, key, self.fallback_line)

    def carried(self, key: str, text: str = "") -> None:
        """The field means the same here."""
        self.notes.carried(self.line(key), f"{self.part}.{key}", text)

    def changed(self, key: str, text: str) -> None:
        """The field means something else here."""
        self.notes.changed(self.line(key), f"{self.part}.{key}", text)

    def left(self, key: str, text: str) -> None:
        """The field is in none of our files."""
        self.notes.left(self.line(key), f"{self.part}.{key}", text)


@dataclass(frozen=True, slots=True)
class Stock:
    """The manifests so far: Flows by what tells them apart, WorkPools by what they say."""

    names: Names
    flows: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    pools: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    deployments: list[dict[str, Any]] = field(default_factory=list)

    def manifests(self) -> tuple[dict[str, Any], ...]:
        """In the order in which they are applied."""
        return (*self.pools.values(), *self.flows.values(), *self.deployments)


def deployments(
    cases: Sequence[Case],
    code_of: Callable[[str, Case], Code | None],
    *,
    names: Names,
    images: Mapping[str, str],
    namespace: str,
) -> tuple[dict[str, Any], ...]:
    """
    The manifests of these deployments.

    Args:
        code_of: What is known of an entrypoint in our form; None where its file is not there.
        images: What build steps make, by their id.
        namespace: Of deployments that name none.
    Raises: MigrationError: one has no name or entrypoint, or would be refused by the API server.
    """
    for case in cases:
        refuse_other_shapes(case.raw, SHAPES, case.notes.source, case.part)
    written = Stock(names)
    often = Counter(str(case.raw.get("name")) for case in cases)
    for case in cases:
        _one(case, code_of, written, images=images, namespace=namespace, shared=often[str(case.raw.get("name"))] > 1)
    return written.manifests()


def _one(
    case: Case,
    code_of: Callable[[str, Case], Code | None],
    written: Stock,
    *,
    images: Mapping[str, str],
    namespace: str,
    shared: bool,
) -> None:
    name, entrypoint = _required(case, "name"), _entrypoint(case)
    found = _infrastructure(case, images)
    found.namespace = found.namespace or namespace
    _working_dir(case, found)
    code = code_of(entrypoint, case)
    flow = _flow(case, entrypoint, code, found=found, written=written)
    times = schedules(_schedules(case))
    longest = max((len(each["name"]) for each in times), default=0)
    limit = min(MAX_DEPLOYMENT, MAX_BOTH_NAMES - longest)
    wanted = f"{flow}-{name}" if shared else name
    taken = written.names.take(wanted, "Deployment", found.namespace, limit)
    if taken != name:
        case.changed(
            "name", f'the Deployment is named "{taken}", as names are DNS labels, unique and at most {limit} long'
        )
    else:
        case.carried("name")
    spec = {
        "flowRef": {"name": flow},
        "parameters": _parameters(case),
        "schedules": times,
        "triggers": _triggers(case),
        "suspend": _suspended(case),
        "concurrency": _concurrency(case),
        "pools": _pools(case, found, written),
        **found.spec,
    }
    raw = manifest("Deployment", _metadata(case, taken, found.namespace), spec)
    written.deployments.append(checked(raw, case.notes, case.line()))
    _others(case)


def _required(case: Case, key: str) -> str:
    value = case.raw.get(key)
    if not isinstance(value, str) or not value or TEMPLATE.search(value):
        problem = f"it is {shown(value)}, expected some text; write it into the source"
        raise MigrationError(case.notes.source, case.line(key), f"{case.part}.{key}", problem)
    return value


def _entrypoint(case: Case) -> str:
    given = _required(case, "entrypoint")
    case.carried("entrypoint", "Flow.spec.entrypoint")
    return our_entrypoint(given)


def our_entrypoint(given: str) -> str:
    """Prefect's entrypoint as ours: a dotted path to a function gets a colon, a file loses a leading `./`."""
    path, colon, function = given.rpartition(":")
    if not colon:
        path, _, function = given.rpartition(".")
    return f"{PurePosixPath(path) if path.endswith('.py') else path}:{function}"


def _infrastructure(case: Case, images: Mapping[str, str]) -> Infrastructure:
    pool = case.raw.get("work_pool") or {}
    refuse_other_shapes(pool, {"job_variables": "mapping"}, case.notes.source, f"{case.part}.work_pool")
    raw = pool.get("job_variables") or {}
    images = {**images, **built_images(case.raw.get("build") or [])}
    return infrastructure(Variables(raw, f"{case.part}.job_variables", case.notes, images, case.line("work_pool")))


def built_images(steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The images that build steps make, by the step's id; those with a template in their name are left out."""
    found = {}
    for step in steps:
        for kind, raw in step.items():
            if not kind.endswith("build_docker_image") or not isinstance(raw, Mapping):
                continue
            image = f"{raw.get('image_name')}:{raw.get('tag', 'latest')}"
            if not TEMPLATE.search(image):
                found[str(raw.get("id", "image"))] = image
    return found


def _working_dir(case: Case, found: Infrastructure) -> None:
    """The folder that a pull step of the deployment or of the file sets, into its podTemplate."""
    for step in case.raw.get("pull") or []:
        for kind, raw in step.items():
            folder = raw.get("directory") if isinstance(raw, Mapping) else None
            if kind.endswith("set_working_directory") and folder and not TEMPLATE.search(str(folder)):
                flow_container(found)["workingDir"] = str(folder)
                case.carried("pull", "workingDir in Deployment.spec.podTemplate")
            elif not kind.endswith("set_working_directory"):
                case.left("pull", f"{kind}: code is in the image or inline; copy it into the image")


def _flow(case: Case, entrypoint: str, code: Code | None, *, found: Infrastructure, written: Stock) -> str:
    files = code.files if code and found.image is None else None
    path, _, function = entrypoint.rpartition(":")
    key = (found.namespace, entrypoint, found.image, found.pull_policy)
    if key in written.flows:
        return str(written.flows[key]["metadata"]["name"])
    _about_code(case, entrypoint, code, found)
    stem = PurePosixPath(path).stem if path.endswith(".py") else path.rpartition(".")[2]
    wanted = code.name if code and code.name != "main" else stem if function == "main" else function
    name = written.names.take(wanted, "Flow", found.namespace, MAX_FLOW)
    if name != dns_name(wanted, MAX_FLOW):
        case.changed("entrypoint", f'the Flow is named "{name}", as another has the name "{wanted}"')
    if files is not None:
        entrypoint = f"{PurePosixPath(path).name}:{function}"
    spec = {
        "entrypoint": entrypoint,
        "source": {"inline": {"files": files}} if files else None,
        "image": found.image,
        "imagePullPolicy": found.pull_policy,
        **(code.spec if code else {}),
    }
    raw = manifest("Flow", {"name": name, "namespace": found.namespace}, spec)
    written.flows[key] = checked(raw, case.notes, case.line("entrypoint"))
    return name


def _about_code(case: Case, entrypoint: str, code: Code | None, found: Infrastructure) -> None:
    if code is None:
        text = "its module is not there; copy retries and timeout of its @flow into the Flow, or render it: headrace render"
        case.left("entrypoint", f"{entrypoint}: {text}")
    if found.image:
        case.changed("entrypoint", f"build {found.image} with headrace and the rewritten modules in place of prefect")
    elif code is None or code.files is None:
        case.left("entrypoint", "no image has its code; build one and write it into spec.image of the Flow")
    else:
        case.changed(
            "entrypoint", "its code is in the Flow; write an image with the packages that it needs into spec.image"
        )
    if code is not None:
        text = "parameters are not checked; `headrace render` writes spec.parameters.schema from the type hints"
        case.changed("entrypoint", text)


def _schedules(case: Case) -> list[Written]:
    raw = case.raw.get("schedules")
    if raw is None:
        single = case.raw.get("schedule")
        raw = [] if single is None else [single]
        key = "schedule"
    else:
        key = "schedules"
    found = []
    for index, each in enumerate(raw):
        if not isinstance(each, Mapping):
            case.left(key, f"{shown(each)} is no mapping; write a schedule with cron, interval or rrule")
            continue
        if each:
            part = f"{case.part}.{key}" + (f"[{index}]" if key == "schedules" else "")
            found.append(Written(each, part, case.notes, case.line(key)))
    if found:
        case.changed(
            key, "of missed times only the latest runs, where Prefect runs all; spec.catchUp.policy All does too"
        )
    return found


def _triggers(case: Case) -> list[dict[str, Any]] | None:
    raw = case.raw.get("triggers") or ()
    found = []
    for index, each in enumerate(raw if isinstance(raw, (list, tuple)) else (raw,)):
        try:
            found.append(trigger_from(plain(each), index))
        except NoSuchTrigger as error:
            case.left("triggers", str(error))
    if found:
        case.changed(
            "triggers", "they start a run for each run in the phase; see that Flows and Deployments have the names"
        )
    return found or None


def _suspended(case: Case) -> bool | None:
    if case.raw.get("paused") is True:
        case.carried("paused", "Deployment.spec.suspend")
        return True
    if case.raw.get("is_schedule_active") is False:
        case.carried("is_schedule_active", "Deployment.spec.suspend")
        return True
    return None


def _parameters(case: Case) -> dict[str, Any] | None:
    raw = case.raw.get("parameters")
    if not raw:
        return None
    kept = {}
    for name, value in raw.items():
        if isinstance(value, str) and TEMPLATE.search(value):
            text = f"{name} is {value}, which only Prefect knows; write the value, or read it from the environment"
            case.left("parameters", text)
        else:
            kept[str(name)] = plain(value)
    case.carried("parameters")
    return kept


def _concurrency(case: Case) -> dict[str, Any] | None:
    raw = case.raw.get("concurrency_limit")
    if raw is None:
        return None
    options = raw if isinstance(raw, Mapping) else {"limit": raw, **(case.raw.get("concurrency_options") or {})}
    strategy = str(options.get("collision_strategy") or "ENQUEUE").rpartition(".")[2]
    if strategy not in STRATEGIES:
        case.left("concurrency_limit", f"{strategy} is not known; write onConflict: Queue, Skip or Replace")
    if "grace_period_seconds" in options:
        text = "a slot is held from the decision to start a run until it ends; there is no grace period"
        case.changed("concurrency_limit", text)
    case.carried("concurrency_limit", "Deployment.spec.concurrency")
    return {"limit": options.get("limit"), "onConflict": STRATEGIES.get(strategy, "Queue")}


def _pools(case: Case, found: Infrastructure, written: Stock) -> dict[str, Any] | None:
    pool = case.raw.get("work_pool") or {}
    if not pool:
        return None
    name = str(pool.get("name") or "default")
    if pool.get("work_queue_name") not in (None, "default"):
        case.left("work_pool", f"work_queue_name {pool['work_queue_name']}: {LEFT['work_queue_name']}")
    if not found.nodes:
        case.changed("work_pool", f'"{name}" says nothing about nodes: runs go to any WorkPool; spec.pools names some')
        return None
    key = (name, repr(sorted(found.nodes.items())))
    if key not in written.pools:
        taken = written.names.take(name, "WorkPool", "", MAX_POOL)
        raw = manifest("WorkPool", {"name": taken}, found.nodes)
        written.pools[key] = checked(raw, case.notes, case.line("work_pool"))
        text = f'the WorkPool "{taken}" is a stub: add maxPodResources, capacity and pricing'
        case.changed("work_pool", text)
    return {"names": [written.pools[key]["metadata"]["name"]]}


def _metadata(case: Case, name: str, namespace: str) -> dict[str, Any]:
    labels = {}
    for tag in case.raw.get("tags") or []:
        labels[f"{TAG_PREFIX}/{dns_name(str(tag), 63)}"] = "true"
    if labels:
        text = f"labels of the Deployment: {', '.join(labels)}; a limit on a tag is a ConcurrencyLimit whose selector names it"
        case.changed("tags", text)
    description = case.raw.get("description")
    if description:
        case.carried("description", f"annotation {DESCRIPTION_ANNOTATION}")
    annotations = {DESCRIPTION_ANNOTATION: re.sub(r"\s+\Z", "", str(description))} if description else {}
    return {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations}


def _others(case: Case) -> None:
    for key, value in case.raw.items():
        if value in (None, [], {}, ""):
            continue
        if key in NEEDLESS:
            case.changed(key, NEEDLESS[key])
        elif key == "build":
            case.changed(key, "images are built outside; keep the step in your build")
        elif key not in TAKEN:
            case.left(key, LEFT.get(key, f"there is no such field here (it was {shown(value)})"))
