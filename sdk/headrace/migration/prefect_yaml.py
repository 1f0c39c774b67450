"""A prefect.yaml: its deployments, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from headrace.errors import shown
from headrace.migration.errors import MigrationError
from headrace.migration.names import Names
from headrace.migration.prefect_deployments import Case, Code, built_images, deployments
from headrace.migration.report import Migrated, Notes, Output
from headrace.migration.yamlfiles import Lined, line_of, refuse_other_shapes

NEEDLESS: Final = {
    "name": "a project has no name here; namespaces and folders group Flows",
    "prefect-version": "headrace takes the place of prefect",
    "push": "push images in your build; nothing is uploaded here",
    "build": "images are built outside; keep the step in your build",
}
PLACES_FOR_ANCHORS: Final = {"definitions", "anchors"}


def migrated(
    path: Path, document: Any, code_of: Callable[[str, Case], Code | None], *, names: Names, namespace: str
) -> Migrated:
    """
    The manifests of a prefect.yaml.

    Args:
        code_of: What is known of an entrypoint; None where its file is not there.
    Raises: MigrationError: a deployment is broken, or would be refused by the API server.
    """
    notes = Notes(str(path))
    shapes = {"deployments": "list", "build": "list of mappings", "pull": "list of mappings"}
    refuse_other_shapes(document, shapes, notes.source, "")
    cases = [_case(each, index, document, notes) for index, each in enumerate(document["deployments"] or [])]
    manifests = deployments(
        cases,
        code_of,
        names=names,
        images=built_images(document.get("build") or []),
        namespace=namespace,
    )
    _beside(document, notes)
    output = Output(f"{path.stem}.headrace.yaml", manifests)
    return Migrated(str(path), "Prefect deployments", (output,) if manifests else (), tuple(notes.found))


def _case(raw: Any, index: int, document: Mapping[str, Any], notes: Notes) -> Case:
    part = f"deployments[{index}]"
    if not isinstance(raw, Mapping):
        line = line_of(document, "deployments")
        raise MigrationError(
            notes.source, line, part, f"it is {shown(raw)}, expected a mapping; write name and entrypoint"
        )
    if "pull" not in raw and document.get("pull"):
        raw = _with_pull(raw, document)
    return Case(raw, notes, f"deployments[{raw.get('name') or index}]")


def _with_pull(raw: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A deployment without pull steps has those of the file."""
    joined = Lined(raw)
    joined.line = line_of(raw)
    joined.lines = {**getattr(raw, "lines", {}), "pull": line_of(document, "pull")}
    joined["pull"] = document["pull"]
    return joined


def _beside(document: Mapping[str, Any], notes: Notes) -> None:
    for key, value in document.items():
        line = line_of(document, key)
        if key in NEEDLESS and value:
            notes.changed(line, key, NEEDLESS[key])
        elif key not in {"deployments", "pull", *PLACES_FOR_ANCHORS, *NEEDLESS} and not key.startswith((".", "x-")):
            notes.left(line, key, f"there is no such field here (it was {shown(value)})")
