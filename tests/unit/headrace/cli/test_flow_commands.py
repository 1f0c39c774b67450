"""`headrace run` and `headrace render`, as processes."""

import os
import signal
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from headrace import EntrypointError, ParameterError, UsageError
from headrace.cli.main import application

CODE = """
import threading
from datetime import date
from headrace import RetryRun, flow, task

@task
def double(n): return 2 * n

@flow
def main(day: date, n: int = 3, note: str = ""):
    print(day.isoformat(), double(n), repr(note))

@flow
def fails(): raise ValueError("no")

@flow
def asks(): raise RetryRun("busy")

@flow
async def waits():
    print("waiting", flush=True)
    import asyncio
    await asyncio.Event().wait()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with etl.py; what it loads goes with the test."""
    (tmp_path / "etl.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name == "etl":
            del sys.modules[name]


def command(*arguments):
    """What `headrace …` prints and exits with, in this process."""
    return CliRunner().invoke(application(), arguments)


def process(*arguments):
    """The same as a process of its own."""
    environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "TERM": "dumb"}
    started = [sys.executable, "-m", "headrace.cli", *arguments]
    return subprocess.run(started, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_run_tells_progress_and_outcome(folder):
    """Results on standard output, progress beside it."""
    done = process("run", "etl.py:main", "-p", "day=2026-01-01", "-p", "n=4", "-p", "note=7")
    *printed, last = done.stdout.splitlines()
    assert (done.returncode, printed) == (0, ["2026-01-01 8 '7'"])
    assert last.startswith("Succeeded after ")
    assert last.endswith(" s: 1 task run")
    assert [line.split(maxsplit=2)[2].split()[1] for line in done.stderr.splitlines()] == [
        "started",
        "started",
        "succeeded",
        "succeeded",
    ]


def test_run_takes_parameters_from_a_file(folder):
    """-p wins over it."""
    (folder / "p.json").write_text('{"day": "2026-01-01", "n": 1}')
    done = command("run", "etl:main", "--params-file", "p.json", "-p", "n=5")
    assert done.stdout.startswith("2026-01-01 10 ''\n")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["etl.py:fails"], 1, " s: ValueError: no (etl.py:14)"),
        (["etl.py:asks"], 75, " s: busy (etl.py:17)"),
        (["etl.py:main"], 78, 'headrace: flow "main": parameter "day" is missing, expected datetime.date'),
        (["etl.py:nope"], 78, 'headrace: entrypoint "etl.py:nope": module "etl" has no "nope"'),
        (["etl.py:main", "-p", "day"], 78, "headrace: -p day: expected NAME=VALUE, such as -p day=2026-01-01"),
        (["etl.py:main", "--params-file", "x"], 78, "headrace: --params-file x: No such file or directory"),
        (["etl.py:main", "--params-file", "etl.py"], 78, "headrace: --params-file etl.py: no JSON: Expecting value"),
    ],
    ids=str,
)
def test_run_exits_as_the_pod_does(arguments, code, told, folder):
    """With one line that says why."""
    done = command("run", *arguments)
    assert done.exit_code == code
    assert told in (done.stderr if code == 78 else done.stdout)


def test_ctrl_c_cancels_a_run(folder):
    """Exit status 130."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli", "run", "etl.py:waits"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, "cancelled by SIGINT" in out) == (130, True)


def test_render_prints_what_kubectl_takes(folder):
    """A Flow with its code, and a Deployment."""
    done = command("render", "etl.py:main", "--cron", "0 7 * * *", "--time-zone", "Europe/London", "-p", "day=2026-01-01", "--concurrency", "2", "--on-conflict", "Skip", "-n", "team", "--image", "acme:1")  # fmt: skip
    assert done.stderr == ""
    rendered, deployment = yaml.safe_load_all(done.stdout)
    assert rendered["metadata"] == deployment["metadata"] == {"name": "etl", "namespace": "team"}
    assert (rendered["spec"]["entrypoint"], rendered["spec"]["image"]) == ("etl.py:main", "acme:1")
    assert rendered["spec"]["source"] == {"inline": {"files": {"etl.py": CODE}}}
    assert deployment["spec"] == {
        "flowRef": {"name": "etl"},
        "parameters": {"day": "2026-01-01"},
        "schedules": [{"name": "cron", "cron": "0 7 * * *", "timeZone": "Europe/London"}],
        "concurrency": {"limit": 2, "onConflict": "Skip"},
    }


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [([], ["Flow"]), (["--deployment"], ["Flow", "Deployment"]), (["--interval", "60"], ["Flow", "Deployment"]), (["--rrule", "FREQ=DAILY"], ["Flow", "Deployment"]), (["--after", "a", "--after", "b"], ["Flow", "Deployment"])],
    ids=str,
)  # fmt: skip
def test_render_adds_a_deployment_where_something_asks_for_one(arguments, kinds, folder):
    """A bare flow is a Flow."""
    done = command("render", "etl:fails", "--name", "other", *arguments)
    manifests = list(yaml.safe_load_all(done.stdout))
    assert [manifest["kind"] for manifest in manifests] == kinds
    assert {manifest["metadata"]["name"] for manifest in manifests} == {"other"}
    assert "source" not in manifests[0]["spec"]


def test_render_after_other_deployments_makes_one_trigger(folder):
    """That any of them sets off."""
    _, deployment = yaml.safe_load_all(command("render", "etl:fails", "--after", "a", "--after", "b").stdout)
    assert deployment["spec"]["triggers"] == [
        {"name": "after", "run": {"deployments": ["a", "b"], "phases": ["Succeeded"]}}
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["etl:main", "--inline"], '--inline needs a file: write "etl.py:main" in place of "etl:main"'),
        (["etl.py:main", "--time-zone", "Europe/London", "--interval", "60"], "--time-zone belongs to --cron or --rrule"),
        (["etl.py:main", "--on-conflict", "Skip"], "--on-conflict belongs to --concurrency"),
        (["etl.py:main", "-p", "n=x"], """parameter "n" is 'x', expected int"""),
        (["etl.py:main", "--interval", "0"], 'deployment "etl": '),
    ],
    ids=str,
)  # fmt: skip
def test_render_says_what_is_wrong(arguments, told, folder):
    """And prints no half of a manifest."""
    done = command("render", *arguments)
    assert (isinstance(done.exception, UsageError | ParameterError | EntrypointError), done.stdout) == (True, "")
    assert told in str(done.exception)


def test_what_is_wrong_is_told_in_one_line(folder):
    """Without a traceback, and with exit status 1."""
    done = process("render", "nope.py:main")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith('headrace: entrypoint "nope.py:main": there is no file')
