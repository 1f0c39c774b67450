"""What a flow returned that is too large for the termination message: stored, and read back."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from headrace import flow_results
from headrace.errors import NoSuchResult, ResultsError
from headrace.flow_results import Keeper, keeper, result_at
from headrace.launch import StoredResult
from headrace.results.files import Files
from headrace.states import Succeeded
from tests.unit.headrace.runs import log_of_runs

HERE = Path(__file__).parent
LARGE = "x" * 5000


@dataclass
class Point:
    x: int


def kept(tmp_path, value):
    """The state of a flow that returned the value, and its log."""
    with log_of_runs() as log:
        state = Keeper(f"file://{tmp_path}/result-1", "etl", "etl-7").delivered(Succeeded(data=value))
    return state.data, log


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ([LARGE], [LARGE]),
        ({"day": date(2026, 1, 1), "point": Point(1), "rows": (1, 2)}, {"day": "2026-01-01", "point": {"x": 1}, "rows": [1, 2]}),
        ({"ratio": float("inf")}, {"ratio": float("inf")}),
        ({1: LARGE}, {"1": LARGE}),
    ],
    ids=["text", "dates, dataclasses and tuples", "what JSON has no word for", "keys that are no text"],
)  # fmt: skip
def test_a_stored_result_comes_back(tmp_path, value, read):
    """In the types that a small one has in the status, where JSON knows them."""
    data, log = kept(tmp_path, value)
    assert data == StoredResult(f"file://{tmp_path}/result-1")
    assert result_at(data.url) == read
    assert log.events == ["result_stored"]
    assert log.records[0].url == data.url


def test_the_status_and_the_log_get_no_password(monkeypatch):
    """Of a results URL that comes from a Secret."""
    put = {}
    monkeypatch.setattr(Files, "put", lambda _, key, data: put.update({key: data}))
    monkeypatch.setattr(flow_results, "open_storage", lambda url: put.update(url=url) or Files(Path("/none")))
    with log_of_runs() as log:
        state = Keeper("postgresql://flows:s3cret@db/results/run/result-1", "etl", "etl-7").delivered(
            Succeeded(data=LARGE)
        )
    assert put["url"] == "postgresql://flows:s3cret@db/results/run"
    assert "result-1" in put
    assert state.data == StoredResult("postgresql://flows@db/results/run/result-1")
    assert "s3cret" not in repr([vars(each) for each in log.records])


def test_what_cannot_be_stored_is_told_and_the_flow_has_succeeded(tmp_path):
    """Hours of work are not thrown away for it."""
    value = [LARGE, threading.Lock()]
    data, log = kept(tmp_path, value)
    assert data is value
    assert log.events == ["result_not_stored"]
    assert 'flow "etl": what it returned cannot' in log.records[0].getMessage()


def test_a_storage_that_fails_is_told_too(tmp_path):
    """As above."""
    (tmp_path / "file").touch()
    data, log = kept(tmp_path / "file", [LARGE])
    assert data == [LARGE]
    assert log.events == ["result_not_stored"]


def test_a_result_is_not_there(tmp_path):
    """Somebody has emptied the storage."""
    with pytest.raises(NoSuchResult):
        result_at(f"file://{tmp_path}/result-1")


def test_a_torn_result_is_none(tmp_path):
    """It is told, not returned."""
    data, _ = kept(tmp_path, [LARGE])
    path = tmp_path / "result-1"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ResultsError, match="not whole"):
        result_at(data.url)


def test_each_attempt_has_a_place_of_its_own():
    """Beside the folders of the run's tasks, whose names end in a number."""
    names = {"NAMESPACE": "team-a", "FLOW_RUN": "etl-7", "FLOW_RUN_UID": "u", "FLOW": "etl", "ATTEMPT": "2"}
    made = keeper({f"HEADRACE_{name}": value for name, value in names.items()} | {"HEADRACE_RESULTS_URL": "s3://b/p/"})
    assert made == Keeper("s3://b/p/team-a/etl-7/u/flow/result-2", "etl", "etl-7")


def run_pod(tmp_path, n, **variables):
    """What the process of a flow that returns a text of n characters says at its end."""
    log = tmp_path / "termination"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE),
        "HEADRACE_ENTRYPOINT": "pod_flows:returns_text",
        "HEADRACE_PARAMETERS": json.dumps({"n": n}),
        "HEADRACE_FLOW_RUN": "etl-7",
        "HEADRACE_TERMINATION_LOG": str(log),
        **variables,
    }
    subprocess.run([sys.executable, "-m", "headrace.pod"], check=True, env=environment, capture_output=True)
    return json.loads(log.read_text())


def test_a_pod_stores_what_its_message_cannot_hold(tmp_path):
    """And tells where it is."""
    said = run_pod(tmp_path, 5000, HEADRACE_RESULTS_URL=f"file://{tmp_path}/results")
    assert not {"result", "resultOmitted"} & said.keys()
    assert result_at(said["resultUrl"]) == LARGE


def test_a_small_result_stays_in_the_message(tmp_path):
    """No object in the storage for each number."""
    said = run_pod(tmp_path, 5, HEADRACE_RESULTS_URL=f"file://{tmp_path}/results")
    assert said["result"] == "xxxxx"
    assert not (tmp_path / "results").exists()


def test_without_a_storage_it_is_left_out(tmp_path):
    """And said to be."""
    said = run_pod(tmp_path, 5000)
    assert said["resultOmitted"] is True
    assert not {"result", "resultUrl"} & said.keys()
