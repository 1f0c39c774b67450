"""Prefect's `run_deployment("flow/deployment", timeout=…)` and `emit_event(resource={"prefect.resource.id": …})` as ours."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Final

from headrace.api.deployment import MAX_NAME
from headrace.migration.edits import Edit, without_arguments
from headrace.migration.modules import Module
from headrace.migration.names import dns_name

RENAMED: Final[Mapping[str, str]] = {"timeout": "timeout_seconds"}
GONE: Final[Mapping[str, str]] = {
    "client": "the cluster is that of the pod, or of the kubeconfig",
    "poll_interval": "it waits by a watch",
    "flow_run_name": "the run is named after its cause; flow_run_name of its flow makes a title",
    "tags": "the tags of its flow mark it",
    "work_queue_name": "spec.priority and spec.pools of the Deployment, or priority=…, say where and when it runs",
    "job_variables": "resources, env and podTemplate of the Deployment say how it runs",
}
EVENT_GONE: Final[Mapping[str, str]] = {
    "related": "put what is related into payload",
    "follows": "put the id of what it follows into payload",
}
RESOURCE_ID: Final = "prefect.resource.id"


def rewrite_starts(module: Module) -> None:
    """Edits and reports the runs that a module starts, and the events that it emits."""
    awaited = {node.value for node in ast.walk(module.tree) if isinstance(node, ast.Await)}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or module.is_settled(node):
            continue
        theirs = module.named(node.func)
        if theirs.startswith("prefect.deployments") and theirs.endswith(".run_deployment"):
            _run_deployment(module, node, is_awaited=node in awaited)
        elif theirs.startswith("prefect.events") and theirs.endswith(".emit_event"):
            _emit_event(module, node)


def _run_deployment(module: Module, node: ast.Call, *, is_awaited: bool) -> None:
    if is_awaited:
        end = module.text.end(node.func)
        module.edits.append(Edit(end, end, ".aio"))
    _name(module, node)
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg in RENAMED:
            start = module.text.start(keyword)
            module.edits.append(Edit(start, start + len(keyword.arg), RENAMED[keyword.arg]))
    _without(module, node, GONE)


def _name(module: Module, node: ast.Call) -> None:
    given = node.args[0] if node.args else next((each.value for each in node.keywords if each.arg == "name"), None)
    if not isinstance(given, ast.Constant) or not isinstance(given.value, str):
        text = (
            "its name is known only when the code runs; pass that of the Deployment alone, without the flow before it"
        )
        module.notes.left(node.lineno, module.text.of(node), text)
        return
    ours = dns_name(given.value.rpartition("/")[2], MAX_NAME)
    if ours != given.value:
        module.replace(given, f'"{ours}"')
        module.notes.changed(node.lineno, module.text.of(node), f'the Deployment is named "{ours}"')


def _emit_event(module: Module, node: ast.Call) -> None:
    for keyword in node.keywords:
        if keyword.arg == "resource":
            _resource(module, keyword.value)
    if len(node.args) > 1:
        _resource(module, node.args[1])
    _without(module, node, EVENT_GONE)


def _resource(module: Module, given: ast.expr) -> None:
    """Its id has another name here, and what else it has may have to."""
    if not isinstance(given, ast.Dict):
        text = f'in a resource, "{RESOURCE_ID}" is "id", and other names are lower-case letters and digits'
        module.notes.left(given.lineno, module.text.of(given), text)
        return
    for key in given.keys:
        name = key.value if isinstance(key, ast.Constant) else None
        if key is not None and name == RESOURCE_ID:
            module.replace(key, '"id"')
        elif key is not None and not (isinstance(name, str) and name.isascii() and name.isalnum() and name.islower()):
            text = (
                "attributes of a resource have names of lower-case letters and digits; other things belong into payload"
            )
            module.notes.left(given.lineno, module.text.of(key), text)


def _without(module: Module, node: ast.Call, gone: Mapping[str, str]) -> None:
    found = [each for each in node.keywords if each.arg in gone]
    for keyword in found:
        module.notes.changed(node.lineno, module.text.of(keyword), gone[str(keyword.arg)])
    module.edits += without_arguments(module.text, node, found)
