"""
Run events of OpenLineage, as JSON types. Pure.

Source: specification 2-0-2 and its facets; tests/unit/headrace/lineage/test_events.py reads them with its own client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

from headrace.instants import milliseconds
from headrace.lineage.datasets import Dataset

EventType = Literal["START", "COMPLETE", "FAIL", "ABORT"]

SPEC: Final = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/"
FACETS: Final = "https://openlineage.io/spec/facets/"
SITE: Final = "https://headrace.dev"


def _version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:  # the sources alone
        return "0"


VERSION: Final = _version()
PRODUCER: Final = f"{SITE}/sdk/{VERSION}"

OF_INPUT: Final = {
    "inputStatistics": "1-0-0/InputStatisticsInputDatasetFacet",
    "dataQualityMetrics": "1-0-3/DataQualityMetricsInputDatasetFacet",
    "dataQualityAssertions": "1-1-0/DataQualityAssertionsDatasetFacet",
}
"""Facets of a dataset as an input of a run, and their schemas; they belong into `inputFacets`."""
OF_OUTPUT: Final = {"outputStatistics": "1-0-2/OutputStatisticsOutputDatasetFacet"}
OF_DATASET: Final = {
    "schema": "1-2-0/SchemaDatasetFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet",
    "documentation": "1-1-0/DocumentationDatasetFacet",
    "ownership": "1-0-1/OwnershipDatasetFacet",
    "version": "1-0-1/DatasetVersionDatasetFacet",
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "storage": "1-0-1/StorageDatasetFacet",
    "symlinks": "1-0-1/SymlinksDatasetFacet",
    "tags": "1-0-0/TagsDatasetFacet",
    "datasetType": "1-0-1/DatasetTypeDatasetFacet",
    "lifecycleStateChange": "1-0-1/LifecycleStateChangeDatasetFacet",
    "catalog": "1-1-0/CatalogDatasetFacet",
}


@dataclass(frozen=True, slots=True)
class Job:
    """What runs: a flow, or a task of it as "flow.task"."""

    namespace: str
    name: str

    def json(self) -> dict[str, str]:
        """The job as OpenLineage has it."""
        return {"namespace": self.namespace, "name": self.name}


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What an event says of a run, beside its datasets.

    Args:
        run_id: A UUID.
        kind: Flow or task.
        parent: The run and job that it is part of. None: it stands by itself.
        nominal_time: The time that the run stands for, aware. None: it has no schedule.
        own: What only this project knows: names, attempt.
        description: Of the job, in its author's words; may be empty.
        error: What it failed by: a sentence, and the traceback. None: it did not fail.
    """

    run_id: str
    job: Job
    kind: Literal["flow", "task"]
    parent: tuple[str, Job] | None = None
    nominal_time: datetime | None = None
    own: Mapping[str, Any] | None = None
    description: str = ""
    error: tuple[str, str] | None = None


def run_event(
    event_type: EventType,
    at: datetime,
    facts: Facts,
    *,
    inputs: Iterable[Dataset] = (),
    outputs: Iterable[Dataset] = (),
) -> dict[str, Any]:
    """The event. `at` is aware."""
    return {
        "eventType": event_type,
        "eventTime": milliseconds(at),
        "producer": PRODUCER,
        "schemaURL": f"{SPEC}RunEvent",
        "run": {"runId": facts.run_id, "facets": _run_facets(facts)},
        "job": {**facts.job.json(), "facets": _job_facets(facts)},
        "inputs": [_dataset(each, "inputFacets", OF_INPUT) for each in inputs],
        "outputs": [_dataset(each, "outputFacets", OF_OUTPUT) for each in outputs],
    }


def _run_facets(facts: Facts) -> dict[str, Any]:
    facets = {
        "processing_engine": _facet("1-1-1/ProcessingEngineRunFacet", {"name": "headrace", "version": VERSION}),
        "headrace": {"_producer": PRODUCER, "_schemaURL": f"{SPEC}RunFacet", **(facts.own or {})},
    }
    if facts.parent:
        run_id, job = facts.parent
        above = {"run": {"runId": run_id}, "job": job.json()}
        facets["parent"] = _facet("1-2-0/ParentRunFacet", {**above, "root": above})
    if facts.nominal_time:
        facets["nominalTime"] = _facet(
            "1-0-1/NominalTimeRunFacet", {"nominalStartTime": milliseconds(facts.nominal_time)}
        )
    if facts.error:
        message, trace = facts.error
        told = {"message": message, "programmingLanguage": "PYTHON", "stackTrace": trace}
        facets["errorMessage"] = _facet("1-0-1/ErrorMessageRunFacet", told)
    return facets


def _job_facets(facts: Facts) -> dict[str, Any]:
    kind = {"processingType": "BATCH", "integration": "HEADRACE", "jobType": facts.kind.upper()}
    facets = {"jobType": _facet("2-0-4/JobTypeJobFacet", kind)}
    if facts.description:
        facets["documentation"] = _facet("1-1-0/DocumentationJobFacet", {"description": facts.description})
    return facets


def _dataset(of: Dataset, directed: str, schemas: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {"namespace": of.namespace, "name": of.name}
    for name, value in of.facets.items():
        group, known = (directed, schemas[name]) if name in schemas else ("facets", OF_DATASET.get(name))
        told.setdefault(group, {})[name] = _facet(known, value)
    return told


def _facet(schema: str | None, value: Any) -> dict[str, Any]:
    """The facet with what all of them have; a value that is no object becomes one."""
    content = value if isinstance(value, Mapping) else {"value": value}
    url = f"{FACETS}{schema}.json#/$defs/{schema.partition('/')[2]}" if schema else f"{SPEC}DatasetFacet"
    return {"_producer": PRODUCER, "_schemaURL": url, **content}
