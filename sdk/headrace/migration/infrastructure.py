"""The job variables of a Prefect work pool: image, variables, sizes, nodes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.api.keys import FLOW_CONTAINER
from headrace.errors import shown
from headrace.migration.names import dns_name
from headrace.migration.report import Notes
from headrace.migration.yamlfiles import line_of, plain, refuse_other_shapes

TEMPLATE = re.compile(r"\{\{\s*(.+?)\s*\}\}")
SECRET = re.compile(r"^prefect\.blocks\.secret\.([\w-]+)")
VARIABLE = re.compile(r"^(?:prefect\.variables\.|\$)([\w-]+)")
VARIABLES_MAP = "variables"
NODE_FIELDS = {"node_selector": "nodeSelector", "tolerations": "tolerations", "affinity": "affinity"}
SHAPES = {
    "resources": "mapping",
    "labels": "mapping",
    "annotations": "mapping",
    "image_pull_secrets": "list",
    "volumes": "list",
    "volume_mounts": "list",
}
NEEDLESS = {
    "finished_job_ttl": "runs are kept as Deployment.spec.history says",
    "job_watch_timeout_seconds": "runs are watched until they end; Flow.spec.timeoutSeconds bounds an attempt",
    "pod_watch_timeout_seconds": "WorkPool.spec.scheduleTimeoutSeconds bounds the wait for a node",
    "stream_output": "`kubectl logs` has the output",
    "delete_after_completion": "pods go with their runs, as Deployment.spec.history says",
    "cluster_config": "runs are in the cluster to which you apply the manifests",
    "name": "pods are named after their runs",
    "auto_remove": "pods go with their runs, as Deployment.spec.history says",
}


@dataclass(slots=True)
class Infrastructure:
    """What the job variables of one deployment say, in our words. `spec` has fields of a Deployment's spec."""

    image: str | None = None
    pull_policy: str | None = None
    namespace: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variables:
    """The job variables as they are written. `images` has the image that each build step makes, by its id."""

    raw: Mapping[str, Any]
    part: str
    notes: Notes
    images: Mapping[str, str]
    fallback_line: int = 0

    def line(self, key: str) -> int:
        """The line of this variable."""
        return line_of(self.raw, key, self.fallback_line)

    def env_line(self, name: str) -> int:
        """The line of this environment variable."""
        return line_of(self.raw["env"], name, self.line("env"))


def infrastructure(variables: Variables) -> Infrastructure:
    """What the variables say; those without a counterpart become findings."""
    refuse_other_shapes(variables.raw, SHAPES, variables.notes.source, variables.part)
    found = Infrastructure()
    for key, value in variables.raw.items():
        taker = _TAKERS.get(key) or (_resource if key in _RESOURCES else None)
        if taker is not None and value is not None:
            taker(found, variables, key)
        elif key in NEEDLESS:
            variables.notes.changed(variables.line(key), f"{variables.part}.{key}", NEEDLESS[key])
        elif value is not None:
            advice = f"write it into podTemplate of the Deployment, if a pod has such a field (it was {shown(value)})"
            variables.notes.left(variables.line(key), f"{variables.part}.{key}", advice)
    return found


def _image(found: Infrastructure, variables: Variables, key: str) -> None:
    text = str(variables.raw[key])
    step = TEMPLATE.fullmatch(text.strip())
    built = variables.images.get(step[1].partition(".")[0]) if step else None
    found.image = built if step else text
    if found.image is None or TEMPLATE.search(found.image):
        found.image = None
        advice = f"{text} is known only when it is built; write spec.image of the Flow"
        variables.notes.left(variables.line(key), f"{variables.part}.{key}", advice)
        return
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Flow.spec.image")


def _pull_policy(found: Infrastructure, variables: Variables, key: str) -> None:
    found.pull_policy = str(variables.raw[key])
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Flow.spec.imagePullPolicy")


def _namespace(found: Infrastructure, variables: Variables, key: str) -> None:
    found.namespace = str(variables.raw[key])
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "metadata.namespace")


def _env(found: Infrastructure, variables: Variables, key: str) -> None:
    raw = variables.raw[key]
    if not isinstance(raw, Mapping):
        refuse_other_shapes(variables.raw, {key: "list of mappings"}, variables.notes.source, variables.part)
    pairs = raw.items() if isinstance(raw, Mapping) else [(each.get("name"), each.get("value")) for each in raw]
    items = [
        _variable(str(name), value, variables) for name, value in pairs if not _is_of_prefect(str(name), variables)
    ]
    found.spec["env"] = [item for item in items if item]
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Deployment.spec.env")


def _is_of_prefect(name: str, variables: Variables) -> bool:
    if name == "EXTRA_PIP_PACKAGES":
        advice = "put these packages into the image; none is installed at start"
        variables.notes.left(variables.env_line(name), f"{variables.part}.env.{name}", advice)
        return True
    if name.startswith("PREFECT_"):
        advice = "it sets up Prefect; HEADRACE_LOG_LEVEL sets the level of logs"
        variables.notes.changed(variables.env_line(name), f"{variables.part}.env.{name}", advice)
        return True
    return False


def _variable(name: str, value: Any, variables: Variables) -> dict[str, Any] | None:
    text = "" if value is None else str(value)
    template = TEMPLATE.fullmatch(text.strip())
    if template is None and not TEMPLATE.search(text):
        return {"name": name, "value": text}
    part, line = f"{variables.part}.env.{name}", variables.env_line(name)
    if template and (secret := SECRET.match(template[1])):
        found = dns_name(secret[1], 63)
        command = f"kubectl create secret generic {found} --from-literal=value=…"
        variables.notes.left(line, part, f"it comes from the Secret {found} now; make it: {command}")
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": found, "key": "value"}}}
    if template and (variable := VARIABLE.match(template[1])):
        command = f"kubectl create configmap {VARIABLES_MAP} --from-literal={variable[1]}=…"
        variables.notes.left(line, part, f"it comes from the ConfigMap {VARIABLES_MAP} now; make it: {command}")
        return {"name": name, "valueFrom": {"configMapKeyRef": {"name": VARIABLES_MAP, "key": variable[1]}}}
    variables.notes.left(
        line, part, f"{text} is known to Prefect only; write the value into spec.env of the Deployment"
    )
    return None


_RESOURCES: Mapping[str, tuple[str, str]] = {
    "cpu_request": ("requests", "cpu"),
    "cpu_limit": ("limits", "cpu"),
    "memory_request": ("requests", "memory"),
    "memory_limit": ("limits", "memory"),
    "mem_limit": ("limits", "memory"),
    "gpu_limit": ("limits", "nvidia.com/gpu"),
}


def _resource(found: Infrastructure, variables: Variables, key: str) -> None:
    kind, name = _RESOURCES[key]
    value = variables.raw[key]
    if isinstance(value, str) and (docker := re.fullmatch(r"(\d+)([kmg])", value)) and key == "mem_limit":
        value = f"{docker[1]}{docker[2].upper()}i"
    found.spec.setdefault("resources", {}).setdefault(kind, {})[name] = _quantity(value)
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", f"Deployment.spec.resources.{kind}")


def _resources(found: Infrastructure, variables: Variables, key: str) -> None:
    raw = variables.raw[key]
    refuse_other_shapes(raw, {"requests": "mapping", "limits": "mapping"}, variables.notes.source, variables.part)
    for kind in [each for each in ("requests", "limits") if raw.get(each)]:
        amounts = {name: _quantity(value) for name, value in raw[kind].items()}
        found.spec.setdefault("resources", {}).setdefault(kind, {}).update(amounts)
    for kind in raw.keys() - {"requests", "limits"}:
        advice = "write it into resources of the container flow in podTemplate"
        variables.notes.left(line_of(raw, kind), f"{variables.part}.{key}.{kind}", advice)
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Deployment.spec.resources")


def _quantity(value: Any) -> Any:
    return str(value) if isinstance(value, float) else value


def _nodes(found: Infrastructure, variables: Variables, key: str) -> None:
    found.nodes[NODE_FIELDS[key]] = plain(variables.raw[key])
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", f"WorkPool.spec.{NODE_FIELDS[key]}")


def _service_account(found: Infrastructure, variables: Variables, key: str) -> None:
    pod_spec(found)["serviceAccountName"] = str(variables.raw[key])
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Deployment.spec.podTemplate.spec")


def _pull_secrets(found: Infrastructure, variables: Variables, key: str) -> None:
    names = [each["name"] if isinstance(each, Mapping) else str(each) for each in variables.raw[key]]
    pod_spec(found)["imagePullSecrets"] = [{"name": name} for name in names]
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Deployment.spec.podTemplate.spec")


def _labels(found: Infrastructure, variables: Variables, key: str) -> None:
    metadata = found.spec.setdefault("podTemplate", {}).setdefault("metadata", {})
    metadata[key] = {str(name): str(value) for name, value in variables.raw[key].items()}
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Deployment.spec.podTemplate.metadata")


def _volumes(found: Infrastructure, variables: Variables, key: str) -> None:
    value = plain(variables.raw[key])
    if not all(isinstance(each, Mapping) for each in value):
        advice = f"{shown(value)} are folders of a Docker host; write volumes into podTemplate"
        variables.notes.left(variables.line(key), f"{variables.part}.{key}", advice)
        return
    if key == "volumes":
        pod_spec(found)["volumes"] = value
    else:
        flow_container(found)["volumeMounts"] = value
    variables.notes.carried(variables.line(key), f"{variables.part}.{key}", "Deployment.spec.podTemplate.spec")


def _command(found: Infrastructure, variables: Variables, key: str) -> None:
    del found
    advice = "the operator starts the flow itself; write what must run before it into an init container of podTemplate"
    variables.notes.left(variables.line(key), f"{variables.part}.{key}", advice)


def pod_spec(found: Infrastructure) -> dict[str, Any]:
    """The spec of the Deployment's podTemplate, to be added to."""
    template = found.spec.setdefault("podTemplate", {})
    spec: dict[str, Any] = template.setdefault("spec", {})
    return spec


def flow_container(found: Infrastructure) -> dict[str, Any]:
    """The flow's container in the Deployment's podTemplate, to be added to."""
    containers = pod_spec(found).setdefault("containers", [{"name": FLOW_CONTAINER}])
    container: dict[str, Any] = containers[0]
    return container


_TAKERS: Mapping[str, Callable[[Infrastructure, Variables, str], None]] = {
    "image": _image,
    "image_pull_policy": _pull_policy,
    "namespace": _namespace,
    "env": _env,
    "resources": _resources,
    "node_selector": _nodes,
    "tolerations": _nodes,
    "affinity": _nodes,
    "service_account_name": _service_account,
    "service_account": _service_account,
    "image_pull_secrets": _pull_secrets,
    "labels": _labels,
    "annotations": _labels,
    "volumes": _volumes,
    "volume_mounts": _volumes,
    "command": _command,
}
