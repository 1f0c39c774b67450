"""`headrace render --output` and `headrace rerender`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from headrace.cli.main import application
from headrace.cli.recording import arguments_of, headed, recorded_in

CODE = """
from headrace import flow

@flow
def main(day: str = "today", n: int = 3):
    return n
"""
ROOT = Path(__file__).parents[4]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with two flows of one module name, at work in its root."""
    for folder in ("orders", "prices"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "etl.py").write_text(CODE.replace("n: int = 3", f'n: int = 3, of: str = "{folder}"'))
    (tmp_path / "manifests").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments):
    """What `headrace …` prints and exits with, as a process."""
    started = [sys.executable, "-m", "headrace.cli", *arguments]
    return subprocess.run(started, capture_output=True, text=True, check=False, timeout=120)


def render(folder, *options):
    """Written to manifests/FOLDER.yaml."""
    file = Path("manifests") / f"{folder}.yaml"
    done = command("render", f"{folder}/etl.py:main", "--name", folder, "--output", str(file), *options)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return file


def test_a_manifest_tells_how_it_was_rendered_and_stays_as_it_is(repository):
    """The first line is the command, seen from its folder; rendered again, nothing changes."""
    file = render(
        "orders", "--cron", "0 7 * * *", "-p", "day=2026 01", "--inline", "--on-conflict=Skip", "--concurrency=1"
    )
    other = render("prices", "--interval", "60")
    first = file.read_text().partition("\n")[0]

    assert first == (
        "# headrace render ../orders/etl.py:main --name orders --inline --cron '0 7 * * *' "
        "--param 'day=2026 01' --concurrency 1 --on-conflict Skip"
    )
    assert [each["kind"] for each in yaml.safe_load_all(file.read_text())] == ["Flow", "Deployment"]
    before = file.read_text(), other.read_text()
    done = command("rerender", str(file), str(other))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (file.read_text(), other.read_text()) == before


def test_a_manifest_tells_every_option(repository):
    """Those that are given; a file is named as it is seen from the manifest."""
    (repository / "given.json").write_text('{"n": 5}')
    options = [
        *("--namespace", "team-a", "--image", "registry.example/etl:1", "--rrule", "FREQ=DAILY"),
        *("--time-zone", "Europe/London", "--after", "nightly", "--after", "hourly", "--param", "day=today"),
        *("--params-file", "../given.json", "--concurrency", "2", "--on-conflict", "Skip", "--deployment"),
    ]
    file = render("orders", "--image-source", *(each.removeprefix("../") for each in options))
    assert recorded_in(file.read_text()) == ["../orders/etl.py:main", "--name", "orders", *options, "--image-source"]


def test_check_shows_what_is_out_of_date_and_writes_nothing(repository):
    """Exit status 1 and a diff; without --check the file is written, and then it is current."""
    file = render("orders")
    old = file.read_text()
    flow = repository / "orders" / "etl.py"
    flow.write_text(flow.read_text().replace("n: int = 3", "n: int = 4"))

    checked = command("rerender", "--check", str(file))
    assert checked.returncode == 1
    assert re.search(r"^-\s+def main\(.*n: int = 3", checked.stdout, re.MULTILINE)
    assert re.search(r"^\+\s+def main\(.*n: int = 4", checked.stdout, re.MULTILINE)
    assert file.read_text() == old

    assert command("rerender", str(file)).returncode == 1
    assert "n: int = 4" in file.read_text()
    assert command("rerender", "--check", str(file)).returncode == 0


def test_other_files_are_passed_over_and_folders_searched(repository):
    """Without a path it is this folder; hidden ones hold what is nobody's manifest."""
    (repository / "other.yaml").write_text("kind: ConfigMap\n")
    (repository / ".cache").mkdir()
    (repository / ".cache" / "old.yaml").write_text("# headrace render nowhere.py:main\n")
    render("orders")
    assert command("rerender", "--check").returncode == 0
    stale = repository / "manifests" / "orders.yaml"
    stale.write_text(stale.read_text() + "# by hand\n")
    done = command("rerender", "--check")
    assert (done.returncode, "-# by hand" in done.stdout) == (1, True)
    assert "--- manifests/orders.yaml" in done.stdout


def test_the_commit_hook_stops_a_commit_whose_manifest_is_out_of_date(repository):
    """With pre-commit itself and the hook of this project, in the environment of this Python."""
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (hook.pop("language"), hook.pop("additional_dependencies")) == ("python", [".[cli]"])
    hook.update(language="unsupported", entry=hook["entry"].replace("headrace", f"{sys.executable} -m headrace.cli"))
    config = {"repos": [{"repo": "local", "hooks": [hook]}]}
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    render("orders")
    variables = {**os.environ, "PRE_COMMIT_HOME": str(repository / ".pre-commit"), "GIT_CONFIG_GLOBAL": os.devnull}

    def run(*words):
        done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False, timeout=200)
        return done.returncode, done.stdout + done.stderr

    for words in ("init -q", "config user.name Ada", "config user.email ada@example.com", "add ."):
        assert run("git", *words.split()) == (0, "")
    assert run(sys.executable, "-m", "pre_commit", "install")[0] == 0
    status, said = run("git", "commit", "-m", "Add a flow")
    assert status == 0, said

    flow = repository / "orders" / "etl.py"
    flow.write_text(flow.read_text().replace("n: int = 3", "n: int = 4"))
    run("git", "add", "orders/etl.py")
    status, said = run("git", "commit", "-m", "Change its default")
    assert (status, "manifests/orders.yaml: rendered again" in said) == (1, True), said
    run("git", "add", "manifests")
    status, said = run("git", "commit", "-m", "Change its default")
    assert status == 0, said


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("# headrace render nowhere.py:main", "x.yaml: "),
        ("# headrace render etl.py:main --output y.yaml", "x.yaml: its first line names --output"),
    ],
)
def test_a_line_that_cannot_be_followed_is_told_with_its_file(repository, first, told):
    """In one line, without a traceback."""
    (repository / "x.yaml").write_text(f"{first}\n")
    done = command("rerender", "x.yaml")
    assert done.returncode not in {0, 1}
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_not_given_is_not_recorded():
    """0 is a value; a module is named as it is."""
    options = {"--a": None, "--b": False, "--c": "", "--d": 0, "--e": True, "--f": ["x", "y z"]}
    found = arguments_of("pkg.etl:main", options, Path("/tmp"))
    assert found == ["pkg.etl:main", "--d", "0", "--e", "--f", "x", "--f", "y z"]
    assert recorded_in(headed("kind: Flow\n", found)) == found
    assert recorded_in("kind: Flow\n") is None


def test_rerender_is_in_the_help():
    """With its option."""
    assert "--check" in CliRunner().invoke(application(), ["rerender", "--help"], env={"COLUMNS": "120"}).stdout
