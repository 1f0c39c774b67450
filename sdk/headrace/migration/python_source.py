"""A Python module as a source: its new text, and the manifests of what it deploys and of the limits that it takes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headrace.api.flow import MAX_CODE
from headrace.errors import UsageError
from headrace.migration.calls import rewrite_calls
from headrace.migration.checking import checked, manifest
from headrace.migration.decorators import rewrite_options
from headrace.migration.errors import MigrationError
from headrace.migration.modules import Module, opened, rewritten
from headrace.migration.names import Names
from headrace.migration.pauses import rewrite_pauses
from headrace.migration.prefect_deployments import Case, Code, deployments
from headrace.migration.report import Migrated, Notes, Outcome, Output
from headrace.migration.serving import served
from headrace.migration.starts import rewrite_starts
from headrace.migration.transacting import rewrite_transactions
from headrace.rendering import inline_files


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A module in its new form: `cases` are the deployments that it made."""

    module: Module
    text: str
    cases: tuple[Case, ...]


def rewrite(path: Path, text: str, entry: str, notes: Notes) -> Rewritten:
    """
    The module for headrace.

    Args:
        entry: Its path as an entrypoint names it.
    Raises: MigrationError: it is no Python.
    """
    # Trees count lines by "\n"; what was written with "\r\n" is written so again.
    crlf = "\r\n" in text
    module = opened(str(path), text.replace("\r\n", "\n"), notes)
    cases = served(module, entry)
    rewrite_options(module)
    rewrite_calls(module)
    rewrite_pauses(module)
    rewrite_starts(module)
    rewrite_transactions(module)
    new = rewritten(module)
    try:
        ast.parse(new)
    except SyntaxError as error:
        problem = (
            f"its new text would be no Python ({error.msg}); write one import or decorator a line, and migrate again"
        )
        raise MigrationError(str(path), error.lineno or 0, "", problem) from None
    return Rewritten(module, new.replace("\n", "\r\n") if crlf else new, tuple(cases))


def migrated(path: Path, text: str, *, place: PurePosixPath, names: Names, namespace: str) -> Migrated:
    """
    The rewritten module, and manifests where it deploys flows or takes slots of limits.

    Args:
        place: Where the module is written, below the chosen folder.
    Raises: MigrationError: it is no Python, or a manifest would be refused by the API server.
    """
    notes = Notes(str(path))
    new = rewrite(path, text, str(place), notes)
    if not new.module.imports:
        notes.changed(0, "module", "it imports nothing of prefect; it is copied as it is")
    manifests = (
        *limits(new.module.limits, names, notes),
        *deployments(
            new.cases,
            lambda entry, case: code_of(path, entry.rpartition(":")[2], case),
            names=names,
            images={},
            namespace=namespace,
        ),
    )
    outputs = [Output(str(place), text=new.text)]
    if manifests:
        outputs.append(Output(str(place.with_suffix(".headrace.yaml")), manifests))
    return Migrated(str(path), "Python module", tuple(outputs), tuple(notes.found))


def limits(taken: Mapping[str, int], names: Names, notes: Notes) -> list[dict[str, Any]]:
    """A ConcurrencyLimit for each limit that code takes slots of, unless another source brought it."""
    found = []
    for name, slots in taken.items():
        if not names.first(name, "ConcurrencyLimit"):
            continue
        spec = {"slots": slots} if slots else {"rate": {"count": 1, "perSeconds": 1}}
        found.append(checked(manifest("ConcurrencyLimit", {"name": name}, spec), notes, 0))
        text = "the limit is a stub that lets few in; write what Prefect's server says: prefect gcl ls"
        notes.left(0, f"ConcurrencyLimit {name}", text)
    return found


def code_of(path: Path, function: str, case: Case) -> Code | None:
    """
    What is known of a flow in this file: its options, and its new code with the modules beside it.

    Findings about the code go into the report of the module itself; that of `case` gets one if there are some to act on.
    """
    if not path.is_file():
        return None
    quiet = Notes(str(path))
    main = rewrite(path, path.read_text(encoding="utf-8"), path.name, quiet)
    found = main.module.functions.get(function)
    if found is None:
        case.left("entrypoint", f"{path} has no flow {function}; correct the entrypoint")
        return None
    if case.notes.source != str(path) and any(each.outcome is Outcome.LEFT for each in quiet.found):
        case.left(
            "entrypoint", f"parts of its module are left behind; they are told by: headrace migrate {path} --dry-run"
        )
    spec = {**found.spec, **({"apiAccess": "Enabled"} if main.module.limits else {})}
    try:
        files = _siblings(path)
    except UsageError as error:
        case.left("entrypoint", f"its code cannot go into the Flow: {error}")
        return Code(found.name, spec)
    if sum(map(len, files.values())) > MAX_CODE:
        case.left("entrypoint", f"its code has more than {MAX_CODE} characters; put it into an image")
        return Code(found.name, spec)
    return Code(found.name, spec, files)


def _siblings(path: Path) -> dict[str, str]:
    """The new text of a file and of the modules beside it that it imports, by name."""
    found = inline_files(path)
    return {name: rewrite(path.parent / name, text, name, Notes(name)).text for name, text in sorted(found.items())}
