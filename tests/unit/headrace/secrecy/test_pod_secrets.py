"""What a flow's process must not show, it shows nowhere: real processes, and all that comes out of them."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.results.cargo import ARGUMENTS, packed
from headrace.secrecy.redaction import MASK

HERE = Path(__file__).parent
PASSWORD = 'hunt"er2/ä+\\7x'
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0*"), min_size=8, max_size=24).filter(
    lambda text: text == text.strip() and text.isprintable()
)


class Run:
    """One process of `python -m headrace.pod` with the Secret "postgres", and all that it left."""

    def __init__(self, entrypoint, password=PASSWORD, **variables):
        with tempfile.TemporaryDirectory() as folder:
            mounted, log = Path(folder, "secrets", "postgres"), Path(folder, "termination-log")
            mounted.mkdir(parents=True)
            (mounted / "password").write_text(password)
            environment = {
                "HEADRACE_ENTRYPOINT": f"pod_secrets:{entrypoint}",
                "HEADRACE_CODE_DIR": str(HERE),
                "HEADRACE_FLOW_RUN": "etl-7",
                "HEADRACE_TERMINATION_LOG": str(log),
                "HEADRACE_SECRETS_DIR": str(mounted.parent),
                "HEADRACE_REDACT_ENV": "TOKEN",
                "TOKEN": password,
                "PATH": os.environ["PATH"],
                "PYTHONUTF8": "1",
                **variables,
            }
            done = subprocess.run(
                [sys.executable, "-m", "headrace.pod"], env=environment, cwd=folder, capture_output=True, check=False
            )
            self.code, self.out, self.err = done.returncode, done.stdout.decode(), done.stderr.decode()
            self.said = json.loads(log.read_text())
            self.all = f"{self.out}\n{self.err}\n{log.read_text()}"

    @property
    def events(self):
        """The log lines, as objects."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]


def forms(password):
    """What no output may hold."""
    written = {password, repr(password)[1:-1], json.dumps(password)[1:-1], quote(password), quote(password, safe="")}
    inner = base64.b64encode(b"etl:" + password.encode()).decode()[6:-4]
    return {*written, inner, base64.b64encode(password.encode()).decode().rstrip("=")}


def hides(run, password=PASSWORD):
    """None of it is anywhere; if it is, the line is told."""
    found = [line for line in run.all.splitlines() for form in forms(password) if form in line]
    assert found == []
    return True


@given(VALUES)
@settings(max_examples=4)
def test_no_way_out_of_a_flow_shows_a_secret(password):
    """Prints, pieces, bytes, both streams, Base64, logs, tracebacks, threads, titles, hooks, the result."""
    run = Run("leaks", password)
    assert run.code == 0, run.err
    assert hides(run, password)
    assert run.said["result"] == {"password": MASK, "about": [f"it is {MASK}", 1], MASK: True}
    assert f"plain {MASK}" in run.out
    assert f"bytes {MASK}" in run.out
    assert f"in a thread {MASK}" in run.err
    assert {event["run_title"] for event in run.events if event.get("task_run") == "raises-0"} == {f"as {MASK}"}


@pytest.mark.parametrize(
    ("entrypoint", "code", "told"),
    [
        ("raises_it", 1, f"RuntimeError: login of etl with {MASK} failed (pod_secrets.py:"),
        ("leaks_on_loop", 1, f"ExceptionGroup: {MASK} (1 sub-exception) (pod_secrets.py:"),
        ("ends", 1, f"the code called sys.exit('no {MASK}')"),
    ],
)
def test_an_exception_tells_all_but_the_secret(entrypoint, code, told):
    """In the message of the run, in the log and in the traceback."""
    run = Run(entrypoint)
    assert run.code == code
    assert hides(run)
    assert run.said["message"].startswith(told)


def test_readable_lines_hide_it_too():
    """HEADRACE_LOG_FORMAT=text."""
    run = Run("raises_it", HEADRACE_LOG_FORMAT="text")
    assert hides(run)
    assert f"printed to the log {MASK}" in run.out


def test_a_module_that_fails_on_import_hides_it_too():
    """Secrets are known before any code of the author runs."""
    run = Run("leaks", LEAK_ON_IMPORT="1")
    assert (run.code, run.said["reason"]) == (78, "ImportError")
    assert hides(run)
    assert MASK in run.said["message"]


REFERENCE = {"secretRef": {"name": "postgres", "key": "password"}}


@pytest.mark.parametrize("given", ["s3cret-of-run", REFERENCE])
def test_a_secret_parameter_is_shown_nowhere(given):
    """Given as text, or by the name of a Secret."""
    run = Run("takes", HEADRACE_PARAMETERS=json.dumps({"password": given}))
    assert run.code == 0, run.all
    assert hides(run)
    assert "s3cret-of-run" not in run.all
    assert f"{{'password': SecretStr('{MASK}')}} {MASK}" in run.out
    assert run.said["result"] == MASK


@pytest.mark.parametrize("given", [["s3cret-of-run"], {"secretRef": {"name": "postgres", "key": "absent"}}])
def test_a_secret_parameter_that_does_not_fit_is_not_told(given):
    """The problem is."""
    run = Run("takes", HEADRACE_PARAMETERS=json.dumps({"password": given}))
    assert (run.code, run.said["reason"]) == (78, "InvalidParameters")
    assert "s3cret-of-run" not in run.all
    assert 'parameter "password"' in run.said["message"]


def test_processes_of_tasks_hide_what_the_flow_must_not_show():
    """Also a parameter, which is not in their environment."""
    run = Run("takes_along", HEADRACE_PARAMETERS='{"password": "s3cret-of-run"}')
    assert run.code == 0, run.all
    assert "s3cret-of-run" not in run.all
    assert f"from a process {MASK}" in run.out
    assert any(event["message"] == f"logged in a process: {MASK}" and event["also"] == [MASK] for event in run.events)


def test_a_task_in_a_pod_of_its_own_hides_the_secrets_of_its_flow(tmp_path):
    """Its flow's parameters among them."""
    arguments = {"args": ["s3cret-of-run"], "kwargs": {}}
    (tmp_path / "input").write_bytes(packed(arguments, ARGUMENTS, what="", task_run="prints-0").sealed())
    task = {
        "name": "prints",
        "parent": {"name": "etl-7", "uid": "u"},
        "function": "pod_secrets:prints",
        "input": (tmp_path / "input").as_uri(),
        "output": (tmp_path / "output").as_uri(),
    }
    given = json.dumps({"password": "s3cret-of-run"})
    run = Run("takes", HEADRACE_TASK=json.dumps(task), HEADRACE_PARAMETERS=given)
    assert run.code == 0, run.all
    assert "s3cret-of-run" not in run.all
    assert f"from a process {MASK}" in run.out
