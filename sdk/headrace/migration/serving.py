"""`.serve()`, `.deploy()` and `.to_deployment()`: what they say goes into manifests, the calls go."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from headrace.migration.decorators import literal
from headrace.migration.modules import Decorated, Module
from headrace.migration.prefect_deployments import Case
from headrace.migration.prefect_imports import dotted

CALLS: Final = {"serve", "deploy", "to_deployment"}
NEEDLESS: Final = {"pause_on_shutdown", "print_starting_message", "print_next_steps", "ignore_warnings", "webserver",
                   "entrypoint_type", "build", "push", "version", "enforce_parameter_schema"}  # fmt: skip
LEFT: Final = {"limit": "it bounds the runs of one process; write spec.concurrency into the Deployment"}
SAME: Final = {"description", "parameters", "tags", "paused", "triggers", "concurrency_limit", "work_queue_name"}
TIMES: Final = ("cron", "interval", "rrule")
CONSTRUCTORS: Final[Mapping[str, tuple[str, ...]]] = {
    "Cron": ("cron", "timezone", "day_or"),
    "CronSchedule": ("cron", "timezone", "day_or"),
    "Interval": ("interval", "anchor_date", "timezone"),
    "IntervalSchedule": ("interval", "anchor_date", "timezone"),
    "RRule": ("rrule", "timezone"),
    "RRuleSchedule": ("rrule", "timezone"),
}
"""Classes of prefect.schedules and prefect.client.schemas.schedules, with what their arguments are called in YAML."""


def served(module: Module, path: str) -> list[Case]:
    """
    The deployments that a module makes, in the words of a prefect.yaml; the calls are edited away.

    Args:
        path: Of the module, as an entrypoint names it.
    """
    cases = []
    for node in ast.walk(module.tree):
        known = _served_flow(module, node)
        if isinstance(node, ast.Call) and known is not None:
            cases.append(_case(module, node, known, path))
    for statement in ast.walk(module.tree):
        if isinstance(statement, ast.Expr):
            _edit(module, statement)
    return cases


def _served_flow(module: Module, node: ast.AST) -> Decorated | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in CALLS:
        return None
    known = module.functions.get(node.func.value.id) if isinstance(node.func.value, ast.Name) else None
    return known if known and known.kind == "flow" else None


def _case(module: Module, call: ast.Call, known: Decorated, path: str) -> Case:
    part = f"{known.node.name}.{call.func.attr if isinstance(call.func, ast.Attribute) else ''}()"
    given = {each.arg: each.value for each in call.keywords if each.arg}
    name = call.args[0] if call.args else given.pop("name", None)
    raw: dict[str, Any] = {
        "name": _value(module, name, part) or known.node.name,
        "entrypoint": f"{path}:{known.node.name}",
    }
    times: dict[str, ast.expr] = {key: given.pop(key) for key in TIMES if key in given}
    plural = [given.pop(key) for key in ("schedule", "schedules") if key in given]
    raw["schedules"] = _schedules(module, times, plural, part)
    pool = {"name": _value(module, given.pop("work_pool_name", None), part)}
    variables = _value(module, given.pop("job_variables", None), part) or {}
    image = _value(module, given.pop("image", None), part)
    variables |= {"image": image} if image else {}
    if pool["name"] or variables:
        raw["work_pool"] = {**pool, "job_variables": variables}
    for key, node in given.items():
        _take(module, raw, str(key), node=node, part=part)
    return Case(raw, module.notes, part, call.lineno)


def _take(module: Module, raw: dict[str, Any], key: str, *, node: ast.expr, part: str) -> None:
    if key in NEEDLESS:
        module.notes.changed(node.lineno, f"{part}: {key}", "the operator starts the runs; there is nothing to set")
    elif key in SAME or key == "global_limit":
        value = _value(module, node, part)
        if value is not None:
            raw["concurrency_limit" if key == "global_limit" else key] = value
    else:
        text = f"it was {ast.unparse(node)}; {LEFT.get(key, 'there is no such argument here')}"
        module.notes.left(node.lineno, f"{part}: {key}", text)


def _schedules(module: Module, times: Mapping[str, ast.expr], plural: list[ast.expr], part: str) -> list[Any]:
    found: list[Any] = []
    for key, node in times.items():
        each = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
        found += [{key: value} for item in each if (value := _value(module, item, part)) is not None]
    for node in plural:
        each = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
        found += [value for item in each if (value := _value(module, item, part)) is not None]
    return found


def _value(module: Module, node: ast.expr | None, part: str) -> Any:
    """What is written; None, with a finding, where it is known only when the code runs."""
    if node is None:
        return None
    try:
        return _evaluated(node)
    except ValueError as error:
        module.notes.left(node.lineno, part, f"{error}; write it into the manifest")
        return None


def _evaluated(node: ast.expr) -> Any:
    chain = dotted(node.func) if isinstance(node, ast.Call) else None
    if isinstance(node, ast.Call) and chain is not None:
        called = ([chain[0]] + chain[1])[-1]
        maker = _MAKERS.get(called)
        if maker is not None:
            return maker(node)
        if called in CONSTRUCTORS:
            names = CONSTRUCTORS[called]
            given = dict(zip(names, map(_evaluated, node.args), strict=False))
            return given | {str(each.arg): _evaluated(each.value) for each in node.keywords}
    return literal(node)


def _timedelta(node: ast.Call) -> timedelta:
    days = [float(literal(each)) for each in node.args]
    return timedelta(*days, **{str(each.arg): float(literal(each.value)) for each in node.keywords})


def _instant(node: ast.Call) -> str:
    """`datetime(2026, 1, 1, 7)` as text; its zone is that of the schedule."""
    parts = [int(literal(each)) for each in node.args] + [0] * (6 - len(node.args))
    if len(parts) != 6 or any(
        each.arg != "tzinfo" or ast.unparse(each.value)[-3:].upper() != "UTC" for each in node.keywords
    ):
        raise ValueError(f"{ast.unparse(node)} is known only when the code runs")
    zone = "+00:00" if node.keywords else ""
    return "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts) + zone


def _dict(node: ast.Call) -> dict[str, Any]:
    if node.args:
        raise ValueError(f"{ast.unparse(node)} is known only when the code runs")
    return {str(each.arg): literal(each.value) for each in node.keywords}


_MAKERS: Mapping[str, Callable[[ast.Call], Any]] = {"timedelta": _timedelta, "datetime": _instant, "dict": _dict}


def _edit(module: Module, statement: ast.Expr) -> None:
    """A statement that serves flows becomes a call of the flow, so that running the file still runs something."""
    call = statement.value.value if isinstance(statement.value, ast.Await) else statement.value
    if not isinstance(call, ast.Call):
        return
    known = _served_flow(module, call)
    if known is None and module.named(call.func) not in {"prefect.serve", "prefect.deploy"}:
        return
    new = _call_of(module, known, call) if known is not None else "pass"
    module.replace(statement.value, new)
    text = f"the operator starts the runs, by the manifests; here it is `{new}` now"
    module.notes.changed(statement.lineno, module.text.of(call).partition("(")[0] + "()", text)


def _call_of(module: Module, known: Decorated, call: ast.Call) -> str:
    given = next((each.value for each in call.keywords if each.arg == "parameters"), None)
    names = {key.value for key in given.keys if isinstance(key, ast.Constant)} if isinstance(given, ast.Dict) else set()
    arguments = known.node.args
    positional = arguments.args[: len(arguments.args) - len(arguments.defaults)]
    only_named = [
        each for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None
    ]
    if {each.arg for each in (*positional, *only_named)} - names:
        return "pass"
    if isinstance(known.node, ast.AsyncFunctionDef):
        return "pass"
    return f"{known.node.name}({f'**{module.text.of(given)}' if given is not None else ''})"
