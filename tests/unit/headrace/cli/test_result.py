"""`headrace result`: from the status or the storage, and never by running what somebody stored."""

import pytest

from headrace.cli.cluster import ClusterRefusal
from headrace.cli.result import returned, value_of
from headrace.flow_results import Keeper
from headrace.states import Succeeded
from tests.unit.headrace.cli.memory_api import MemoryApi


def a_run(**status):
    metadata = {"name": "etl-7", "namespace": "team-a", "uid": "u"}
    return {"kind": "FlowRun", "metadata": metadata, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("status", "told"),
    [({"result": {"value": [1]}}, {"value": [1]}), ({}, {}), ({"result": {"url": "s3://b/k"}}, {"url": "s3://b/k"})],
)
async def test_it_is_what_the_status_says(status, told):
    """None where the flow returned nothing."""
    api = MemoryApi(a_run(phase="Succeeded", **status))
    assert await returned(api, "team-a", "etl-7") == told


@pytest.mark.parametrize(
    ("name", "says"),
    [("etl-8", "there is no such FlowRun in namespace team-a"), ("etl-7", "it is Failed: ValueError: no rows")],
)
async def test_a_run_without_a_result_is_told(name, says):
    """With what it came to."""
    api = MemoryApi(a_run(phase="Failed", message="ValueError: no rows"))
    with pytest.raises(ClusterRefusal, match=says):
        await returned(api, "team-a", name)


def stored(tmp_path, value):
    url = f"file://{tmp_path}/result-1"
    Keeper(url, "etl", "etl-7").delivered(Succeeded(data=value))
    return {"url": url}


def test_a_large_one_is_read_from_the_storage(tmp_path):
    """As JSON."""
    assert value_of("etl-7", stored(tmp_path, ["x" * 5000])) == ["x" * 5000]
    assert value_of("etl-7", {"value": 3}) == 3
    assert value_of("etl-7", {}) is None


def test_what_would_run_code_is_not_read(tmp_path):
    """Whoever can write there could run code on the computer of whoever looks."""
    with pytest.raises(ClusterRefusal, match="it is stored as pickle at"):
        value_of("etl-7", stored(tmp_path, {"a": float("inf"), "b": {1, 2}}))


def test_what_was_left_out_is_told():
    """With the field to set."""
    with pytest.raises(ClusterRefusal, match=r"set spec\.results\.url of its Flow"):
        value_of("etl-7", {"omitted": True})
