"""`help()` of all that authors import tells what the signature cannot: units, what absent means, errors."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import headrace
from headrace.deployments.calls import DeploymentOptions
from headrace.options import FlowOptions, TaskOptions

MODULES = ["headrace", "headrace.artifacts", "headrace.caching", "headrace.lineage", "headrace.results"]
NAMESPACES = ["headrace.runtime", "headrace.states"]
UNIT = re.compile(r"(seconds|_s|_bytes)$")
OPTIONS = [
    (headrace.flow, FlowOptions),
    (headrace.task, TaskOptions),
    (type(headrace.run_deployment).__call__, DeploymentOptions),
]


def public() -> Iterator[tuple[str, Any]]:
    """Each public name with what it stands for."""
    for name in MODULES:
        module = importlib.import_module(name)
        for public_name in module.__all__:
            value = getattr(module, public_name)
            if not isinstance(value, ModuleType):
                yield f"{name}.{public_name}", value
    for name in NAMESPACES:
        module = importlib.import_module(name)
        for public_name, value in vars(module).items():
            if not public_name.startswith("_") and getattr(value, "__module__", "") == name:
                yield f"{name}.{public_name}", value


def functions(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What can be called: a function itself, and the methods of a class or of a callable object."""
    function = inspect.unwrap(value)
    if inspect.isfunction(function):
        yield name, function
        return
    kind = value if inspect.isclass(value) else type(value)
    for method_name, member in vars(kind).items():
        bare = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        bare = getattr(bare, "func", bare)  # a cached property
        if inspect.isfunction(bare) and (not method_name.startswith("_") or method_name == "__call__"):
            yield f"{name}.{method_name}", bare


PUBLIC = dict(public())
FUNCTIONS = dict(each for name, value in PUBLIC.items() for each in functions(name, value))


def told(function: Any) -> str:
    return inspect.getdoc(function) or ""


def raised(function: Any) -> set[str]:
    """The classes that the function's own lines raise."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call))
    return {call.func.id for call in calls if isinstance(call.func, ast.Name) and call.func.id[0].isupper()}


@pytest.mark.parametrize("name", [*MODULES, *NAMESPACES])
def test_a_module_says_what_it_is_for(name):
    """In its first line."""
    assert (importlib.import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_name_promises_something(name):
    """Its own words, not those of a base class, and more than its name."""
    value = PUBLIC[name]
    own = vars(value if inspect.isclass(value) else type(value)).get("__doc__")
    text = told(value) if inspect.isroutine(value) else own or told(value)
    assert len(text.split()) >= 3, f"{name}: {text!r}"
    assert not text.startswith("The type of")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_promises_a_result_and_its_errors(name):
    """What its own lines raise is told, and what a number of seconds or bytes means."""
    function = FUNCTIONS[name]
    text = told(function)
    assert text, name
    if name.endswith("aio"):
        assert re.match("The same|As the function", text)  # `__call__` tells the rest
        return
    missing = {error for error in raised(function) if error not in text}
    assert not missing, f"{name} does not tell that it raises {missing}"
    silent = {each for each in inspect.signature(function).parameters if UNIT.search(each) and each not in text}
    assert not silent, f"{name} does not tell what {silent} means"


@pytest.mark.parametrize(("function", "options"), OPTIONS, ids=lambda value: value.__qualname__)
def test_help_tells_every_option(function, options):
    """Those of the TypedDict that type checkers read, and no others."""
    section = re.search(r"^Args:\n(.*?)^(?:Returns|Raises):", told(function), re.DOTALL | re.MULTILINE)
    assert section
    names = {name for line in re.findall(r"^    (\w[\w, ]*):", section[1], re.MULTILINE) for name in line.split(", ")}
    parameters = set(inspect.signature(function).parameters) - {"self", "function", "options"}
    assert names == set(options.__annotations__) | parameters
