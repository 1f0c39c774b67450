"""The two pages for authors and operators leave nothing out."""

import inspect
import re
from pathlib import Path

import pytest

import headrace
from headrace import pod, runtime, states
from headrace.engine import reporting
from headrace.launch import ExitCode
from headrace.options import FlowOptions, TaskOptions

DOCS = Path(headrace.__file__).parents[2] / "docs"
FLOWS = (DOCS / "flows.md").read_text()
CONTRACT = (DOCS / "pod-contract.md").read_text()

STATES = [name for name, kind in vars(states).items() if inspect.isclass(kind) and kind.__module__ == states.__name__]
ACCESSORS = [name for kind in (runtime.flow_run, runtime.task_run) for name in dir(kind) if not name.startswith("_")]
VARIABLES = re.findall(r'"(HEADRACE_\w+)"', inspect.getsource(pod))
EVENTS = [
    f"{kind}_{word}" for kind in ("flow", "task") for word in ("started", *(w for w, _ in reporting.OUTCOMES.values()))
]
OTHER_EVENTS = re.findall(r'"event": "(\w+)"', inspect.getsource(pod))


@pytest.mark.parametrize("name", [*headrace.__all__, *inspect.get_annotations(FlowOptions), *inspect.get_annotations(TaskOptions), *(s for s in STATES if s != "Ended"), *ACCESSORS])  # fmt: skip
def test_what_authors_may_use_is_documented(name):
    """Every public name, option, state and accessor."""
    assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", FLOWS)


@pytest.mark.parametrize("word", [*VARIABLES, *EVENTS, *OTHER_EVENTS, *map(str, map(int, ExitCode))])
def test_what_the_pod_reads_and_says_is_documented(word):
    """Every variable, event and exit code."""
    assert re.search(rf"\b{word}\b", CONTRACT)


def test_the_example_on_the_page_runs():
    """As it stands there."""
    code = re.search(r"```python\n(.*?)```", FLOWS, re.DOTALL)[1]
    namespace = {"__name__": "etl"}
    exec(compile(code, "etl.py", "exec"), namespace)
    assert namespace["main"]("2026-01-01") == 1
