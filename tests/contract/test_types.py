"""What an editor knows of an author's code: types of results go through tasks, and a slip is underlined."""

from __future__ import annotations

import re

from mypy import api

IMPORTS = """
from typing import assert_type
from headrace import create_markdown_artifact, flow, run_deployment, task

@task(retries=3)
def fetch(shop: str) -> int: ...

@task
async def rate(currency: str) -> float: ...

@flow
def main(shops: list[str]) -> int: ...
"""
RIGHT = """
assert_type(fetch("oslo"), int)
assert_type(fetch.submit("oslo").result(), int)
assert_type(rate.submit("NOK").result(), float)
assert_type(fetch.map(["oslo"]).result(), list[int])
assert_type(rate.map(["NOK"]).result(), list[float])
assert_type([future.result() for future in fetch.map(["oslo"], max_concurrency=2)], list[int])
assert_type([future.result() for future in rate.map(["NOK"], max_concurrency=2)], list[float])
assert_type(main(["oslo"]), int)
assert_type(fetch.with_options(retries=5)("oslo"), int)
"""
SLIPS = {
    "task(retrys=3)": 'did you mean "retries"',
    'flow(retries="three")': "No overload variant",
    "fetch(7)": "No overload variant",
    'main("oslo")': "No overload variant",
    'run_deployment("load", waits=False)': 'did you mean "wait"',
    'create_markdown_artifact("# Hello", keys="hello")': 'did you mean "key"',
}


def test_a_correct_program_is_accepted_and_slips_are_told(tmp_path):
    """With what was meant, where that is near."""
    file = tmp_path / "etl.py"
    file.write_text("\n".join([IMPORTS, RIGHT, *SLIPS]))
    out, errors, _ = api.run([str(file), "--strict", "--no-error-summary", "--disable-error-code=empty-body"])
    assert not errors
    lines = file.read_text().splitlines()
    told = {
        lines[int(number) - 1]: message
        for number, message in re.findall(r"^[^:]+:(\d+): error: (.*)$", out, re.MULTILINE)
    }
    assert told.keys() == SLIPS.keys()
    assert {line: message for line, message in told.items() if SLIPS[line] not in message} == {}
