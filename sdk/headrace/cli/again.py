"""
A run once more: the FlowRun to create for one that ended.

Its name derives from the old run's uid, so that running one failure again twice, by two people at once even, is a
conflict and not two runs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.api import keys
from headrace.api.goes import CARRIED_FIELDS, OWN_LABELS
from headrace.errors import HeadraceError

SUFFIX = re.compile(r"-r[0-9a-f]{8}$")


class NotToBeRunAgain(HeadraceError):
    """This run cannot be run again. Attributes: `run` is its name, `problem` why, and what to do."""

    def __init__(self, run: str, problem: str) -> None:
        super().__init__(run, problem)
        self.run = run
        self.problem = problem

    def __str__(self) -> str:
        return f"run {self.run}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Changes:
    """
    What is to be different this time.

    Args:
        parameters: In place of the old ones; None: these.
        overrides: Parameters that win over either.
        same_revision: The Flow's revision of then, not the latest.
    """

    parameters: Mapping[str, Any] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    same_revision: bool = False


def once_more(run: Mapping[str, Any], changes: Changes, *, go: int = 1) -> dict[str, Any]:
    """
    The FlowRun that runs it again.

    Args:
        run: The FlowRun as the API returned it.
        go: Which new go of it this is, from 1; the name derives from it.
    Raises: NotToBeRunAgain.
    """
    metadata, spec = run["metadata"], run["spec"]
    _check(run, changes)
    new = {name: spec[name] for name in CARRIED_FIELDS if name in spec}
    parameters = {**(spec.get("parameters") or {} if changes.parameters is None else changes.parameters)}
    parameters.update(changes.overrides)
    new.pop("parameters", None)
    if parameters:
        new["parameters"] = parameters
    if changes.same_revision:
        new["flowRef"] = {**new["flowRef"], "revision": run["status"]["flowRevision"]}
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name not in OWN_LABELS}
    return {
        "apiVersion": keys.API_VERSION,
        "kind": keys.FLOWRUNS.kind,
        "metadata": {
            "name": name_of_go(metadata["name"], metadata["uid"], go),
            "namespace": metadata["namespace"],
            "labels": {**labels, keys.RERUN_OF_LABEL: metadata["name"]},
        },
        "spec": new,
    }


def name_of_go(name: str, uid: str, go: int) -> str:
    """The name of a run's n-th new go; of a go of a go, the suffix is replaced and does not pile up."""
    from headrace.api.flowrun import MAX_NAME  # noqa: PLC0415 - the API's models; other commands start without them

    digest = hashlib.sha256(f"{uid}/{go}".encode()).hexdigest()[:8]
    suffix = f"-r{digest}"
    return SUFFIX.sub("", name)[: MAX_NAME - len(suffix)].rstrip("-.") + suffix


def _check(run: Mapping[str, Any], changes: Changes) -> None:
    from headrace.api.conditions import FINISHED  # noqa: PLC0415 - as above

    name, spec, status = run["metadata"]["name"], run["spec"], run.get("status") or {}
    phase = status.get("phase")
    if "task" in spec:
        parent = spec["task"]["parent"]["name"]
        raise NotToBeRunAgain(name, f"is a task of run {parent}; run that again: headrace rerun {parent}")
    if phase not in FINISHED:
        raise NotToBeRunAgain(name, f"is {phase or 'Pending'}; wait for its end, or cancel it: headrace cancel {name}")
    if changes.same_revision and "deploymentRef" in spec:
        deployment = spec["deploymentRef"]["name"]
        raise NotToBeRunAgain(
            name,
            f"its revision is for Deployment {deployment} to say; pin it there (spec.flowRef.revision), "
            "or leave --same-revision out",
        )
    if changes.same_revision and not status.get("flowRevision"):
        raise NotToBeRunAgain(name, "it never had a revision; leave --same-revision out")
