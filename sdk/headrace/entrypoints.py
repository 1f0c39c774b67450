"""
From the name of a flow to the flow.

    etl:main            function `main` of module `etl`, found on sys.path
    flows/etl.py:main   the same of a file, relative to the code folder; its own folder is importable too
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from headrace.engine.blame import where
from headrace.engine.transitions import told
from headrace.errors import EntrypointError, UsageError
from headrace.flows import Flow, flow
from headrace.tasks import Task

T = TypeVar("T")
ADVICE = 'write "module:function" or "path/to/file.py:function", such as "etl:main" or "etl.py:main"'


def load_flow(entrypoint: str, *, code_dir: Path | None = None) -> Flow[..., Any]:
    """
    The flow of that name. A plain function is made a flow with default options.

    Args:
        code_dir: Where files and modules are looked for first. None: the working folder.
    Raises: EntrypointError: there is no such flow, or its module cannot be imported.
    """
    name = entrypoint.rpartition(":")[2]
    if not name.isidentifier():
        raise EntrypointError(entrypoint, ADVICE)
    return _as_flow(entrypoint, _member(entrypoint, load_module(entrypoint, code_dir=code_dir), name))


def load_task(function: str, *, entrypoint: str, code_dir: Path | None = None) -> Task[..., Any]:
    """
    The task of that name, "module:qualified.name" or "path/to/file.py:qualified.name".

    The flow's own module is loaded first, so that everything is found here as it is there.
    Raises: EntrypointError: there is no such task, or a module cannot be imported.
    """
    load_module(entrypoint, code_dir=code_dir)
    found: Any = load_module(function, code_dir=code_dir)
    for name in function.rpartition(":")[2].split("."):
        found = getattr(found, name, None)
    if not isinstance(found, Task):
        raise EntrypointError(function, "it is no task; decorate the function with @task where it is defined")
    return found


def load_module(entrypoint: str, *, code_dir: Path | None = None) -> ModuleType:
    """
    The module in front of the colon.

    Args:
        code_dir: As for load_flow.
    Raises: EntrypointError: there is none, or it cannot be imported.
    """
    place = entrypoint.rpartition(":")[0]
    if not place:
        raise EntrypointError(entrypoint, ADVICE)
    folder = (code_dir or Path.cwd()).resolve()
    _look_first_in(folder)
    return _from_file(entrypoint, folder / place) if place.endswith(".py") else _by_name(entrypoint, place, folder)


def _look_first_in(folder: Path) -> None:
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def _by_name(entrypoint: str, name: str, folder: Path) -> ModuleType:
    try:
        return _imported(entrypoint, partial(importlib.import_module, name))
    except EntrypointError as error:
        # The module itself is not there, or a package around it; a module that it imports is another matter.
        if f"{name}.".startswith(f"{_missing(error.__cause__)}."):
            problem = f'there is no module "{name}" in {folder} or on sys.path; {_neighbours(folder)}'
            raise EntrypointError(entrypoint, problem) from error.__cause__
        raise


def _missing(cause: BaseException | None) -> str:
    return (cause.name or "?") if isinstance(cause, ModuleNotFoundError) else "?"


def _from_file(entrypoint: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise EntrypointError(entrypoint, f'there is no file "{path}"; {_neighbours(path.parent)}')
    _look_first_in(path.parent)
    loaded = sys.modules.get(path.stem)
    if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == path.resolve():
        return loaded
    # A file named like a module that is in use already, such as json.py, must not take its place.
    name = path.stem if loaded is None else f"headrace_flow_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    _imported(entrypoint, partial(spec.loader.exec_module, module))
    return module


def _imported(entrypoint: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except (Exception, SystemExit) as error:
        place = where(error)
        at = f" ({place})" if place else ""
        raise EntrypointError(
            entrypoint, f"its module cannot be imported: {_explained(error)}{at}", reason="ImportError"
        ) from error


def _explained(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{told(error)}; install it in the flow's image, or put it beside the flow's file"
    if isinstance(error, SystemExit):
        return f'it calls sys.exit({error.code!r}) on import; put what runs under `if __name__ == "__main__":`'
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({Path(error.filename or '').name}:{error.lineno})"
    return told(error)


def _member(entrypoint: str, module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        flows = sorted(key for key, value in vars(module).items() if isinstance(value, Flow))
        known = f"its flows are: {', '.join(flows)}" if flows else "it has no flow; decorate one with @flow"
        raise EntrypointError(entrypoint, f'module "{module.__name__}" has no "{name}"; {known}') from None


def _as_flow(entrypoint: str, found: Any) -> Flow[..., Any]:
    if isinstance(found, Flow):
        return found
    if isinstance(found, Task):
        raise EntrypointError(entrypoint, f'"{found.name}" is a task; name a flow that calls it')
    try:
        made: Flow[..., Any] = flow(found)
    except UsageError as error:
        raise EntrypointError(entrypoint, f"it cannot be run as a flow: {error}") from error
    return made


def _neighbours(folder: Path) -> str:
    files = sorted(path.name for path in folder.glob("*.py")) if folder.is_dir() else []
    return f"Python files in {folder}: {', '.join(files[:10]) or 'none'}"
