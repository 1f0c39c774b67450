"""Where a module uses names of Prefect, and under which names it imports them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Import:
    """A name that an import statement binds. `theirs` is Prefect's dotted name, `local` ours for it in the module."""

    statement: ast.Import | ast.ImportFrom
    alias: ast.alias
    theirs: str
    local: str


@dataclass(frozen=True, slots=True)
class Use:
    """A name or a chain of attributes that goes back to an import. `theirs` is what it names."""

    node: ast.expr
    theirs: str
    by: Import


def is_prefects(module: str) -> bool:
    """Whether a module belongs to Prefect or to one of its integrations."""
    first = module.partition(".")[0]
    return first == "prefect" or first.startswith("prefect_")


def imports_of(tree: ast.Module) -> list[Import]:
    """Every import of something of Prefect, wherever it stands."""
    found: list[Import] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_prefects(alias.name):
                    theirs = alias.name if alias.asname else alias.name.partition(".")[0]
                    found.append(Import(node, alias, theirs, alias.asname or theirs))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module and is_prefects(node.module):
            found += [Import(node, each, f"{node.module}.{each.name}", each.asname or each.name) for each in node.names]
    return sorted(found, key=lambda each: (each.alias.lineno, each.alias.col_offset))


def uses_of(tree: ast.Module, imports: list[Import]) -> list[Use]:
    """Every use of what these imports bind, the longest chain of attributes each."""
    visitor = _Uses({each.local: each for each in imports})
    visitor.visit(tree)
    return visitor.found


def dotted(node: ast.expr) -> tuple[str, list[str]] | None:
    """The name at the root of a chain of attributes, and the attributes; None for anything else."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    return (node.id, attributes) if isinstance(node, ast.Name) else None


@dataclass
class _Uses(ast.NodeVisitor):
    bound: dict[str, Import]
    found: list[Use] = field(default_factory=list)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)
        self._visit_inside([node.body], _parameters(node.args))

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for outside in (*node.decorator_list, node.args, *([node.returns] if node.returns else [])):
            self.visit(outside)
        self._visit_inside(node.body, _parameters(node.args) | _assigned(node.body))

    def _visit_inside(self, body: Sequence[ast.AST], own: set[str]) -> None:
        """A name of the function's own, such as the `flow` that a hook is called with, is not Prefect's."""
        around, self.bound = self.bound, {name: each for name, each in self.bound.items() if name not in own}
        for node in body:
            self.visit(node)
        self.bound = around

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not self._take(node):
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._take(node)

    def _take(self, node: ast.expr) -> bool:
        chain = dotted(node)
        by = self.bound.get(chain[0]) if chain else None
        if chain is None or by is None:
            return False
        self.found.append(Use(node, ".".join([by.theirs, *chain[1]]), by))
        return True


def _parameters(arguments: ast.arguments) -> set[str]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {each.arg for each in every if each is not None}


def _assigned(body: Sequence[ast.AST]) -> set[str]:
    """Names that a function binds itself, and so are its own throughout; not those of functions in it."""
    found: set[str] = set()
    waiting = [*body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.ListComp):
            waiting += ast.iter_child_nodes(node)
    return found


def prefixes(theirs: str) -> Iterator[tuple[str, str]]:
    """A dotted name and what begins it, longest first, each with the attributes that follow."""
    parts = theirs.split(".")
    for length in range(len(parts), 0, -1):
        yield ".".join(parts[:length]), ".".join(parts[length:])
