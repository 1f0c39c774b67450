"""The format of a result is the one that its task asks for."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from headrace import flow, task
from headrace.engine.session import LAPTOP, using
from headrace.results.cargo import opened

pl = pytest.importorskip("polars")


@pytest.mark.parametrize(
    ("serializer", "value", "format_"),
    [
        (None, [1], "json"),
        ("pickle", [1], "pickle"),
        ("json", [1], "json"),
        ("parquet", pl.DataFrame({"a": [1]}), "parquet"),
        ("arrow", pl.DataFrame({"a": [1]}), "arrow"),
    ],
)
def test_a_result_is_stored_in_the_format_that_the_task_asks_for(tmp_path, serializer, value, format_):
    """And a later attempt gets it back."""
    ran = []

    @task(**({"result_serializer": serializer} if serializer else {}))
    def make():
        ran.append("make")
        return value

    @flow
    def main():
        return str(make())

    with using(replace(LAPTOP, flow_run="today", results_url=tmp_path.as_uri())):
        assert main() == main() == str(value)
    (stored,) = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert opened(stored.read_bytes()).format == format_
    assert ran == ["make"]


def test_a_result_that_does_not_fit_is_not_stored(tmp_path, caplog):
    """The flow has it all the same."""

    @task(result_serializer="json")
    def make():
        return (1, 2)

    @flow
    def main():
        return make()

    with caplog.at_level(logging.WARNING), using(replace(LAPTOP, flow_run="today", results_url=tmp_path.as_uri())):
        assert main() == (1, 2)
    assert "JSON does not give back as it was" in caplog.text
    assert not any(each.is_file() for each in tmp_path.rglob("*"))
