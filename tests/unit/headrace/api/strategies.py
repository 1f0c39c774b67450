"""Hypothesis strategies for valid objects of every kind: all fields, all variants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from headrace.api.automation import OnCircuitOpen, OnOverdueRun, OnRun
from headrace.api.backfill import (
    Backfill,
    BackfillPhase,
    BackfillSpec,
    BackfillStatus,
    Budget,
    ListedPartition,
    MatrixAxis,
    Order,
    PartitionOutcomes,
    PartitionRange,
    PartitionRetries,
    PartitionSource,
    RangeParameters,
    RetryGroup,
    Weekday,
    Window,
)
from headrace.api.budget import BudgetAction, BudgetPeriod, PeriodBudget, Spent
from headrace.api.common import (
    ApiModel,
    EnvVar,
    FlowRef,
    InfrastructureRetryPolicy,
    LocalObjectRef,
    ObjectMeta,
    PullPolicy,
    Resources,
    RetryPolicy,
)
from headrace.api.conditions import Condition, ConditionType, Phase, Reason
from headrace.api.deployment import (
    ActiveRun,
    CatchUp,
    CatchUpPolicy,
    ConcurrencySpec,
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    History,
    LastRun,
    NextSchedule,
    OnConflict,
    Schedule,
    ScheduleMemory,
)
from headrace.api.flow import (
    ConfigMapSource,
    Flow,
    FlowParameters,
    FlowSource,
    FlowSpec,
    FlowStatus,
    ImageSource,
    InlineSource,
)
from headrace.api.flowrun import Attempt, FlowRun, FlowRunSpec, FlowRunStatus, RunResult, TaskCounts, Usage
from headrace.api.money import Cost
from headrace.api.trigger import Trigger

INT32 = 2**31 - 1
EXACT = 2**53
"""The API server writes a larger float without its exponent, which reads back as another integer."""
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,16}[a-z0-9])?", fullmatch=True)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
POSITIVE = st.integers(1, INT32)
COUNTS = st.integers(0, INT32)
SECONDS = st.integers(0, 604800)

JSON_VALUES: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-EXACT, EXACT) | st.floats(-EXACT, EXACT) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
JSON_OBJECTS: SearchStrategy[dict[str, Any]] = st.dictionaries(TEXT, JSON_VALUES, max_size=3)
QUANTITIES = st.integers(0, 10**9) | st.sampled_from(["500m", "0.5", ".5", "4Gi", "1e3", "2E-1", "100k", "3."])


def build(model: type[ApiModel], **fields: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Not `st.builds`, which would look for the camelCase names of a model's signature."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


def maybe(strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.none() | strategy


def keyed(strategy: SearchStrategy[Any], key: str = "name", max_size: int = 3) -> SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=max_size, unique_by=lambda item: getattr(item, key)).map(tuple)


def retry_policies(policy: type[RetryPolicy]) -> SearchStrategy[Any]:
    return build(
        policy,
        limit=st.integers(0, 100),
        delay_seconds=SECONDS,
        factor=st.floats(1, 100),
        max_delay_seconds=SECONDS,
        jitter=st.floats(0, 1),
    )


RESOURCES = build(
    Resources,
    requests=st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), QUANTITIES),
    limits=st.dictionaries(st.sampled_from(["cpu", "memory"]), QUANTITIES),
)
ENV_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
ENV = keyed(build(EnvVar, name=ENV_NAMES, value=maybe(TEXT)) | build(EnvVar, name=ENV_NAMES, value_from=JSON_OBJECTS))
REFERENCES = build(LocalObjectRef, name=NAMES)
FLOW_REFERENCES = build(FlowRef, name=NAMES, revision=maybe(NAMES))
CONDITIONS = keyed(
    build(
        Condition,
        type=st.sampled_from(ConditionType).map(str),
        status=st.sampled_from(["True", "False", "Unknown"]),
        observed_generation=maybe(COUNTS),
        last_transition_time=INSTANTS,
        reason=st.sampled_from(Reason).map(str),
        message=TEXT,
    ),
    key="type",
)

MODULES = st.sampled_from(["etl:main", "team.etl:main", "_a1:_f"])
FILES = st.sampled_from(["etl.py", "a-b.py", "x_1.py"])


@st.composite
def flow_specs(draw: st.DrawFn) -> FlowSpec:
    common = {
        "image_pull_policy": draw(maybe(st.sampled_from(PullPolicy))),
        "image_pull_secrets": draw(keyed(REFERENCES)),
        "parameters": draw(maybe(build(FlowParameters, schema_=maybe(JSON_OBJECTS), defaults=maybe(JSON_OBJECTS)))),
        "resources": draw(maybe(RESOURCES)),
        "retries": draw(retry_policies(RetryPolicy)),
        "infrastructure_retries": draw(retry_policies(InfrastructureRetryPolicy)),
        "timeout_seconds": draw(maybe(POSITIVE)),
        "service_account_name": draw(maybe(NAMES)),
        "env": draw(ENV),
        "env_from": draw(st.lists(JSON_OBJECTS, max_size=2).map(tuple)),
        "pod_template": draw(maybe(JSON_OBJECTS)),
    }
    return FlowSpec(**common, **draw(python_code() | container_code()))


@st.composite
def python_code(draw: st.DrawFn) -> dict[str, Any]:
    image = draw(maybe(st.just("example.org/etl:1")))
    place = draw(st.sampled_from(("image", "configMap", "inline")))
    if place == "image":
        entrypoint = draw(MODULES | FILES.map(lambda name: f"flows/{name}:main"))
        return {"entrypoint": entrypoint, "image": image, "source": FlowSource(image=ImageSource())}
    if place == "configMap":
        entrypoint = draw(MODULES | FILES.map(lambda name: f"{name}:main"))
        source = FlowSource(config_map=ConfigMapSource(name=draw(NAMES)))
        return {"entrypoint": entrypoint, "image": image, "source": source}
    files = draw(st.dictionaries(FILES, TEXT, min_size=1, max_size=3))
    entrypoint = draw(MODULES | st.sampled_from(sorted(files)).map(lambda name: f"{name}:main"))
    return {"entrypoint": entrypoint, "image": image, "source": FlowSource(inline=InlineSource(files=files))}


def container_code() -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"command": st.lists(TEXT, min_size=1, max_size=3).map(tuple), "image": st.just("busybox")},
        optional={"args": st.lists(TEXT, max_size=3).map(tuple)},
    )


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    crons = st.sampled_from(["@daily", "*/15 0-6,22 * JAN-mar Mon-FRI", "0  7 1 * 7", "59 23 31 12 0", "0 0 L * 5#2"])
    times = st.one_of(
        st.fixed_dictionaries({"cron": crons}),
        st.fixed_dictionaries({"interval_seconds": POSITIVE}, optional={"anchor": INSTANTS}),
        st.fixed_dictionaries({"rrule": st.just("FREQ=MONTHLY;BYDAY=-1FR")}, optional={"anchor": INSTANTS}),
    )
    return Schedule(
        name=draw(NAMES),
        time_zone=draw(st.sampled_from(["Etc/UTC", "Europe/London", "Australia/Lord_Howe", "UTC", "Etc/GMT+1"])),
        parameters=draw(maybe(JSON_OBJECTS)),
        suspend=draw(st.booleans()),
        jitter_seconds=draw(SECONDS),
        **draw(times),
    )


CATCH_UPS = build(CatchUp, policy=st.sampled_from(CatchUpPolicy), starting_deadline_seconds=maybe(POSITIVE)) | build(
    CatchUp, policy=st.just(CatchUpPolicy.ALL), max_runs=maybe(POSITIVE)
)

EVENTS = st.one_of(
    build(OnRun, phases=st.just((Phase.FAILED, Phase.CRASHED)), deployments=maybe(NAMES.map(lambda name: (name,)))).map(
        lambda on: {"run": on}
    ),
    build(OnOverdueRun, after_seconds=st.integers(1, 3600)).map(lambda on: {"late_run": on}),
    st.just({"circuit_open": OnCircuitOpen()}),
)


@st.composite
def triggers(draw: st.DrawFn) -> Trigger:
    return Trigger(
        name=draw(NAMES),
        filter=draw(maybe(st.just("event.run.attempts > 1"))),
        group_by=draw(maybe(st.just(("event.run.deployment",)))),
        deduplicate_seconds=draw(SECONDS),
        parameters=draw(maybe(JSON_OBJECTS)),
        suspend=draw(st.booleans()),
        **draw(EVENTS),
    )


DEPLOYMENT_SPECS = build(
    DeploymentSpec,
    flow_ref=FLOW_REFERENCES,
    parameters=maybe(JSON_OBJECTS),
    priority=st.integers(-INT32 - 1, INT32),
    schedules=keyed(schedules()),
    triggers=keyed(triggers()),
    suspend=st.booleans(),
    catch_up=CATCH_UPS,
    concurrency=maybe(build(ConcurrencySpec, limit=POSITIVE, on_conflict=st.sampled_from(OnConflict))),
    history=build(History, succeeded=COUNTS, failed=COUNTS, ttl_seconds=maybe(COUNTS)),
    budget=maybe(
        build(
            PeriodBudget,
            amount=st.sampled_from([250, "250.50"]),
            currency=st.sampled_from(["USD", "EUR"]),
            period=st.sampled_from(BudgetPeriod),
            time_zone=st.sampled_from(["Etc/UTC", "Europe/London"]),
            action=st.sampled_from(BudgetAction),
            alert_at_percent=st.integers(1, 100),
        )
    ),
    retries=maybe(retry_policies(RetryPolicy)),
    infrastructure_retries=maybe(retry_policies(InfrastructureRetryPolicy)),
    timeout_seconds=maybe(POSITIVE),
    resources=maybe(RESOURCES),
    env=ENV,
    pod_template=maybe(JSON_OBJECTS),
)

FLOW_RUN_SPECS = st.one_of(
    build(
        FlowRunSpec,
        flow_ref=flow_ref,
        deployment_ref=deployment_ref,
        parameters=maybe(JSON_OBJECTS),
        scheduled_time=maybe(INSTANTS),
        priority=maybe(st.integers(-INT32 - 1, INT32)),
        cancel=st.booleans(),
        suspend=st.booleans(),
    )
    for flow_ref, deployment_ref in ((FLOW_REFERENCES, st.none()), (st.none(), REFERENCES))
)

COSTS = build(Cost, amount=st.sampled_from(["0.000000", "12.345678"]), currency=st.sampled_from(["USD", "EUR"]))
FLOW_STATUSES = build(FlowStatus, observed_generation=maybe(COUNTS), revision=maybe(NAMES), conditions=CONDITIONS)
DEPLOYMENT_STATUSES = build(
    DeploymentStatus,
    observed_generation=maybe(COUNTS),
    conditions=CONDITIONS,
    active=keyed(build(ActiveRun, name=NAMES, uid=NAMES)),
    active_count=COUNTS,
    queued_count=COUNTS,
    next_schedules=keyed(build(NextSchedule, name=NAMES, time=INSTANTS)),
    spent=maybe(
        build(
            Spent,
            since=INSTANTS,
            until=INSTANTS,
            amount=st.sampled_from(["0.000000", "12.5"]),
            currency=st.sampled_from(["USD", "EUR"]),
            settled=st.sampled_from(["0.000000", "12.5"]),
            runs=COUNTS,
            per_run=maybe(st.just("0.25")),
            counted_until=maybe(INSTANTS),
            counted=st.lists(NAMES, max_size=3).map(tuple),
        )
    ),
    last_run=maybe(build(LastRun, name=NAMES, phase=st.sampled_from(Phase), reason=maybe(TEXT), time=INSTANTS)),
    schedules=keyed(
        build(
            ScheduleMemory,
            name=NAMES,
            fingerprint=NAMES,
            last_scheduled_time=maybe(INSTANTS),
            missed=COUNTS,
            last_missed_time=maybe(INSTANTS),
            last_missed_reason=maybe(TEXT),
        )
    ),
)
FLOW_RUN_STATUSES = build(
    FlowRunStatus,
    observed_generation=maybe(COUNTS),
    phase=maybe(st.sampled_from(Phase)),
    reason=maybe(TEXT),
    message=maybe(TEXT),
    conditions=CONDITIONS,
    flow_revision=maybe(NAMES),
    parameters=maybe(JSON_OBJECTS),
    attempts=keyed(
        build(
            Attempt,
            number=POSITIVE,
            pod=NAMES,
            node=maybe(NAMES),
            reason=maybe(TEXT),
            message=maybe(TEXT),
            exit_code=maybe(st.integers(0, 255)),
            started_at=maybe(INSTANTS),
            finished_at=maybe(INSTANTS),
            cost=maybe(COSTS),
        ),
        key="number",
    ),
    next_attempt_at=maybe(INSTANTS),
    tasks=maybe(
        build(TaskCounts, total=COUNTS, succeeded=COUNTS, failed=COUNTS, cached=COUNTS, retried=COUNTS, subflows=COUNTS)
    ),
    result=maybe(
        build(RunResult, value=JSON_VALUES) | build(RunResult, url=TEXT) | build(RunResult, omitted=st.just(True))
    ),
    usage=maybe(build(Usage, cpu_seconds=maybe(st.floats(0, 1e9)), max_memory_bytes=maybe(COUNTS))),
    cost=maybe(COSTS),
    queued_at=maybe(INSTANTS),
    started_at=maybe(INSTANTS),
    finished_at=maybe(INSTANTS),
)

ZONES = st.sampled_from(["Etc/UTC", "Europe/London", "Australia/Lord_Howe"])
BOUNDS = st.tuples(INSTANTS, INSTANTS).filter(lambda both: both[0] < both[1])
STEPS = st.just({"cron": "*/15 0-6 * * *"}) | st.builds(lambda seconds: {"interval_seconds": seconds}, POSITIVE)
RANGES = st.builds(
    lambda bounds, step, zone, names: PartitionRange(
        from_=bounds[0], to=bounds[1], time_zone=zone, parameter_names=names, **step
    ),
    BOUNDS,
    STEPS,
    ZONES,
    build(RangeParameters, start=st.sampled_from(["start", "_day"]), end=st.just("end")),
)
SCALARS = TEXT | st.booleans() | st.integers(-EXACT, EXACT) | st.floats(-EXACT, EXACT)
AXES = build(
    MatrixAxis, name=st.sampled_from(["shop", "day"]), values=st.lists(SCALARS, min_size=1, max_size=3).map(tuple)
)
PARTITIONS = st.one_of(
    build(PartitionSource, range=RANGES),
    build(
        PartitionSource,
        list_=st.lists(
            build(ListedPartition, name=maybe(NAMES), parameters=maybe(JSON_OBJECTS)), min_size=1, max_size=3
        ).map(tuple),
    ),
    build(PartitionSource, matrix=st.lists(AXES, min_size=1, max_size=2, unique_by=lambda axis: axis.name).map(tuple)),
)
WINDOWS = build(
    Window,
    from_=st.just("22:00"),
    to=st.just("06:30"),
    time_zone=ZONES,
    days=st.lists(st.sampled_from(Weekday), max_size=7, unique=True).map(tuple),
)
BACKFILL_SPECS = build(
    BackfillSpec,
    deployment_ref=REFERENCES,
    partitions=PARTITIONS,
    parameters=maybe(JSON_OBJECTS),
    order=st.sampled_from(Order),
    max_active=st.integers(1, 10_000),
    rate_per_minute=maybe(st.integers(1, 60_000)),
    max_failures=maybe(COUNTS),
    retries=build(PartitionRetries, limit=st.integers(0, 10), delay_seconds=SECONDS),
    budget=maybe(build(Budget, amount=st.sampled_from([250, "250.50"]), currency=st.sampled_from(["USD", "EUR"]))),
    window=maybe(WINDOWS),
    priority=maybe(st.integers(-INT32 - 1, INT32)),
    suspend=st.booleans(),
    cancel=st.booleans(),
    rerun_failed=st.integers(0, 99),
    keep_failed=st.integers(0, 1000),
    ttl_seconds_after_finished=maybe(COUNTS),
)
BACKFILL_STATUSES = build(
    BackfillStatus,
    phase=maybe(st.sampled_from(BackfillPhase)),
    reason=maybe(TEXT),
    conditions=CONDITIONS,
    total=maybe(COUNTS),
    succeeded=COUNTS,
    outcomes=maybe(build(PartitionOutcomes, succeeded=st.just("0-7"), failed=st.just("9")))
    | build(PartitionOutcomes, packed=st.just("eNo=")),
    retrying=st.lists(
        build(RetryGroup, attempt=st.integers(2, 11), not_before=INSTANTS, positions=st.just("3,5-6")), max_size=2
    ).map(tuple),
    progress=maybe(st.just("43%")),
    rate_per_minute=maybe(st.floats(0, 1e6)),
    eta=maybe(INSTANTS),
    cost=maybe(COSTS),
    projected_cost=maybe(COSTS),
    finished_at=maybe(INSTANTS),
)

METADATA = build(ObjectMeta, name=NAMES)
FLOWS = build(Flow, metadata=METADATA, spec=flow_specs(), status=maybe(FLOW_STATUSES))
DEPLOYMENTS = build(Deployment, metadata=METADATA, spec=DEPLOYMENT_SPECS, status=maybe(DEPLOYMENT_STATUSES))
FLOW_RUNS = build(FlowRun, metadata=METADATA, spec=FLOW_RUN_SPECS, status=maybe(FLOW_RUN_STATUSES))
BACKFILLS = build(Backfill, metadata=METADATA, spec=BACKFILL_SPECS, status=maybe(BACKFILL_STATUSES))
OBJECTS = st.one_of(FLOWS, DEPLOYMENTS, FLOW_RUNS, BACKFILLS)
