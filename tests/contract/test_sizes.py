"""Functions and modules stay of a size that is read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for root in ("sdk", "operator") for path in (ROOT / root).rglob("*.py"))
MOST_LINES_OF_A_MODULE = 499
MOST_LINES_OF_A_FUNCTION = 60


def functions(module: Path) -> Iterator[tuple[str, int]]:
    """Each function and method with its lines, from `def` to its end."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


LENGTHS = {module: list(functions(module)) for module in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_and_its_functions_are_short(module):
    """What grows beyond that holds a second idea, which belongs elsewhere."""
    assert len(module.read_text().splitlines()) <= MOST_LINES_OF_A_MODULE
    assert [each for each in LENGTHS[module] if each[1] > MOST_LINES_OF_A_FUNCTION] == []


def test_most_functions_are_much_shorter():
    """Half of them have eight lines at most, and nine of ten fewer than thirty."""
    lengths = [length for each in LENGTHS.values() for _, length in each]
    assert median(lengths) <= 8
    assert quantiles(lengths, n=10)[-1] < 30
