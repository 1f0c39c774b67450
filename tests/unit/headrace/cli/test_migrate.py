"""`headrace migrate`: reports, files, and what is never written over."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from headrace.cli.main import application
from headrace.migration.errors import MigrationError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a crontab and a module."""
    (tmp_path / "crontab").write_text("CRON_TZ=Europe/London\n0 7 * * * /srv/orders.sh\n")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "etl.py").write_text("from prefect import flow\n\n@flow\ndef etl(): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments):
    """What `headrace migrate …` prints and raises, in this process."""
    return CliRunner().invoke(application(), ["migrate", *arguments])


def files(folder):
    """Every file below a folder."""
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


def test_files_and_report(folder):
    """The manifests can be applied; the report says what is left."""
    done = command("crontab", "flows/etl.py")
    assert done.exit_code == 0
    assert files(folder / "migrated") == {"crontab.headrace.yaml", "flows/etl.py"}
    kinds = [each["kind"] for each in yaml.safe_load_all((folder / "migrated/crontab.headrace.yaml").read_text())]
    assert kinds == ["Flow", "Deployment"]
    assert "2 files written below migrated; 1 part left behind" in done.output
    assert "crontab:2: /srv/orders.sh: debian:stable-slim stands in" in done.output


def test_a_dry_run_writes_nothing(folder):
    """It prints what it would write."""
    before = files(folder)
    done = command("crontab", "--dry-run", "--image", "tools:1", "--namespace", "ops")
    assert files(folder) == before
    assert "image: tools:1" in done.output
    assert "namespace: ops" in done.output


def test_the_report_as_json(folder):
    """Each source with its files and findings."""
    found = json.loads(command("crontab", "flows/etl.py", "--dry-run", "-o", "json").output)
    assert [(each["source"], each["kind"]) for each in found] == [
        ("crontab", "user crontab"),
        ("flows/etl.py", "Python module"),
    ]
    assert found[0]["files"] == ["crontab.headrace.yaml"]
    assert [each["line"] for each in found[0]["leftBehind"]] == [2]
    assert found[1]["leftBehind"] == []
    assert {"line", "part", "text"} == found[1]["carriedOver"][0].keys()


def test_the_same_migration_again_changes_nothing(folder):
    """One that was broken off is done again."""
    command("crontab", "flows/etl.py")
    (folder / "migrated/flows/etl.py").unlink()
    done = command("crontab", "flows/etl.py")
    assert done.exit_code == 0
    assert "1 file written" in done.output


def test_other_content_is_not_written_over(folder):
    """And no other file is written either."""
    command("crontab")
    place = folder / "migrated" / "crontab.headrace.yaml"
    place.write_text("mine")
    refused = command("crontab", "flows/etl.py")
    assert isinstance(refused.exception, MigrationError)
    assert "crontab.headrace.yaml; give --overwrite to replace" in str(refused.exception)
    assert place.read_text() == "mine"
    assert not (folder / "migrated/flows").exists()
    assert command("crontab", "--overwrite").exit_code == 0
    assert place.read_text() != "mine"


def test_a_module_in_its_place(folder):
    """With `--to . --overwrite` the rewritten module takes the place of the old one."""
    assert isinstance(command("flows/etl.py", "--to", ".").exception, MigrationError)
    assert command("flows/etl.py", "--to", ".", "--overwrite").exit_code == 0
    assert (folder / "flows/etl.py").read_text().startswith("from headrace import flow\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.yaml", "cannot be read"),
        ("flows", "it is a folder; name its files"),
        ("data.bin", "no UTF-8 text"),
    ],
)
def test_a_source_that_cannot_be_read(folder, name, message):
    """Says what to name in its place."""
    (folder / "data.bin").write_bytes(b"\xff\xfe\x00")
    assert message in str(command(name).exception)


def test_two_sources_of_one_file_are_refused(folder):
    """None would overwrite the other."""
    (folder / "other").mkdir()
    (folder / "other" / "crontab").write_text("0 8 * * * /srv/other.sh\n")
    done = command("crontab", "other/crontab")
    assert 'another source is written to "crontab.headrace.yaml" too' in str(done.exception)
    assert not (folder / "migrated").exists()


def test_a_folder_that_cannot_be_written(folder):
    """Says what to do."""
    (folder / "taken").write_text("")
    assert "give --to another folder" in str(command("crontab", "--to", "taken/below").exception)
