"""`headrace run --flow-run NAME --results-url URL`: a run on a laptop that is started again."""

import os
import subprocess
import sys

import pytest

from headrace.cli.main import application

CODE = """
from headrace import flow, task

@task
def extract():
    with open("extracted", "a") as file:
        file.write("x")
    return [1, 2]

@flow
def main(fails: bool = False):
    rows = extract()
    if fails:
        raise ConnectionError("the warehouse is closed")
    return len(rows)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With a flow in it; the working folder."""
    (tmp_path / "etl.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "etl", raising=False)
    return tmp_path


def run(*options):
    return application()(["run", "etl.py:main", *options], standalone_mode=False)


def test_a_run_of_the_same_name_takes_what_the_first_one_has_finished(folder, capsys):
    """It says how many tasks did not run; a run of another name runs them."""
    url = (folder / "results").as_uri()
    options = ("--results-url", url, "--flow-run", "today")
    assert run(*options, "-p", "fails=true") == 1
    assert run(*options) == 0
    assert (folder / "extracted").read_text() == "x"
    assert "1 task run, 1 cached" in capsys.readouterr().out
    assert run("--results-url", url, "--flow-run", "tomorrow") == 0
    assert (folder / "extracted").read_text() == "xx"


def test_the_environment_may_name_the_place(folder):
    """For the command, and for `python etl.py`, whose runs have names of their own."""
    environment = {**os.environ, "HEADRACE_RESULTS_URL": (folder / "results").as_uri()}
    for command in (["-m", "headrace.cli", "run", "etl.py:main", "--flow-run", "today"], ["etl.py"]):
        subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
    stored = sorted(path.relative_to(folder / "results").parts[:2] for path in (folder / "results").rglob("extract-*"))
    assert len(stored) == 2
    assert stored[1] == ("local", "today")
    assert stored[0][1].startswith("main-")


def test_without_a_place_nothing_is_kept(folder):
    """The name alone is a name."""
    assert run("--flow-run", "today") == 0
    assert run("--flow-run", "today") == 0
    assert (folder / "extracted").read_text() == "xx"
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["etl.py", "extracted"]
