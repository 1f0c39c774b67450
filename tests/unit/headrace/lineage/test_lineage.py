"""What runs read and write: in the log, in the run's ledger, and as events."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from headrace import Processes, RetryRun, UsageError, flow, lineage, task
from headrace.engine.session import using
from headrace.lineage.sending import flush
from tests.unit.headrace.lineage.test_events import read_by_the_client
from tests.unit.headrace.listening import listening
from tests.unit.headrace.process_tasks import touches
from tests.unit.headrace.runs import a_session, log_of_runs

UID = "6f0c4a52-3d0b-4c1f-9d58-0a4f5f0e9b11"


@pytest.fixture
def session(monkeypatch):
    monkeypatch.delenv("OPENLINEAGE_URL", raising=False)
    made = a_session(
        flow_run="etl-7",
        flow_run_uid=UID,
        flow="etl",
        namespace="team-a",
        scheduled_time=datetime(2026, 1, 1, 7, tzinfo=UTC),
    )
    with using(made):
        yield made


@pytest.fixture
def listener(monkeypatch, session):
    with listening() as found:
        monkeypatch.setenv("OPENLINEAGE_URL", found.url)
        yield found


def summary(session):
    return session.ledger.summary()


def test_what_a_task_declares_is_recorded_with_its_run(session):
    """Texts are filled in from the parameters, functions are asked."""

    @task(reads="postgres://u:p@warehouse/shop/public/{table}", writes=lambda given: [f"s3://lake/{given['day']}.csv"])
    def export(table, day="2026-01-01"):
        pass

    @flow
    def main():
        export("orders")

    with log_of_runs() as log:
        main()
    assert summary(session) == {
        "inputs": ["postgres://warehouse:5432/shop.public.orders"],
        "outputs": ["s3://lake/2026-01-01.csv"],
    }
    told = [(line.event, line.task_run, line.dataset) for line in log.records if line.event.startswith("lineage")]
    assert told == [
        ("lineage_read", "export-0", "postgres://warehouse:5432/shop.public.orders"),
        ("lineage_written", "export-0", "s3://lake/2026-01-01.csv"),
    ]


def test_a_task_that_fails_has_read_and_not_written(session):
    """What it has begun to write is not to be relied on."""

    @task(reads="s3://lake/a", writes="s3://lake/b")
    def export():
        lineage.reads("s3://lake/c")
        lineage.writes("s3://lake/d")
        raise ValueError("boo")

    @flow
    def main():
        export(return_state=True)

    main()
    assert summary(session) == {"inputs": ["s3://lake/a", "s3://lake/c"]}


def test_what_a_failed_attempt_wrote_counts_if_the_next_one_writes_it_too(session):
    """Each is told once, whichever attempt it was."""
    tries = []

    @task(retries=1, reads="s3://lake/a", writes="s3://lake/b")
    def export():
        tries.append(1)
        if len(tries) == 1:
            lineage.writes("s3://lake/half")
            raise ValueError("boo")
        lineage.writes("s3://lake/whole")

    @flow
    def main():
        export()

    with log_of_runs() as log:
        main()
    assert summary(session) == {"inputs": ["s3://lake/a"], "outputs": ["s3://lake/b", "s3://lake/whole"]}
    assert [event for event in log.events if "lineage" in event] == [
        "lineage_read export-0",
        *["lineage_written export-0"] * 2,
    ]


def test_each_dataset_is_recorded_once_whoever_touches_it(session):
    """Tasks in threads and on loops, flows and subflows."""

    @task(reads="s3://lake/a")
    def load(_row):
        lineage.writes("s3://lake/b")

    @flow
    def inner():
        lineage.writes("s3://lake/c")

    @flow
    def main():
        load.map([1, 2, 3]).result()
        lineage.reads("s3://lake/d")
        inner()

    main()
    assert summary(session) == {
        "inputs": ["s3://lake/a", "s3://lake/d"],
        "outputs": ["s3://lake/b", "s3://lake/c"],
    }


def test_an_async_task_tells_as_well(session):
    """There is one engine."""

    @task(writes="s3://lake/{row}")
    async def load(row):
        lineage.reads("s3://lake/a")

    @flow
    async def main():
        await asyncio.gather(load(1), load(2))

    asyncio.run(main())
    assert summary(session) == {"inputs": ["s3://lake/a"], "outputs": ["s3://lake/1", "s3://lake/2"]}


def test_a_task_in_a_process_tells_as_well(session):
    """What it touches finds its way home, facets included, whatever is logged."""

    @flow(task_runner=Processes(max_workers=1))
    def main():
        touches.submit("a").result()

    main()
    assert summary(session) == {"inputs": ["s3://lake/a"], "outputs": ["s3://lake/declared", "s3://lake/b"]}


def test_many_datasets_are_counted(session):
    """A status names 16, a termination message takes a kilobyte."""

    @flow
    def main():
        for number in range(40):
            lineage.reads(f"s3://lake/{number}")
        lineage.writes(f"s3://lake/{'x' * 500}")

    main()
    told = summary(session)
    assert told["inputs"] == [f"s3://lake/{number}" for number in range(16)]
    assert told["more"] == 24
    short = session.ledger.summary(100)
    assert short == {"inputs": told["inputs"][: len(short["inputs"])], "more": 41 - len(short["inputs"])}


def test_outside_of_a_run_nothing_is_told():
    """A function of a task can be tested without a flow."""
    lineage.reads("s3://lake/a")
    with pytest.raises(UsageError, match=r"lineage.writes\(\): 'a' is no dataset"):
        lineage.writes("a")


def test_what_cannot_be_told_does_not_fail_the_task(session):
    """It is the author's function, and it is told where it broke."""

    @task(reads=lambda given: given["nothing"])
    def load():
        return 7

    @flow
    def main():
        return load()

    with log_of_runs() as log:
        assert main() == 7
    (line,) = (line for line in log.records if line.event == "lineage_failed")
    assert "what it reads is not known: KeyError: 'nothing'" in line.getMessage()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reads": "orders"}, "@task: reads: 'orders' is no dataset, expected a URI"),
        ({"writes": ["s3://lake/a", 3]}, "@task: writes: 3 is no dataset"),
        (
            {"writes": "s3://lake/{day}"},
            '@task: writes is "s3://lake/{day}", and {day} is no parameter; there are: {row}',
        ),
        ({"reads": "s3://lake/{"}, "cannot be read"),
    ],
)
def test_misuse_is_told_at_the_decorator(options, message):
    """Before anything runs."""
    with pytest.raises(UsageError) as refused:

        @task(**options)
        def load(row):
            pass

    assert message in str(refused.value)


def test_events_tell_of_the_flow_run_and_of_tasks_with_lineage(listener, session):
    """With ids that derive from the FlowRun, so that another attempt in another pod tells of the same runs."""

    @task(reads="s3://lake/a", writes="s3://lake/b")
    def export():
        lineage.writes("s3://lake/c", outputStatistics={"rowCount": 3})

    @task
    def plain():
        pass

    @flow
    def main():
        """Exports."""
        export()
        plain()

    main()
    flush(10)
    told = listener.events()
    for event in told:
        read_by_the_client(event)
    assert [(event["eventType"], event["job"]["name"]) for event in told] == [
        ("START", "etl"),
        ("START", "etl.export"),
        ("COMPLETE", "etl.export"),
        ("COMPLETE", "etl"),
    ]
    assert told[0]["run"]["runId"] == told[3]["run"]["runId"] == UID
    assert told[1]["run"]["facets"]["parent"]["run"]["runId"] == UID
    assert told[1]["run"]["runId"] == told[2]["run"]["runId"] != UID
    assert UUID(told[1]["run"]["runId"]).version == 5
    assert told[0]["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-01-01T07:00:00.000Z"
    assert {event["job"]["namespace"] for event in told} == {"team-a"}
    assert [each["name"] for each in told[2]["outputs"]] == ["b", "c"]
    assert told[0]["job"]["facets"]["documentation"]["description"] == "Exports."

    main()
    flush(10)
    assert [event["run"]["runId"] for event in listener.events()[4:]] == [event["run"]["runId"] for event in told]


def test_events_tell_how_it_ended(listener):
    """FAIL with the error, ABORT for what was told to stop; a run that goes on in another pod has not ended."""

    @task
    def export():
        lineage.reads("s3://lake/a")
        raise ValueError("boo")

    @flow
    def failing():
        export()

    @flow
    def stopping():
        raise KeyboardInterrupt

    @flow
    def again():
        raise RetryRun("busy")

    failing(return_state=True)
    with pytest.raises(KeyboardInterrupt):
        stopping()
    with using(a_session(repeats_flows=False)):
        again(return_state=True)
    flush(10)
    told = listener.events()
    assert [event["eventType"] for event in told] == ["START", "START", "FAIL", "FAIL", "START", "ABORT", "START"]
    for event in told[2:4]:
        error = read_by_the_client(event).run.facets["errorMessage"]
        assert (error.message, error.programmingLanguage) == ("ValueError: boo", "PYTHON")
        assert 'raise ValueError("boo")' in error.stackTrace


def test_a_flow_run_on_a_laptop_starts_and_ends_once(listener):
    """However often it is tried; its tasks start again with it."""
    tries = []

    @task(writes="s3://lake/a")
    def export():
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("boo")

    @flow
    def inner():
        lineage.writes("s3://lake/b")
        export()

    @flow(retries=1)
    def main():
        inner()

    with using(a_session()):
        main()
    flush(10)
    told = listener.events()
    assert [(event["eventType"], event["job"]["name"]) for event in told] == [
        ("START", "main"),
        ("START", "main.export"),
        ("FAIL", "main.export"),
        ("START", "main.export"),
        ("COMPLETE", "main.export"),
        ("COMPLETE", "main"),
    ]
    assert len({event["run"]["runId"] for event in told}) == 2
    assert [each["name"] for each in told[-1]["outputs"]] == ["b"]


def test_a_task_outside_a_flow_is_a_run_of_its_own(listener):
    """Without a parent; each attempt by itself."""
    tries = []

    @task(reads="s3://lake/a", retries=1)
    def export():
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("boo")

    with using(a_session()):
        export()
    flush(10)
    told = listener.events()
    assert [(event["eventType"], event["job"]["name"]) for event in told] == [
        ("START", "export"),
        ("FAIL", "export"),
        ("START", "export"),
        ("COMPLETE", "export"),
    ]
    assert len({event["run"]["runId"] for event in told}) == 2
    assert "parent" not in told[0]["run"]["facets"]


def test_a_secret_is_in_no_event(listener, secrets):
    """They leave the cluster."""
    secrets("hunter2-hunter2")

    @flow
    def main():
        lineage.reads("s3://lake/hunter2-hunter2")
        raise ValueError("hunter2-hunter2")

    with log_of_runs() as log:
        main(return_state=True)
    flush(10)
    assert len(listener.bodies) == 2
    assert b"hunter2" not in b"".join(listener.bodies)
    assert all("hunter2" not in str(line.__dict__.get("dataset")) for line in log.records)


def test_the_namespace_and_the_key_come_from_the_environment(listener, monkeypatch):
    """By the variables that OpenLineage's other clients know."""
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "shop")
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "key-1")
    monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "lineage/v2")

    @flow
    def main():
        pass

    main()
    flush(10)
    assert {event["job"]["namespace"] for event in listener.events()} == {"shop"}
    assert set(listener.paths) == {"/lineage/v2"}
    assert {each["authorization"] for each in listener.headers} == {"Bearer key-1"}


def test_disabled_means_nothing_is_sent(listener, monkeypatch):
    """Though there is a URL."""
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")

    @flow
    def main():
        lineage.reads("s3://lake/a")

    main()
    flush(10)
    assert listener.bodies == []
