"""Calls of flows, tasks, futures and limits whose words differ, and those that have no counterpart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

import headrace
from headrace.migration.edits import Edit, without_arguments
from headrace.migration.modules import Decorated, Module
from headrace.migration.names import dns_name
from headrace.migration.prefect_names import counterpart

LIMITS: Final = {"concurrency": "slots", "rate_limit": "count"}
STATE_QUESTIONS: Final = {
    "is_completed": "Succeeded",
    "is_failed": "Failed",
    "is_crashed": "Crashed",
    "is_cancelled": "Cancelled",
    "is_running": "Running",
    "is_pending": "Pending",
    "is_paused": "Paused",
}
SERVING: Final = {"serve", "deploy", "to_deployment"}
MAX_LIMIT_NAME: Final = 63


def rewrite_calls(module: Module) -> None:
    """Edits and reports the calls of a module."""
    futures, on_loop = set(_future_names(module)), _calls_on_loop(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and not module.is_settled(node):
            _limit(module, node)
            _made_by_hand(module, node)
            _outcome(module, node, futures, on_loop)
            _waiting(module, node)
        if isinstance(node, ast.Attribute) and not module.is_settled(node):
            _attribute(module, node)


def _future_names(module: Module) -> Iterator[str]:
    """Names that are bound to futures: by assignment, and by loops and comprehensions over them."""
    known: set[str] = set()
    for _ in range(3):  # a list of futures, a loop over it, a name for one of them
        for node in ast.walk(module.tree):
            target, value = _binding(node)
            if target is not None and value is not None and _makes_futures(module, value, known):
                known.add(target)
    yield from known


def _binding(node: ast.AST) -> tuple[str | None, ast.expr | None]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
        return node.target.id, node.iter
    return None, None


def _makes_futures(module: Module, value: ast.expr, known: set[str]) -> bool:
    if isinstance(value, ast.Name):
        return value.id in known
    if isinstance(value, ast.ListComp):
        return _makes_futures(module, value.elt, known)
    if not isinstance(value, ast.Call):
        return False
    if module.named(value.func) == "prefect.futures.as_completed":
        return True
    return isinstance(value.func, ast.Attribute) and value.func.attr in {"submit", "map"} and bool(module.imports)


def _calls_on_loop(module: Module) -> set[ast.AST]:
    """Everything in an `async def`, if the module has async tasks: their futures need the event loop."""
    tasks = (each.node for each in module.functions.values() if each.kind == "task")
    if not any(isinstance(each, ast.AsyncFunctionDef) for each in tasks):
        return set()
    functions = (each for each in ast.walk(module.tree) if isinstance(each, ast.AsyncFunctionDef))
    return {node for function in functions for node in ast.walk(function)}


def _outcome(module: Module, node: ast.Call, futures: set[str], on_loop: set[ast.AST]) -> None:
    """`future.result(timeout=5)`: a timeout has its unit in its name here."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in {"result", "wait"}:
        return
    if not _makes_futures(module, node.func.value, futures):
        return
    _rename_timeout(module, node)
    if node in on_loop:
        text = "in an `async def` write `await future`: result() and wait() would block the event loop of async tasks"
        module.notes.left(node.lineno, module.text.of(node), text)
    for keyword in node.keywords:
        if keyword.arg == "raise_on_failure":
            text = (
                "result() raises what the task raised; ask future.wait() for the state, and the state for its exception"
            )
            module.notes.left(node.lineno, module.text.of(node), text)


def _waiting(module: Module, node: ast.Call) -> None:
    if module.named(node.func) in {"prefect.futures.wait", "prefect.futures.as_completed"}:
        _rename_timeout(module, node)


def _rename_timeout(module: Module, node: ast.Call) -> None:
    for keyword in node.keywords:
        if keyword.arg == "timeout":
            start = module.text.start(keyword)
            module.edits.append(Edit(start, start + len("timeout"), "timeout_seconds"))


def _made_by_hand(module: Module, node: ast.Call) -> None:
    """`with Flow("etl"):`, as Prefect 1 had it."""
    ours = counterpart(module.named(node.func))
    if ours in {"headrace.Flow", "headrace.Task"}:
        text = f"write it as a function below @{ours.rpartition('.')[2].lower()}"
        module.notes.left(node.lineno, module.text.of(node), text)


def _limit(module: Module, node: ast.Call) -> None:
    """`concurrency("db", occupy=2)` and `rate_limit("api")`: other words, and names that Kubernetes takes."""
    theirs = module.named(node.func)
    what = theirs.rpartition(".")[2]
    if not theirs.startswith("prefect.concurrency.") or what not in LIMITS:
        return
    taken = 1
    gone = []
    for keyword in node.keywords:
        if keyword.arg == "occupy":
            start = module.text.start(keyword)
            module.edits.append(Edit(start, start + len("occupy"), LIMITS[what]))
            taken = _count(keyword.value)
        elif keyword.arg in {"create_if_missing", "max_retries", "lease_duration", "strict", "active"}:
            gone.append(keyword)
            text = "a limit must be there, as a ConcurrencyLimit, and its slots are leased"
            module.notes.changed(node.lineno, module.text.of(keyword), text)
    module.edits += without_arguments(module.text, node, gone)
    if what == "rate_limit" and theirs.startswith("prefect.concurrency.asyncio"):
        end = module.text.end(node.func)
        module.edits.append(Edit(end, end, ".aio"))
    _limit_names(module, node, taken if what == "concurrency" else 0)


def _count(node: ast.expr) -> int:
    """What is written; 1 where it is known only when the code runs."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int) else 1


def _limit_names(module: Module, node: ast.Call, taken: int) -> None:
    given = node.args[0] if node.args else next((each.value for each in node.keywords if each.arg == "names"), None)
    names = given.elts if isinstance(given, ast.List | ast.Tuple) else [] if given is None else [given]
    if isinstance(given, ast.List | ast.Tuple):
        text = f"write slots by limit: {{{', '.join(f'{ast.unparse(each)}: {max(taken, 1)}' for each in names)}}}"
        module.notes.left(node.lineno, module.text.of(node), text)
    for name in names:
        if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            text = "its name is known only when the code runs; make the ConcurrencyLimit by hand"
            module.notes.left(node.lineno, module.text.of(node), text)
            continue
        ours = dns_name(name.value, MAX_LIMIT_NAME)
        if ours != name.value:
            module.replace(name, f'"{ours}"')
            module.notes.changed(node.lineno, module.text.of(node), f'the ConcurrencyLimit is named "{ours}"')
        module.limits[ours] = max(module.limits.get(ours, 0), taken)


def _attribute(module: Module, node: ast.Attribute) -> None:
    known = module.functions.get(node.value.id) if isinstance(node.value, ast.Name) else None
    if known is not None and node.attr not in SERVING and not _has(known, node.attr):
        text = f"a {known.kind} has no {node.attr} here; docs/flows.md tells what it has"
        module.notes.left(node.lineno, module.text.of(node), text)
    elif node.attr in STATE_QUESTIONS and module.imports and not hasattr(headrace.State, node.attr):
        text = f"ask isinstance(state, headrace.states.{STATE_QUESTIONS[node.attr]})"
        module.notes.left(node.lineno, module.text.of(node), text)


def _has(known: Decorated, attribute: str) -> bool:
    return hasattr(headrace.Flow if known.kind == "flow" else headrace.Task, attribute) or attribute in {
        "fn",
        "described",
    }
