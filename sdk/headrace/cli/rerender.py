"""`headrace rerender`: manifests that were rendered from Python, made current."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.recording import headed, recorded_in
from headrace.errors import UsageError

TIME_OUT_S = 120.0
"""For importing a flow's module; one that takes longer waits for something."""


def register(app: typer.Typer) -> None:
    """Adds `headrace rerender`."""
    app.command(name="rerender")(rerender)


def rerender(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Manifests, or folders with manifests. Else this folder."),
    ] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; show what would change.")] = False,
) -> None:
    """
    Renders again what `headrace render --output FILE` wrote, as its first line says. Other files are passed over.

    Exit status 1 if a manifest was out of date, so that a commit hook stops there.
    """
    stale = 0
    for file in _manifests(paths or [Path()]):
        old = _text(file)
        arguments = recorded_in(old)
        new = old if arguments is None else headed(_rendered(file, arguments), arguments)
        if new == old:
            continue
        stale += 1
        if check:
            print(_difference(file, old, new), end="")
        else:
            file.write_text(new, encoding="utf-8")
            print(f"{file}: rendered again", file=sys.stderr)
    raise typer.Exit(1 if stale else 0)


def _manifests(paths: list[Path]) -> list[Path]:
    """The files that are named, and the YAML files below the folders, but for hidden ones."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if not name.startswith("."))
            found += [Path(folder, name) for name in sorted(names) if name.endswith((".yaml", ".yml"))]
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {getattr(error, 'strerror', None) or error}; name manifests in UTF-8") from None


def _rendered(file: Path, arguments: list[str]) -> str:
    """In a process of its own, as flows of several manifests may live in modules of one name."""
    if "--output" in arguments or "-o" in arguments:
        raise UsageError(f"{file}: its first line names --output, and it is itself what is written; leave that out")
    modules = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(  # noqa: S603 - this program, and arguments that it checks itself
        [sys.executable, "-m", "headrace.cli", "render", *arguments],
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": modules},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIME_OUT_S,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().removeprefix("headrace: ") or f"exit status {done.returncode}"
        raise UsageError(f"{file}: {said}")
    return done.stdout


def _difference(file: Path, old: str, new: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), str(file), f"{file} (rendered)"
    )
    return "".join(lines)
