"""From the name of a flow to the flow."""

import re
import sys

import pytest

from headrace import EntrypointError
from headrace.entrypoints import load_flow

FILES = {
    "good_flows.py": """
        from headrace import flow, task
        import beside_it
        @flow(name="etl")
        def main(n: int = 1): return n + beside_it.ONE
        @task
        def step(): pass
        def plain(n: int = 1): return n
        lam = lambda: 1
        text = "x"
        """,
    "beside_it.py": "ONE = 1",
    "no_flows.py": "x = 1",
    "needs_pandas.py": "import no_such_pandas",
    "raises.py": "x = 1\nraise ValueError('at import')",
    "exits.py": "import sys; sys.exit(3)",
    "broken.py": "def main(:\n  pass",
    "json.py": "def main(): return 'ours'",
}


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A folder with flows; what they load goes with the test."""
    for name, text in FILES.items():
        lines = text.strip("\n").splitlines()
        cut = len(lines[0]) - len(lines[0].lstrip())
        (tmp_path / name).write_text("\n".join(line[cut:] for line in lines))
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("entrypoint", ["good_flows:main", "good_flows.py:main"])
def test_a_flow_is_found_by_module_and_by_file(entrypoint, code):
    """With the modules beside it."""
    assert load_flow(entrypoint, code_dir=code).name == "etl"
    assert load_flow(entrypoint, code_dir=code)(5) == 6


def test_a_plain_function_is_a_flow_with_default_options(code):
    """Its parameters are checked like those of any flow."""
    assert load_flow("good_flows:plain", code_dir=code)("7") == 7


def test_a_file_may_be_named_like_a_module_in_use(code):
    """It does not take that module's place."""
    import json  # noqa: PLC0415 - the one that is in use

    assert load_flow("json.py:main", code_dir=code)() == "ours"
    assert sys.modules["json"] is json


WRONG = {
    "etl": ("BadEntrypoint", 'write "module:function" or "path/to/file.py:function"'),
    "good_flows:a.b": ("BadEntrypoint", 'write "module:function"'),
    "nowhere:main": ("BadEntrypoint", 'there is no module "nowhere" in '),
    "nowhere.at.all:main": ("BadEntrypoint", 'there is no module "nowhere.at.all" in '),
    "nowhere.py:main": ("BadEntrypoint", "Python files in"),
    "good_flows:mian": ("BadEntrypoint", 'module "good_flows" has no "mian"; its flows are: main'),
    "no_flows:main": ("BadEntrypoint", "it has no flow; decorate one with @flow"),
    "good_flows:step": ("BadEntrypoint", '"step" is a task; name a flow that calls it'),
    "good_flows:lam": ("BadEntrypoint", "a lambda has no name; write a `def`"),
    "good_flows:text": ("BadEntrypoint", "it cannot be run as a flow"),
    "needs_pandas:main": ("ImportError", "No module named 'no_such_pandas'; install it in the flow's image"),
    "needs_pandas.py:main": ("ImportError", "(needs_pandas.py:1)"),
    "raises:main": ("ImportError", "ValueError: at import (raises.py:2)"),
    "exits:main": ("ImportError", "it calls sys.exit(3) on import; put what runs under `if __name__"),
    "broken.py:main": ("ImportError", "SyntaxError: invalid syntax (broken.py:1)"),
}


@pytest.mark.parametrize(("entrypoint", "reason", "told"), [(key, *value) for key, value in WRONG.items()], ids=WRONG)
def test_what_is_wrong_is_told_with_what_to_do(entrypoint, reason, told, code):
    """And whether the code was found at all."""
    with pytest.raises(EntrypointError, match=re.escape(told)) as caught:
        load_flow(entrypoint, code_dir=code)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f'entrypoint "{entrypoint}": ')
