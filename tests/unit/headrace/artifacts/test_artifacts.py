"""What flows leave for people to look at: where it is, who is told, and what cannot be one."""

import asyncio
import json
import threading
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import (
    UsageError,
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    flow,
    task,
    update_progress_artifact,
)
from headrace.engine.runners import Processes
from headrace.engine.session import using
from headrace.engine.showcase import Artifact, Showcase
from headrace.launch import Ending, ExitCode
from headrace.secrecy.redaction import MASK
from headrace.termination import ARTIFACTS_LIMIT, LIMIT, Usage, termination_message
from tests.unit.headrace.runs import a_session, log_of_runs

PNG = b"\x89PNG\r\n\x1a\n-rest"


@pytest.fixture
def laptop(tmp_path, monkeypatch):
    """A session outside of a cluster; its working folder is the test's."""
    monkeypatch.chdir(tmp_path)
    with using(a_session()) as session:
        yield session


@pytest.fixture
def stored(tmp_path):
    """The session of a pod with a results URL."""
    url = (tmp_path / "results").as_uri()
    fields = {"namespace": "team-a", "flow_run": "etl-7", "flow_run_uid": "u1", "repeats_flows": False}
    with using(a_session(results_url=url, **fields)) as session:
        yield session


@pytest.fixture
def poor():
    """The session of a pod without one."""
    with using(a_session(flow_run="etl-7", flow_run_uid="u1", repeats_flows=False)) as session:
        yield session


def content(artifact):
    return Path(urlsplit(artifact.url).path).read_bytes()


def test_a_text_on_a_laptop_is_a_file_of_the_run(laptop, tmp_path):
    """And its path is told; what the second attempt leaves takes its place."""

    @flow(name="etl")
    def main(text):
        return create_markdown_artifact(text, key="notes", description="What\n happened")

    with log_of_runs() as log:
        first, second = main("# one"), main("# two")
    assert first.url.startswith((tmp_path / ".headrace" / "artifacts" / "etl-").as_uri())
    assert first.url.endswith("/notes.md")
    assert (content(first), content(second)) == (b"# one", b"# two")
    assert second.description == "What happened"
    told = [record for record in log.records if record.event.startswith("artifact_")]
    assert [record.event for record in told] == ["artifact_created", "artifact_updated"]
    assert (told[0].artifact, told[0].kind, told[0].url, told[0].bytes) == ("notes", "markdown", first.url, 5)
    assert told[0].flow == "etl"


def test_a_folder_may_be_named(laptop, tmp_path, monkeypatch):
    """By a variable; outside of a run there is no folder of one."""
    monkeypatch.setenv("HEADRACE_ARTIFACTS_DIR", str(tmp_path / "mine"))
    assert create_markdown_artifact("x", key="a").url == (tmp_path / "mine" / "a.md").as_uri()


def test_with_a_results_url_it_lies_in_the_folder_of_the_run(stored, tmp_path):
    """Whatever the kind; the run is told of each."""
    text = create_markdown_artifact("# x", "notes")
    image = create_image_artifact(PNG, key="plot")
    assert text.url == (tmp_path / "results/team-a/etl-7/u1/artifacts/notes.md").as_uri()
    assert (content(text), content(image)) == (b"# x", PNG)
    assert image.url.endswith("/plot.png")
    assert stored.showcase.newest() == (text, image)


def test_a_run_on_a_laptop_keeps_it_beside_its_results(tmp_path):
    """A later run of that name replaces it."""
    with using(a_session(results_url=tmp_path.as_uri(), flow_run="etl-7")):
        url = flow(name="etl")(lambda: create_markdown_artifact("# x", "notes").url)()
    assert url == (tmp_path / "local/etl-7/etl/artifacts/notes.md").as_uri()


def test_in_a_pod_without_one_small_texts_go_to_the_log(poor):
    """Large ones, and images, are told and lost; the run goes on."""
    with log_of_runs() as log:
        small = create_markdown_artifact("# x", "small")
        create_markdown_artifact("x" * 20_000, "large")
        create_image_artifact(PNG, "plot")
    assert small.url == ""
    assert log.records[0].content == "# x"
    for record in log.records[1:]:
        assert (record.levelname, record.omitted) == ("WARNING", True)
        assert "set spec.results.url of the Flow to keep it" in record.getMessage()


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ([{"a": 1, "b": date(2026, 1, 1)}, {"a": None}], [{"a": 1, "b": "2026-01-01"}, {"a": None}]),
        ({"a": [1, 2], "b": ["x", "y"]}, [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        ([[1, "x"], (2, "y")], [[1, "x"], [2, "y"]]),
        ([], []),
        ({}, []),
        ([{"a": float("nan"), "b": object}], [{"a": "NaN", "b": str(object)}]),
    ],
)
def test_a_table_is_a_list_of_rows(stored, table, rows):
    """However it is given; as JSON."""
    found = json.loads(content(create_table_artifact(table, "rows")), parse_constant=str)
    assert found == rows


def test_links_are_noted_and_not_fetched(stored):
    """Also those of images."""
    link = create_link_artifact("https://example.org/x", "Report", key="report", description="of today")
    assert link == Artifact("report", "link", "https://example.org/x", "Report: of today")
    assert create_image_artifact(image_url="https://example.org/x.png").key == "image-0"


def test_an_image_may_be_a_file(stored, tmp_path):
    """Of a kind that browsers show."""
    (tmp_path / "plot.svg").write_text("<svg></svg>")
    assert create_image_artifact(tmp_path / "plot.svg").url.endswith("/image-0.svg")


@pytest.mark.parametrize(
    ("create", "told"),
    [
        (lambda: create_markdown_artifact("x", key="Rows per day"), "a key has at most 63 lower-case letters, digits"),
        (lambda: create_markdown_artifact("x", key="../x"), "a key has at most 63"),
        (lambda: create_markdown_artifact(b"x"), "markdown is b'x', expected text"),
        (lambda: create_table_artifact({"a": [1], "b": []}), r"the columns differ in length: \[0, 1\]"),
        (lambda: create_table_artifact([1, 2]), r"table is \[1, 2\], expected a list of dicts"),
        (lambda: create_link_artifact("example"), "is no URL of at most 2048 characters"),
        (lambda: create_image_artifact(b"text"), "is no PNG, JPEG, GIF, WebP or SVG"),
        (lambda: create_image_artifact(Path("/absent.png")), "cannot be read: No such file"),
        (lambda: create_progress_artifact(101), "progress is 101, expected per cent, from 0 to 100"),
        (lambda: create_progress_artifact(float("nan")), "expected per cent"),
        (lambda: create_progress_artifact(True), "expected per cent"),
    ],
)
def test_what_cannot_be_an_artifact_is_told_where_it_is_made(stored, create, told):
    """With what to write instead; nothing is kept of it."""
    with pytest.raises(UsageError, match=told):
        create()
    assert stored.showcase.newest() == ()


async def test_coroutines_await_them(stored):
    """The same, beside the event loop."""
    assert (await create_markdown_artifact.aio("x", key="a")).url.endswith("/a.md")
    assert create_markdown_artifact.__doc__.strip().startswith("Keeps a text in Markdown")


class StillClock:
    """Stands still until it is moved."""

    now = 0.0

    def now_s(self):
        """Where it stands."""
        return self.now


def test_progress_is_told_once_a_second_and_at_last():
    """However often it is set."""
    clock = StillClock()
    with using(a_session(clock=clock)) as session, log_of_runs() as log:

        @flow
        def main():
            progress = create_progress_artifact(0, key="load", description="Rows")
            for step in range(1, 301):
                clock.now = step / 100
                update_progress_artifact(progress, step / 4)
            update_progress_artifact(progress.key, 80)

        main()
        told = [record.progress for record in log.records if "artifact" in record.event]
        assert told == [0, 25, 50, 75, 80]
        assert session.showcase.newest() == (Artifact("load", "progress", "", "80 %: Rows"),)
        update_progress_artifact("load", 100, description="All rows")
        assert log.records[-1].progress == 100
        assert session.showcase.newest()[0].description == "100 %: All rows"


def test_nothing_in_an_artifact_shows_a_secret(stored, secrets):
    """Text, cells, links and descriptions."""
    secrets("hunter2", "12345678")
    text = create_markdown_artifact("login with hunter2", description="of hunter2")
    table = create_table_artifact([{"hunter2": "a hunter2", "n": 12345678}])
    link = create_link_artifact("https://etl:hunter2@example.org/", "hunter2")
    assert content(text) == f"login with {MASK}".encode()
    assert json.loads(content(table)) == [{MASK: f"a {MASK}", "n": MASK}]
    assert (text.description, link.url, link.description) == (f"of {MASK}", f"https://etl:{MASK}@example.org/", MASK)


@task
def reports(number):
    create_markdown_artifact(f"# {number}", key=f"notes-{number}")
    progress = create_progress_artifact(1, key="load")
    update_progress_artifact(progress, 2)


@flow(task_runner=Processes(max_workers=1))
def reports_elsewhere():
    reports.submit(1).result()


def test_the_run_is_told_of_artifacts_that_a_process_of_its_own_made(stored):
    """They are in its folder; the log has the last progress."""
    with log_of_runs() as log:
        reports_elsewhere()
    assert [each.key for each in stored.showcase.newest()] == ["notes-1", "load"]
    assert stored.showcase.newest()[1].description == "2 %"
    assert content(stored.showcase.newest()[0]) == b"# 1"
    assert [record.progress for record in log.records if hasattr(record, "progress")] == [1.0, 2.0]


def test_without_a_key_each_run_counts_for_itself(stored):
    """So that tasks in other processes, and later attempts, do not meet each other."""
    failures = []

    @task(retries=1)
    def Load_Rows():  # noqa: N802 - names of authors are not those of keys
        create_table_artifact([])
        if not failures:
            failures.append(1)
            raise ConnectionError

    @flow
    def main():
        create_link_artifact("https://example.org")
        create_link_artifact("https://example.org")
        Load_Rows()
        Load_Rows()

    main()
    keys = [each.key for each in stored.showcase.newest()]
    assert keys == ["link-0", "link-1", "load-rows-0-table-0", "load-rows-1-table-0"]


def test_the_newest_are_told_of_and_the_others_counted():
    """A key that comes again is the newest."""
    showcase = Showcase()
    assert [showcase.add(Artifact(f"a{number}", "link")) for number in range(34)] == [True] * 34
    assert not showcase.add(Artifact("a20", "table"))
    keys = [each.key for each in showcase.newest()]
    assert (len(keys), keys[0], keys[-1], showcase.left_out) == (32, "a2", "a20", 2)


@given(
    st.lists(
        st.builds(
            Artifact,
            st.text("abc", min_size=1, max_size=63),
            st.just("link"),
            st.text(max_size=2048),
            st.text(max_size=256),
        ),
        max_size=40,
    )
)
def test_the_termination_message_holds_the_newest_that_fit(artifacts):
    """And all of it is one message that the kubelet takes."""
    showcase = Showcase()
    for each in artifacts:
        showcase.add(each)
    ending = Ending("Succeeded", "Completed", "x" * 5000, ExitCode.SUCCEEDED, result="y" * 1000, showcase=showcase)
    message = termination_message(ending, Usage(1, 1))
    assert len(message) <= LIMIT
    said = json.loads(message)
    told = said.get("artifacts", [])
    assert [each["name"] for each in told] == [
        each.key for each in showcase.newest()[len(showcase.newest()) - len(told) :]
    ]
    assert len(told) + said.get("artifactsOmitted", 0) == len({each.key for each in artifacts}) or showcase.left_out
    assert (
        len(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))
        <= ARTIFACTS_LIMIT + 5
    )


def test_a_cancelled_flow_does_not_wait_for_a_storage_that_hangs():
    """Its pod would be killed before it has told how it ended."""
    hangs, go, waited = threading.Event(), threading.Event(), []

    class Hanging:
        def put(self, _key, _data):
            hangs.set()
            waited.append(go.wait(30))

    @flow
    async def main():
        await create_markdown_artifact.aio("x")

    async def cancelled():
        run = asyncio.ensure_future(main())
        assert await asyncio.to_thread(hangs.wait, 30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    try:
        with using(a_session(results_url="memory://results", open_storage=lambda _: Hanging())):
            asyncio.run(cancelled())
        assert not waited
    finally:
        go.set()
