"""The options of `@flow`, `@task` and `.with_options()`: kept, renamed, or taken away with a comment and a finding."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from headrace.engine.retries import Backoff, Retries
from headrace.errors import UsageError
from headrace.migration.edits import Edit, without_arguments
from headrace.migration.modules import Decorated, Function, Module, say
from headrace.migration.prefect_names import OPTIONS, RUNNER_TAKES, RUNNERS, Kind, Option, known_options
from headrace.rendering import retry_policy

BACKOFF: Final = "prefect.tasks.exponential_backoff"
MAX_BACKOFF_S: Final = 3600
"""Of our Backoff, where it is not given."""
UNKNOWN: Final = Option("", "there is no such option; write it into the function")


def rewrite_options(module: Module) -> None:
    """Edits every decorator and every `.with_options()`, and notes what a Flow's spec must say."""
    for function in module.functions.values():
        _refuse_shapes(module, function)
        if function.call is not None:
            _options(module, function.call, function.kind, f"@{function.kind} {function.node.name}")
            function.spec = _spec(module, function)
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            known = module.functions.get(node.func.value.id)
            if known and node.func.attr == "with_options":
                _options(module, node, known.kind, f"{known.node.name}.with_options()")
    _backoffs(module)


def _options(module: Module, call: ast.Call, kind: Kind, label: str) -> None:
    gone = []
    for keyword in call.keywords:
        if keyword.arg is None:
            module.notes.left(keyword.lineno, label, f"{module.text.of(keyword)}: write these options out")
        elif keyword.arg == "retry_jitter_factor":
            gone.append(keyword)
            _jitter(module, call, keyword, label)
        elif not _kept(module, keyword, kind, label):
            gone.append(keyword)
    for keyword in gone:
        module.settled.append((module.text.start(keyword), module.text.end(keyword)))
    module.edits += without_arguments(module.text, call, gone)


def _kept(module: Module, keyword: ast.keyword, kind: Kind, label: str) -> bool:
    name = str(keyword.arg)
    option = OPTIONS[kind].get(name, Option(name, UNKNOWN.advice))
    part = f"{label}: {name}"
    if name == "task_runner" and (runner := _runner(module, keyword.value)):
        module.notes.carried(keyword.lineno, part, runner)
        return True
    if isinstance(keyword.value, ast.Constant) and keyword.value.value is None:
        module.notes.carried(keyword.lineno, part, "None is the default")
        return False
    if option.ours and option.ours in known_options(kind):
        module.notes.carried(keyword.lineno, part, option.ours)
        if option.changed:
            module.notes.changed(keyword.lineno, part, option.changed)
        if option.ours != name:
            start = module.text.start(keyword)
            module.edits.append(Edit(start, start + len(name), option.ours))
        return True
    written = " ".join(module.text.of(keyword).split())
    if option.harmless or _says_nothing(keyword) or _runs_in_threads(keyword):
        module.notes.changed(keyword.lineno, f"{label}: {written}", option.advice)
    else:
        module.notes.left(keyword.lineno, f"{label}: {written}", option.advice)
        module.comment(_comment_line(module, keyword), f"{written} is left behind: {option.advice}")
    return False


def _says_nothing(keyword: ast.keyword) -> bool:
    return isinstance(keyword.value, ast.Constant) and keyword.value.value is False


def _runner(module: Module, value: ast.expr) -> str:
    """Our name of a runner that takes the same arguments; empty for others."""
    if not isinstance(value, ast.Call) or value.args:
        return ""
    ours = RUNNERS.get(module.named(value.func), "")
    written = frozenset(str(each.arg) for each in value.keywords)
    return ours if written in RUNNER_TAKES.get(ours, ()) else ""


def _runs_in_threads(keyword: ast.keyword) -> bool:
    """Task runners whose tasks run in this process, as all do here."""
    return keyword.arg == "task_runner" and bool(
        re.search("ThreadPool|Concurrent|Sequential", ast.unparse(keyword.value))
    )


def _comment_line(module: Module, keyword: ast.keyword) -> int:
    """The line of the decorator, or of the statement, that has the option."""
    for function in module.functions.values():
        call = function.call
        if call is not None and keyword in call.keywords:
            return call.lineno
    lines = [
        each.lineno for each in ast.walk(module.tree) if isinstance(each, ast.stmt) and each.lineno <= keyword.lineno
    ]
    return max(lines, default=keyword.lineno)


def _jitter(module: Module, call: ast.Call, keyword: ast.keyword, label: str) -> None:
    """Our Backoff has the jitter in it."""
    delay = next((each.value for each in call.keywords if each.arg == "retry_delay_seconds"), None)
    part = f"{label}: {module.text.of(keyword)}"
    if delay is None:
        module.notes.changed(keyword.lineno, part, "without a delay there is nothing to move")
        return
    share = _share(module, keyword.value)
    backoff = say(module, "Backoff")
    if isinstance(delay, ast.Call) and module.named(delay.func) == BACKOFF and _factor_of(delay) is not None:
        first = module.text.of(_factor_of(delay) or delay)
        module.replace(delay, f"{backoff}({first}, jitter={share})")
    elif isinstance(delay, ast.Constant) and isinstance(delay.value, int | float):
        module.replace(delay, f"{backoff}({module.text.of(delay)}, factor=1, jitter={share})")
    else:
        module.notes.left(keyword.lineno, part, "write the delays as Backoff(first_seconds, jitter=…)")
        module.comment(call.lineno, f"{module.text.of(keyword)} is left behind: write Backoff(first_seconds, jitter=…)")
        return
    module.notes.changed(keyword.lineno, part, "each delay is moved by up to this share of itself, evenly")


def _share(module: Module, value: ast.expr) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
        return f"{min(value.value, 1):g}"
    return f"min(1, {module.text.of(value)})"


def _factor_of(call: ast.Call) -> ast.expr | None:
    named = [each.value for each in call.keywords if each.arg == "backoff_factor"]
    return next(iter([*call.args, *named]), None)


def _backoffs(module: Module) -> None:
    """Every other `exponential_backoff(…)` becomes a Backoff without jitter."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or module.named(node.func) != BACKOFF or module.is_settled(node):
            continue
        factor = _factor_of(node)
        if factor is None:
            continue
        module.replace(node, f"{say(module, 'Backoff')}({module.text.of(factor)}, jitter=0)")
        text = f"no delay is longer than {MAX_BACKOFF_S} s, unless max_seconds says more"
        module.notes.changed(node.lineno, module.text.of(node), text)


def _spec(module: Module, function: Decorated) -> dict[str, Any]:
    """The retries and the timeout of a flow, as the operator keeps them."""
    if function.kind != "flow" or function.call is None:
        return {}
    options = {each.arg: each.value for each in function.call.keywords if each.arg}
    label = f"@flow {function.node.name}"
    spec: dict[str, Any] = {}
    try:
        retries = literal(options.get("retries")) or 0
        if retries:
            policy = retry_policy(Retries(retries, _delay(module, options)), label).to_api()
            spec["retries"] = policy
        timeout = literal(options.get("timeout_seconds"))
        if timeout:
            spec["timeoutSeconds"] = math.ceil(timeout)
    except (ValueError, UsageError) as error:
        text = f"write spec.retries and spec.timeoutSeconds of the Flow by hand: {error}"
        module.notes.left(function.decorator.lineno, label, text)
    return spec


def _delay(module: Module, options: Mapping[str, ast.expr]) -> Any:
    given = options.get("retry_delay_seconds")
    jitter = min(1.0, float(literal(options.get("retry_jitter_factor")) or 0))
    if isinstance(given, ast.Call) and module.named(given.func) == BACKOFF:
        return Backoff(float(literal(_factor_of(given)) or 0), jitter=jitter)
    value = literal(given) or 0
    if isinstance(value, list | tuple):
        return tuple(float(each) for each in value)
    return Backoff(float(value), factor=1, jitter=jitter) if jitter else (float(value),)


def literal(node: ast.expr | None) -> Any:
    """
    The value that is written; None for no node.

    Raises: ValueError: it is known only when the code runs.
    """
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        raise ValueError(f"{ast.unparse(node)} is known only when the code runs") from None


def _refuse_shapes(module: Module, function: Decorated) -> None:
    """Functions that our decorators do not take."""
    label, node = f"@{function.kind} {function.node.name}", function.node
    if any(isinstance(each, ast.Yield | ast.YieldFrom) for each in _own_nodes(node)):
        module.notes.left(node.lineno, label, "it yields; build a list and return it")
    if function.kind == "flow" and (node.args.vararg or node.args.posonlyargs):
        module.notes.left(node.lineno, label, "parameters of a flow have names: no *args, no positional-only ones")


def _own_nodes(function: Function) -> list[ast.AST]:
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
    return found
