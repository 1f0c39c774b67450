"""
A Python module of Prefect flows and tasks, rewritten for headrace.

Its tree says what to change, its text is changed in place. What has no counterpart keeps its import from prefect and is
reported with its lines; an option that is taken away leaves a comment above its decorator.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.migration.edits import Edit, Text, applied
from headrace.migration.errors import MigrationError
from headrace.migration.prefect_imports import Import, Use, imports_of, prefixes, uses_of
from headrace.migration.prefect_names import CHANGED, Kind, advice_for, counterpart
from headrace.migration.report import Notes

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Decorated:
    """A function with `@flow` or `@task`. `spec` has what a Flow's spec must say of its options."""

    kind: Kind
    node: Function
    decorator: ast.expr
    name: str
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def call(self) -> ast.Call | None:
        """The decorator with its options; None for a bare one."""
        return self.decorator if isinstance(self.decorator, ast.Call) else None


@dataclass(slots=True)
class Module:
    """A module under way: its text and tree, what is to change, and what was found."""

    text: Text
    tree: ast.Module
    notes: Notes
    imports: list[Import] = field(default_factory=list)
    uses: dict[ast.expr, Use] = field(default_factory=dict)
    functions: dict[str, Decorated] = field(default_factory=dict)
    edits: list[Edit] = field(default_factory=list)
    settled: list[tuple[int, int]] = field(default_factory=list)
    """Stretches that another edit replaces or takes away: names in them need no change of their own."""
    needed: dict[str, None] = field(default_factory=dict)
    """Names of headrace that the new code uses, beyond those that move, in order."""
    limits: dict[str, int] = field(default_factory=dict)
    """Limits that the code takes slots of, with the most that it takes at a time."""

    def named(self, node: ast.expr) -> str:
        """What Prefect calls the thing that a node names; empty for anything else."""
        use = self.uses.get(node)
        return use.theirs if use else ""

    def replace(self, node: ast.expr, text: str) -> None:
        """Puts other text in the place of a node."""
        start, end = self.text.start(node), self.text.end(node)
        self.edits.append(Edit(start, end, text))
        self.settled.append((start, end))

    def comment(self, line: int, text: str) -> None:
        """Writes a comment above a line."""
        start = self.text.line_start(line)
        self.edits.append(Edit(start, start, f"{self.text.indent(line)}# headrace migrate: {text}\n"))

    def is_settled(self, node: ast.expr) -> bool:
        """Whether the node goes with a stretch that is changed as a whole."""
        start = self.text.start(node)
        return any(first <= start < last for first, last in self.settled)


def opened(source: str, text: str, notes: Notes) -> Module:
    """
    The module with its imports, its uses of Prefect, and its flows and tasks.

    Raises: MigrationError: it is no Python.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise MigrationError(source, error.lineno or 0, "", f"no Python: {error.msg}; correct the module") from None
    module = Module(Text(text), tree, notes)
    module.imports = imports_of(tree)
    module.uses = {use.node: use for use in uses_of(tree, module.imports)}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            _note_decorated(module, node)
    return module


def _note_decorated(module: Module, node: Function) -> None:
    for decorator in node.decorator_list:
        callee = decorator.func if isinstance(decorator, ast.Call) else decorator
        ours = counterpart(module.named(callee))
        if ours in {"headrace.flow", "headrace.task"}:
            kind: Kind = "flow" if ours == "headrace.flow" else "task"
            module.functions[node.name] = Decorated(kind, node, decorator, _given_name(decorator) or node.name)


def _given_name(decorator: ast.expr) -> str:
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
            return keyword.value.value
    return ""


def rewritten(module: Module) -> str:
    """The module's new text: what moves is renamed, import statements follow."""
    staying: dict[Import, list[int]] = {}
    moving: dict[Import, str] = {}
    for use in module.uses.values():
        if not module.is_settled(use.node):
            _rename(module, use, staying, moving)
    _rewrite_imports(module, staying, moving)
    return applied(module.text.whole, module.edits)


def _rename(module: Module, use: Use, staying: dict[Import, list[int]], moving: dict[Import, str]) -> None:
    found = _moved(use.theirs)
    if found is None:
        staying.setdefault(use.by, []).append(use.node.lineno)
        text = advice_for(use.theirs)
        module.notes.left(use.node.lineno, module.text.of(use.node), text)
        return
    ours, rest = found
    if use.theirs in CHANGED:
        module.notes.changed(use.node.lineno, module.text.of(use.node), CHANGED[use.theirs])
    base = counterpart(use.by.theirs)
    if base is None or not f"{ours}.".startswith(f"{base}."):
        module.replace(use.node, ".".join(part for part in (_name_for(module, ours), rest) if part))
        return
    moving[use.by] = base
    new = ".".join(part for part in (_local(use.by, base), ours[len(base) + 1 :], rest) if part)
    if new != module.text.of(use.node):
        module.replace(use.node, new)


def _moved(theirs: str) -> tuple[str, str] | None:
    """Our dotted name for the longest part of Prefect's that moves, and the attributes that follow; None if none does."""
    for head, rest in prefixes(theirs):
        ours = counterpart(head)
        if ours is not None:
            return (ours, rest) if not rest or _takes_any_attribute(ours) else None
    return None


def _takes_any_attribute(ours: str) -> bool:
    """Whether it is a value, such as the name of a run, and no place of which the table of names tells what is in it."""
    return ours.count(".") == 3


def _local(by: Import, base: str) -> str:
    if by.alias.asname:
        return by.alias.asname
    return base.rpartition(".")[2]


def _name_for(module: Module, ours: str) -> str:
    """How the new code says a name of ours; its first part is imported."""
    parts = ours.split(".")[1:]
    module.needed[parts[0]] = None
    return ".".join(parts)


def say(module: Module, ours: str) -> str:
    """The name for the new code to use, such as "Backoff"; its import is added where it is not there."""
    return _name_for(module, f"headrace.{ours}")


def _rewrite_imports(module: Module, staying: Mapping[Import, Sequence[int]], moving: Mapping[Import, str]) -> None:
    statements: dict[ast.Import | ast.ImportFrom, list[Import]] = {}
    for each in module.imports:
        statements.setdefault(each.statement, []).append(each)
    used = {use.by for use in module.uses.values()}
    imported: set[str] = set()
    edits: dict[ast.Import | ast.ImportFrom, Edit] = {}
    for statement, names in statements.items():
        stay = [each for each in names if each in staying or _stays_unused(module, each, used)]
        move = {each: ours for each in names if (ours := moving.get(each) or _unused_move(each, used))}
        imported |= {_local(each, ours) for each, ours in move.items() if not each.alias.asname}
        edits[statement] = _statement_edit(module, statement, names, stay=stay, move=move)
    module.edits += edits.values()
    _add_imports(module, [name for name in module.needed if name not in imported], edits)


def _unused_move(each: Import, used: set[Import]) -> str | None:
    """A name that is only passed on, as by the `__init__` of a package, moves if it can."""
    return counterpart(each.theirs) if each not in used else None


def _stays_unused(module: Module, each: Import, used: set[Import]) -> bool:
    if each in used or counterpart(each.theirs) is not None:
        return False
    module.notes.left(each.alias.lineno, f"import of {each.theirs}", advice_for(each.theirs))
    return True


def _statement_edit(
    module: Module,
    statement: ast.Import | ast.ImportFrom,
    names: Sequence[Import],
    *,
    stay: Sequence[Import],
    move: Mapping[Import, str],
) -> Edit:
    text = module.text
    start, end = text.start(statement), text.end(statement)
    line, indent = statement.lineno, text.indent(statement.lineno)
    homes = {ours.rpartition(".")[0] for ours in move.values()}
    same = all(ours.rpartition(".")[2] == each.alias.name for each, ours in move.items())
    if isinstance(statement, ast.ImportFrom) and len(move) == len(names) and len(homes) == 1 and same and not stay:
        module.notes.carried(line, f"from {statement.module}", f"from {next(iter(homes))}")
        at = text.whole.index(str(statement.module), start)
        return Edit(at, at + len(str(statement.module)), next(iter(homes)))
    lines = _import_lines(statement, move) + _import_lines_of_theirs(statement, stay)
    if isinstance(statement, ast.Import) and len(names) < len(statement.names):
        lines += [
            f"import {_as(each.name, each.asname)}" for each in statement.names if each not in {n.alias for n in names}
        ]
    lines = [*_comments_in(text.whole[start:end]), *lines]
    if move:
        module.notes.carried(line, text.of(statement).split(" import")[0])
    if lines:
        return Edit(start, end, f"\n{indent}".join(lines))
    return _without_statement(module, statement)


def _import_lines(statement: ast.Import | ast.ImportFrom, move: Mapping[Import, str]) -> list[str]:
    if isinstance(statement, ast.Import):
        return list(dict.fromkeys(f"import {_as(ours, each.alias.asname)}" for each, ours in move.items()))
    homes: dict[str, list[str]] = {}
    for each, ours in move.items():
        home, _, name = ours.rpartition(".")
        homes.setdefault(home, []).append(_as(name, each.alias.asname))
    return [f"from {home} import {', '.join(dict.fromkeys(names))}" for home, names in homes.items()]


def _import_lines_of_theirs(statement: ast.Import | ast.ImportFrom, stay: Sequence[Import]) -> list[str]:
    names = [_as(each.alias.name, each.alias.asname) for each in stay]
    if not names:
        return []
    listed = ", ".join(names)
    return [f"import {listed}" if isinstance(statement, ast.Import) else f"from {statement.module} import {listed}"]


def _as(name: str, asname: str | None) -> str:
    return f"{name} as {asname}" if asname and asname != name else name


def _comments_in(text: str) -> list[str]:
    """Comments between the names of an import in parentheses; there are no strings in it."""
    return [f"#{line.partition('#')[2]}" for line in text.split("\n") if "#" in line]


def _without_statement(module: Module, statement: ast.stmt) -> Edit:
    """Takes the whole line; a block that would be empty gets a `pass`."""
    start, end = module.text.start(statement), module.text.end(statement)
    whole = module.text.whole
    begin = whole.rfind("\n", 0, start) + 1
    stop = whole.find("\n", end)
    alone = not whole[begin:start].strip() and stop >= 0 and not whole[end:stop].strip()
    at_top = statement in module.tree.body
    return Edit(begin, stop + 1, "") if alone and at_top else Edit(start, end, "pass")


def _add_imports(module: Module, names: Sequence[str], edits: Mapping[ast.Import | ast.ImportFrom, Edit]) -> None:
    """Imports what the new code needs beside what moved: where headrace is imported already, else above the first import."""
    if not names:
        return
    text, listed = module.text, ", ".join(names)
    at_top = sorted((each for each in edits if each in module.tree.body), key=lambda each: each.lineno)
    for statement in at_top:
        if edits[statement].text == "headrace" and not text.of(statement).endswith(")"):
            module.edits.append(Edit(text.end(statement), text.end(statement), f", {listed}"))
            return
    start = text.line_start(at_top[0].lineno if at_top else 1)
    module.edits.append(Edit(start, start, f"from headrace import {listed}\n"))
