"""Results are stored as they are; that one holds a secret is told."""

import pytest

from headrace import flow, task
from headrace.engine.session import using
from headrace.results.cargo import ARGUMENTS, VALUE, packed
from headrace.results.secrecy import LOOKED_AT, _warn
from tests.unit.headrace.runs import a_session, log_of_runs

PASSWORD = "hunter2"


@pytest.fixture(autouse=True)
def told_anew():
    """What was told once in this process is told again."""
    _warn.cache_clear()


@task
def logs_in(number):
    return {"user": "etl", "password": PASSWORD}


@flow
def main():
    return [logs_in(number)["password"] for number in range(3)]


def test_a_result_with_a_secret_is_stored_whole_and_told_once_a_task(tmp_path, secrets):
    """An attempt that takes it up gets what the task returned."""
    secrets(PASSWORD)
    run = {"results_url": tmp_path.as_uri(), "flow_run": "etl-7", "flow_run_uid": "u", "namespace": "a"}
    for _attempt in range(2):
        with using(a_session(**run, repeats_flows=False)) as session, log_of_runs() as log:
            assert main() == [PASSWORD] * 3
        told = [record for record in log.records if record.event == "secret_in_result"]
        assert len(told) == (0 if session.tally.cached else 1)
    assert session.tally.cached == 3


def test_the_line_says_what_to_do(secrets):
    """And which task it is."""
    secrets(PASSWORD)
    with log_of_runs() as log:
        packed([PASSWORD], VALUE, what='task "login": its result')
    (record,) = log.records
    assert record.getMessage() == (
        'task "login": its result holds a secret, which the result storage keeps as it is; return where it is, and read it '
        "where it is needed: headrace.Secret.load(…)"
    )


@pytest.mark.parametrize(
    ("value", "kind"), [("nothing", VALUE), (PASSWORD, ARGUMENTS), ("x" * LOOKED_AT + PASSWORD, VALUE)]
)
def test_what_holds_none_is_not_told(secrets, value, kind):
    """Arguments go where the code is that needs them; the end of large data is not looked at."""
    secrets(PASSWORD)
    with log_of_runs() as log:
        packed(value, kind, what="its result")
    assert log.records == []
