"""Prefect's `with transaction(key, commit_mode=…)` as ours: its other arguments go, and in an `async def` it is `async with`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Final

from headrace.migration.edits import Edit, without_arguments
from headrace.migration.modules import Module

THEIRS: Final = frozenset({"prefect.transactions.transaction", "prefect.transactions.atransaction"})
GONE: Final[Mapping[str, str]] = {
    "store": "results and keys lie below the results URL of the Flow",
    "commit_mode": "an inner transaction is committed with the outermost one, which is committed at its end",
    "isolation_level": "two runs with one key may be in the block at once: hold a slot of a ConcurrencyLimit around it",
    "overwrite": "is_committed() tells whether the key was committed; a block that goes on is committed again",
    "write_on_commit": "results of tasks are kept as their persist_result and cache_policy say",
    "logger": "commits and rollbacks are told in the log of the run",
}


def rewrite_transactions(module: Module) -> None:
    """Edits and reports the transactions of a module."""
    for node in _in_async_functions(module.tree):
        if isinstance(node, ast.With) and any(_is_transaction(module, each.context_expr) for each in node.items):
            _made_async(module, node)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _is_transaction(module, node) and not module.is_settled(node):
            found = [each for each in node.keywords if each.arg in GONE]
            for keyword in found:
                # What is named in it goes too, with its import.
                module.settled.append((module.text.start(keyword), module.text.end(keyword)))
                module.notes.changed(node.lineno, module.text.of(keyword), GONE[str(keyword.arg)])
            module.edits += without_arguments(module.text, node, found)


def _made_async(module: Module, node: ast.With) -> None:
    if len(node.items) > 1:
        text = "in an `async def` write `async with transaction(…)`, in a statement of its own"
        module.notes.left(node.lineno, module.text.of(node.items[0].context_expr), text)
        return
    start = module.text.start(node)
    module.edits.append(Edit(start, start, "async "))


def _in_async_functions(tree: ast.AST, *, inside: bool = False) -> Iterator[ast.AST]:
    """The nodes whose nearest function is an `async def`."""
    for node in ast.iter_child_nodes(tree):
        if inside:
            yield node
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _in_async_functions(node, inside=isinstance(node, ast.AsyncFunctionDef) if is_function else inside)


def _is_transaction(module: Module, node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and module.named(node.func) in THEIRS
