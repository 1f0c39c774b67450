"""Events, as OpenLineage's own client reads them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from openlineage.client import event_v2
from openlineage.client.generated import (
    base,
    documentation_job,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
)

from headrace.lineage import Dataset
from headrace.lineage.events import OF_DATASET, OF_INPUT, OF_OUTPUT, Facts, Job, run_event

AT = datetime(2026, 1, 1, 8, 30, tzinfo=timezone(timedelta(hours=1)))
RUN, PARENT = "6f0c4a52-3d0b-4c1f-9d58-0a4f5f0e9b11", "7b1d5b63-4e1c-5d20-8e69-1b5060fa0c22"
FACETS = {
    "parent": parent_run.ParentRunFacet,
    "nominalTime": nominal_time_run.NominalTimeRunFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "processing_engine": processing_engine_run.ProcessingEngineRunFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "documentation": documentation_job.DocumentationJobFacet,
    "schema": schema_dataset.SchemaDatasetFacet,
    "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "headrace": base.RunFacet,
}


def facets_of(facets):
    """The facets, read by the classes that OpenLineage generates from their schemas."""
    read = {}
    for name, told in facets.items():
        content = {key: value for key, value in told.items() if not key.startswith("_")}
        own = name == "headrace"
        read[name] = FACETS[name](producer=told["_producer"], **({} if own else content))
        assert told["_schemaURL"] == read[name]._get_schema()
    return read


def read_by_the_client(event):
    """The event as the client's own, which refuses what its specification does not know."""
    job = event["job"]
    return event_v2.RunEvent(
        eventType=event_v2.RunState[event["eventType"]],
        eventTime=event["eventTime"],
        run=event_v2.Run(runId=event["run"]["runId"], facets=facets_of(event["run"]["facets"])),
        job=event_v2.Job(namespace=job["namespace"], name=job["name"], facets=facets_of(job["facets"])),
        producer=event["producer"],
        inputs=[
            event_v2.InputDataset(
                each["namespace"],
                each["name"],
                inputFacets=facets_of(each.get("inputFacets", {})),
                facets=facets_of(each.get("facets", {})),
            )
            for each in event["inputs"]
        ],
        outputs=[
            event_v2.OutputDataset(
                each["namespace"],
                each["name"],
                outputFacets=facets_of(each.get("outputFacets", {})),
                facets=facets_of(each.get("facets", {})),
            )
            for each in event["outputs"]
        ],
    )


def the_event(**changes):
    facts = {
        "run_id": RUN,
        "job": Job("team-a", "etl.load"),
        "kind": "task",
        "parent": (PARENT, Job("team-a", "etl")),
        "nominal_time": AT,
        "own": {"flowRun": "etl-7", "attempt": 2},
        "description": "Loads.",
        "error": ("ValueError: boo", "Traceback …"),
        **changes,
    }
    return run_event(
        "FAIL",
        AT,
        Facts(**facts),
        inputs=[Dataset("s3://lake", "orders", {"inputStatistics": {"rowCount": 3}})],
        outputs=[
            Dataset(
                "postgres://warehouse:5432",
                "shop.public.orders",
                {
                    "outputStatistics": {"rowCount": 3, "size": 10},
                    "schema": {"fields": [{"name": "id", "type": "int"}]},
                },
            )
        ],
    )


def test_the_client_reads_what_is_told():
    """All of it: names, ids, times, facets with their schemas."""
    event = the_event()
    read = read_by_the_client(event)
    assert event["schemaURL"] == read.schemaURL
    assert (read.run.runId, read.job.name, read.eventTime) == (RUN, "etl.load", "2026-01-01T07:30:00.000Z")
    assert read.run.facets["parent"].run["runId"] == PARENT
    assert read.run.facets["nominalTime"].nominalStartTime == "2026-01-01T07:30:00.000Z"
    assert read.run.facets["errorMessage"].message == "ValueError: boo"
    assert event["run"]["facets"]["headrace"]["flowRun"] == "etl-7"
    assert read.job.facets["jobType"].jobType == "TASK"
    assert read.inputs[0].inputFacets["inputStatistics"].rowCount == 3
    assert read.outputs[0].outputFacets["outputStatistics"].size == 10
    assert read.outputs[0].facets["schema"].fields == [{"name": "id", "type": "int"}]


def test_what_is_not_known_is_left_out():
    """A flow on a laptop has no parent, no schedule and no error."""
    event = the_event(parent=None, nominal_time=None, own=None, description="", error=None, kind="flow")
    read = read_by_the_client(event)
    assert set(read.run.facets) == {"processing_engine", "headrace"}
    assert set(read.job.facets) == {"jobType"}


def test_a_facet_that_nobody_knows_is_told_as_a_plain_one():
    """Authors may have their own; what is no object becomes one."""
    dataset = Dataset("s3://lake", "x", {"team": "a", "cost": {"eur": 3}})
    told = run_event("COMPLETE", datetime.now(UTC), Facts(RUN, Job("a", "b"), "flow"), outputs=[dataset])["outputs"][0]
    assert told["facets"]["team"]["value"] == "a"
    assert told["facets"]["cost"]["eur"] == 3
    assert told["facets"]["cost"]["_schemaURL"].endswith("#/$defs/DatasetFacet")


@pytest.mark.parametrize(("known", "base_class"), [(OF_INPUT, "Input"), (OF_OUTPUT, "Output"), (OF_DATASET, "")])
def test_the_schemas_are_those_of_the_client(known, base_class):
    """Of each facet that we name, the version that it has now or had."""
    import importlib  # noqa: PLC0415 - for this test
    import pkgutil  # noqa: PLC0415 - as above

    from openlineage.client import generated  # noqa: PLC0415 - as above

    urls = set()
    for module in pkgutil.iter_modules(generated.__path__):
        for value in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if hasattr(value, "_get_schema"):
                urls.add(value._get_schema())
    for schema in known.values():
        name = schema.partition("/")[2]
        assert any(url.endswith(f"{schema}.json#/$defs/{name}") for url in urls), f"{schema} {base_class}"
