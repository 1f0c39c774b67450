"""Modules of flows and tasks: what is rewritten, what is told, and what stays."""

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.migration.edits import Edit, Text, applied, without_arguments
from headrace.migration.errors import MigrationError
from headrace.migration.prefect_names import SYMBOLS, advice_for, offered
from headrace.migration.report import Outcome
from tests.unit.headrace.migration.migrating import manifests_of, migrated_text, module_of, texts


@pytest.fixture
def rewritten(tmp_path):
    """The new text of a module, and all that came of it."""

    def rewrite(text):
        found = migrated_text(tmp_path, "etl.py", textwrap.dedent(text).lstrip())
        ast.parse(module_of(found))
        return module_of(found), found

    return rewrite


CASES = {
    "a name that has another name here": (
        "from prefect.tasks import exponential_backoff as eb\nX = eb(3)",
        "from headrace import Backoff\nX = Backoff(3, jitter=0)",
    ),
    "a part of an import": (
        "from prefect import flow, get_client\nget_client()",
        "from headrace import flow\nfrom prefect import get_client\nget_client()",
    ),
    "a package under another name": (
        "import prefect as p\n@p.flow\ndef f(): ...",
        "import headrace as p\n@p.flow\ndef f(): ...",
    ),
    "a module under another name": (
        "import prefect.runtime as rt\nrt.flow_run.run_count",
        "import headrace.runtime as rt\nrt.flow_run.attempt",
    ),
    "imports beside others": (
        "import os, prefect\n@prefect.task\ndef f(): os.getpid()",
        "import headrace\nimport os\n@headrace.task\ndef f(): os.getpid()",
    ),
    "an import in a function": (
        "def f():\n    from prefect import get_run_logger\n    return get_run_logger()",
        "def f():\n    from headrace import get_run_logger\n    return get_run_logger()",
    ),
    "comments between names": (
        "from prefect import (\n    flow,  # ours\n    get_client,  # theirs\n)\nget_client()",
        "# ours\n# theirs\nfrom headrace import flow\nfrom prefect import get_client\nget_client()",
    ),
    "a pause": (
        "from prefect import flow, pause_flow_run\n@flow\ndef f():\n    pause_flow_run(A, timeout=60, poll_interval=1, key='ok')",
        "from headrace import flow, pause\n@flow\ndef f():\n    pause(wait_for_input=A, timeout_seconds=60, name='ok')",
    ),
    "a pause that is awaited": (
        "from prefect.flow_runs import suspend_flow_run\nasync def f():\n    await suspend_flow_run(wait_for_input=A)",
        "from headrace import pause\nasync def f():\n    await pause.aio(wait_for_input=A)",
    ),
    "an option that is taken away from the end": (
        "from prefect import task\n@task(retries=3, version='1')\ndef f(): ...",
        "from headrace import task\n@task(retries=3)\ndef f(): ...",
    ),
    "an option that is taken away from the beginning": (
        "from prefect import task\n@task(version='1', retries=3)\ndef f(): ...",
        "from headrace import task\n@task(retries=3)\ndef f(): ...",
    ),
    "lines of options": (
        "from prefect import task\n@task(\n    retries=3,  # thrice\n    version='1',  # gone\n    name='x',\n)\ndef f(): ...",
        "from headrace import task\n@task(\n    retries=3,  # thrice\n    name='x',\n)\ndef f(): ...",
    ),
    "a delay with jitter": (
        "from prefect import task\n@task(retries=2, retry_delay_seconds=30, retry_jitter_factor=2)\ndef f(): ...",
        "from headrace import task, Backoff\n@task(retries=2, retry_delay_seconds=Backoff(30, factor=1, jitter=1))\ndef f(): ...",
    ),
    "a renamed option": (
        "from prefect import flow\n@flow(on_completion=[print], on_crashed=[print])\ndef f(): ...",
        "from headrace import flow\n@flow(on_success=[print], on_crash=[print])\ndef f(): ...",
    ),
    "options of a copy": (
        "from prefect import task\n@task\ndef f(): ...\ng = f.with_options(retries=2, version='2')",
        "from headrace import task\n@task\ndef f(): ...\ng = f.with_options(retries=2)",
    ),
    "a rate in a coroutine": (
        "from prefect.concurrency.asyncio import rate_limit\nasync def f():\n    await rate_limit('api', occupy=2, strict=True)",
        "from headrace import rate_limit\nasync def f():\n    await rate_limit.aio('api', count=2)",
    ),
    "letters beyond ASCII before a change": (
        "from prefect import task\n@task(name='größe', version='1')\ndef f(): 'é'",
        "from headrace import task\n@task(name='größe')\ndef f(): 'é'",
    ),
    "a timeout of futures in a list": (
        "from prefect import task\n@task\ndef f(): ...\nfor x in [f.submit()]: ...\nxs = f.map([1])\nxs.result(timeout=3)",
        "from headrace import task\n@task\ndef f(): ...\nfor x in [f.submit()]: ...\nxs = f.map([1])\nxs.result(timeout_seconds=3)",
    ),
    "names of a function's own": (
        (
            "from prefect import flow\nfrom prefect.runtime import flow_run\ndef h(flow, flow_run, state): flow.x, flow_run.y\n"
            "g = lambda flow: flow.z\ndef k():\n    flow_run = 1\n    return flow_run.bit_length()\nflow_run.name"
        ),
        (
            "from headrace import flow\nfrom headrace.runtime import flow_run\ndef h(flow, flow_run, state): flow.x, flow_run.y\n"
            "g = lambda flow: flow.z\ndef k():\n    flow_run = 1\n    return flow_run.bit_length()\nflow_run.name"
        ),
    ),
    "what is not Prefect's": (
        "from concurrent.futures import Future\ndef f(task: Future): return task.result(timeout=3)",
        "from concurrent.futures import Future\ndef f(task: Future): return task.result(timeout=3)",
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=list(CASES))
def test_a_module_is_rewritten(rewritten, before, after):
    """Only what must change does."""
    assert rewritten(before + "\n")[0] == after + "\n"


LEFT = {
    "a block": (
        "from prefect.blocks.notifications import SlackWebhook\nSlackWebhook.load('x')",
        2,
        "keep credentials in a Secret",
    ),
    "a variable": ("from prefect.variables import Variable\nVariable.set('x', 1)", 2, "keep variables in a ConfigMap"),
    "an artifact": ("from prefect.artifacts import Artifact\nArtifact.get('x')", 2, "`headrace artifacts` lists"),
    "an integration": ("from prefect_gcp import GcsBucket\nGcsBucket.load('x')", 2, "use the library that it wraps"),
    "everything": ("from prefect import *", 1, "there is no counterpart"),
    "an import of no use": ("from prefect import get_client", 1, "there is no counterpart"),
    "an attribute of a flow": (
        "from prefect import flow\n@flow\ndef f(): ...\nf.visualize()",
        4,
        "a flow has no visualize",
    ),
    "code from elsewhere": (
        "from prefect import flow\nflow.from_source('x').deploy('y')",
        2,
        "there is no counterpart",
    ),
    "a flow of Prefect 1": (
        "from prefect import Flow\nwith Flow('etl') as f: ...",
        2,
        "write it as a function below @flow",
    ),
    "a runner elsewhere": (
        "from prefect import flow\nfrom prefect_dask import DaskTaskRunner\n@flow(task_runner=DaskTaskRunner())\ndef f(): ...",
        3,
        "submitted tasks run in threads",
    ),
    "a generator": ("from prefect import task\n@task\ndef f():\n    yield 1", 3, "it yields"),
    "a flow of any arguments": (
        "from prefect import flow\n@flow\ndef f(*args): ...",
        3,
        "parameters of a flow have names",
    ),
    "options from elsewhere": (
        "from prefect import task\nO = {}\n@task(**O)\ndef f(): ...",
        3,
        "write these options out",
    ),
    "an unknown option": ("from prefect import task\n@task(colour=1)\ndef f(): ...", 2, "there is no such option"),
    "a condition": ("from prefect import task\n@task(retry_condition_fn=print)\ndef f(): ...", 2, "write retry_if"),
    "a result that does not raise": (
        "from prefect import task\n@task\ndef f(): ...\nf.submit().result(raise_on_failure=False)",
        4,
        "ask future.wait()",
    ),
    "a pause of another run": (
        "from prefect import suspend_flow_run\nsuspend_flow_run(flow_run_id=x)",
        2,
        "a flow pauses itself and no other run",
    ),
    "a wait in a coroutine": (
        "from prefect import flow, task\n@task\nasync def f(): ...\n@flow\nasync def g():\n    f.submit().result()",
        6,
        "write `await future`",
    ),
    "a limit of a computed name": (
        "from prefect.concurrency.sync import concurrency\nN = 'x'\nwith concurrency(N): ...",
        3,
        "known only when the code runs",
    ),
    "several limits": (
        "from prefect.concurrency.sync import concurrency\nwith concurrency(['a', 'b']): ...",
        2,
        "write slots by limit",
    ),
    "delays that no manifest holds": (
        "from prefect import flow\n@flow(retries=3, retry_delay_seconds=[1, 5, 2])\ndef f(): ...",
        2,
        "write spec.retries",
    ),
}


@pytest.mark.parametrize(("text", "line", "advice"), LEFT.values(), ids=list(LEFT))
def test_what_has_no_counterpart_is_told_with_its_line(rewritten, text, line, advice):
    """And with what to write."""
    told = texts(rewritten(text + "\n")[1], Outcome.LEFT)
    assert any(each.startswith(f"{line} ") and advice in each for each in told), told


def test_secrets_variables_and_artifacts_move(rewritten):
    """Under their own names; that they are read from elsewhere is told."""
    text, found = rewritten(
        """
        from prefect.artifacts import create_markdown_artifact
        from prefect.blocks.system import Secret
        from prefect.variables import Variable

        create_markdown_artifact(f"{Variable.get('rows', default=3)} rows", key="rows")
        token = Secret.load("token").get()
        """
    )
    assert found.of(Outcome.LEFT) == []
    assert "prefect" not in text
    assert "from headrace import Secret" in text
    assert 'create_markdown_artifact(f"{Variable.get(\'rows\', default=3)} rows", key="rows")' in text


@pytest.mark.parametrize(
    ("imported", "theirs", "ours"),
    [
        (
            "from prefect_dask import DaskTaskRunner",
            'DaskTaskRunner(address="tcp://x:8786")',
            'Dask(address="tcp://x:8786")',
        ),
        ("import prefect_ray", 'prefect_ray.RayTaskRunner(address="auto")', 'Ray(address="auto")'),
        (
            "from prefect.task_runners import ThreadPoolTaskRunner",
            "ThreadPoolTaskRunner(max_workers=3)",
            "Threads(max_workers=3)",
        ),
        ("from prefect.task_runners import ProcessPoolTaskRunner", "ProcessPoolTaskRunner()", "Processes()"),
    ],
)
def test_a_runner_that_takes_the_same_moves(rewritten, imported, theirs, ours):
    """With its arguments."""
    text, found = rewritten(f"from prefect import flow\n{imported}\n@flow(task_runner={theirs})\ndef f(): ...\n")
    assert found.of(Outcome.LEFT) == []
    assert f"@flow(task_runner={ours})" in text
    assert "prefect" not in text


def test_a_runner_of_threads_goes_without_a_loss(rewritten):
    """All tasks run so here; what it was imported for goes with it."""
    text, found = rewritten(
        """
        from prefect import flow
        from prefect.task_runners import ConcurrentTaskRunner

        @flow(task_runner=ConcurrentTaskRunner())
        def f(): ...
        """
    )
    assert found.of(Outcome.LEFT) == []
    assert text == "from headrace import flow\n\n@flow()\ndef f(): ...\n"


def test_an_option_that_is_left_behind_leaves_a_comment(rewritten):
    """The code tells it too, as a report may be lost."""
    text, found = rewritten(
        "from prefect import task\n\nclass A:\n    @task(result_storage_key=None, result_storage=True)\n    def f(self): ...\n"
    )
    assert found.of(Outcome.LEFT)
    assert "    # headrace migrate: result_storage=True is left behind: " in text
    assert "    @task()\n" in text


def test_line_ends_of_another_system_stay(tmp_path):
    """A module with CRLF keeps it."""
    found = migrated_text(tmp_path, "etl.py", "from prefect import flow\r\n\r\n@flow\r\ndef f(): ...\r\n")
    assert module_of(found) == "from headrace import flow\r\n\r\n@flow\r\ndef f(): ...\r\n"


def test_what_a_module_deploys_becomes_manifests(rewritten):
    """With its literal arguments; the call of a flow that needs parameters goes."""
    text, found = rewritten(
        """
        from prefect import flow
        from datetime import timedelta

        @flow(retries=2, retry_delay_seconds=30)
        def etl(day: str): ...

        if __name__ == "__main__":
            etl.deploy(
                "nightly", work_pool_name="k8s", image="ghcr.io/acme/etl:1", interval=timedelta(hours=6),
                job_variables={"env": {"A": "1"}, "node_selector": {"disk": "ssd"}}, concurrency_limit=2, build=False,
            )
        """
    )
    flow, deployment, pool = (manifests_of(found, kind)[0] for kind in ("Flow", "Deployment", "WorkPool"))
    assert flow["spec"]["image"] == "ghcr.io/acme/etl:1"
    assert flow["spec"]["retries"]["limit"] == 2
    assert deployment["metadata"]["name"] == "nightly"
    assert deployment["spec"]["schedules"] == [{"name": "interval", "intervalSeconds": 21600}]
    assert deployment["spec"]["concurrency"] == {"limit": 2}
    assert deployment["spec"]["pools"] == {"names": [pool["metadata"]["name"]]}
    assert pool["spec"] == {"nodeSelector": {"disk": "ssd"}}
    assert text.endswith('if __name__ == "__main__":\n    pass\n')


def test_code_goes_inline_with_the_modules_beside_it(tmp_path):
    """Rewritten, as it must run without Prefect."""
    (tmp_path / "rows.py").write_text("from prefect import task\n\n@task\ndef rows(): ...\n")
    (tmp_path / "etl.py").write_text("from prefect import flow\nfrom rows import rows\n\n@flow\ndef main(): rows()\n")
    text = "deployments:\n- {name: etl, entrypoint: ./etl.py:main}\n"
    flow = manifests_of(migrated_text(tmp_path, "prefect.yaml", text), "Flow")[0]
    assert flow["spec"]["entrypoint"] == "etl.py:main"
    assert flow["spec"]["source"]["inline"]["files"] == {
        "etl.py": "from headrace import flow\nfrom rows import rows\n\n@flow\ndef main(): rows()\n",
        "rows.py": "from headrace import task\n\n@task\ndef rows(): ...\n",
    }


def test_code_that_is_too_long_for_a_flow_needs_an_image(tmp_path):
    """The manifest would be refused."""
    (tmp_path / "etl.py").write_text("from prefect import flow\n@flow\ndef main(): ...\n" + "# x\n" * 100_000)
    found = migrated_text(tmp_path, "prefect.yaml", "deployments:\n- {name: etl, entrypoint: etl.py:main}\n")
    assert "source" not in manifests_of(found, "Flow")[0]["spec"]
    assert any("put it into an image" in each for each in texts(found, Outcome.LEFT))


def test_what_is_no_python_is_refused_with_its_line(tmp_path):
    """Before anything is written."""
    with pytest.raises(MigrationError, match=r"etl.py:2: no Python: .*; correct the module"):
        migrated_text(tmp_path, "etl.py", "x = 1\ndef (:\n")


def test_every_name_that_moves_is_there():
    """The table names nothing that the package has not, but for what it does not offer yet."""
    missing = {ours for ours in SYMBOLS.values() if not offered(ours)}
    assert missing <= {"headrace.tags"}


@pytest.mark.parametrize(
    "name", ["prefect.deployments.run_deployment", "prefect.x.y", "prefect_aws.S3Bucket", "prefect"]
)
def test_there_is_advice_for_any_name(name):
    """However little is known of it."""
    assert advice_for(name)


@given(st.text(), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.text(max_size=3)), max_size=4))
def test_edits_change_their_stretches_and_nothing_else(text, wanted):
    """Read backwards, each change replaces its own characters."""
    edits, reached = [], 0
    for skip, length, new in wanted:
        start = min(reached + skip, len(text))
        reached = min(start + length, len(text))
        edits.append(Edit(start, reached, new))
    expected = text
    for edit in reversed(list(dict.fromkeys(edits))):
        expected = expected[: edit.start] + edit.text + expected[edit.end :]
    assert applied(text, edits) == expected


def test_two_changes_of_one_place_are_refused():
    """Rather than to write something between them."""
    with pytest.raises(ValueError, match="two changes"):
        applied("abcdef", [Edit(0, 4, "x"), Edit(2, 5, "y")])


NAMES = ["a", "b", "c", "d"]
LAYOUTS = ["f({0}={0}, {1}={1}, {2}={2}, {3}={3})", "f(\n    {0}={0},  # x\n    {1}={1}, {2}={2},\n    {3}={3},\n)",
           "f(1, {0}=({0}), {1}={1},\n  {2}={2}, # y\n  {3}={3})"]  # fmt: skip


@given(st.sampled_from(LAYOUTS), st.sets(st.sampled_from(NAMES)))
def test_arguments_that_go_take_their_commas_along(layout, gone):
    """Whichever they are, and however the call is laid out, the others stay."""
    text = Text(layout.format(*NAMES) + "\n")
    call = ast.parse(text.whole).body[0].value
    new = applied(text.whole, without_arguments(text, call, [each for each in call.keywords if each.arg in gone]))
    left = ast.parse(new).body[0].value
    assert [each.arg for each in left.keywords] == [name for name in NAMES if name not in gone]
    assert [ast.unparse(each) for each in left.args] == [ast.unparse(each) for each in call.args]
