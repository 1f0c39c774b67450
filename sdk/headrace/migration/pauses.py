"""Prefect's pauses as ours: `pause_flow_run(wait_for_input=…, timeout=…, key=…)` and `suspend_flow_run(…)`."""

from __future__ import annotations

import ast
from typing import Final

from headrace.migration.edits import Edit, without_arguments
from headrace.migration.modules import Module

THEIRS: Final = frozenset({"pause_flow_run", "suspend_flow_run"})
RENAMED: Final = {"timeout": "timeout_seconds", "key": "name"}
NEEDLESS: Final = frozenset({"poll_interval"})
KEPT: Final = frozenset({"wait_for_input"})


def rewrite_pauses(module: Module) -> None:
    """Edits and reports the pauses of a module."""
    awaited = {node.value for node in ast.walk(module.tree) if isinstance(node, ast.Await)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _is_pause(module, node) and not module.is_settled(node):
            _rewrite(module, node, is_awaited=node in awaited)


def _is_pause(module: Module, node: ast.Call) -> bool:
    theirs = module.named(node.func)
    return theirs.startswith("prefect.") and theirs.rpartition(".")[2] in THEIRS


def _rewrite(module: Module, node: ast.Call, *, is_awaited: bool) -> None:
    if is_awaited:
        end = module.text.end(node.func)
        module.edits.append(Edit(end, end, ".aio"))
    if node.args:
        start = module.text.start(node.args[0])
        module.edits.append(Edit(start, start, "wait_for_input="))
    for keyword in node.keywords:
        if keyword.arg in RENAMED:
            start = module.text.start(keyword)
            module.edits.append(Edit(start, start + len(keyword.arg), RENAMED[keyword.arg]))
    module.edits += without_arguments(module.text, node, (each for each in node.keywords if each.arg in NEEDLESS))
    others = [each.arg for each in node.keywords if each.arg not in {*RENAMED, *NEEDLESS, *KEPT}]
    if others or len(node.args) > 1:
        text = "a flow pauses itself and no other run: pause(message, wait_for_input=…, timeout_seconds=…, name=…)"
        module.notes.left(node.lineno, module.text.of(node), text)
