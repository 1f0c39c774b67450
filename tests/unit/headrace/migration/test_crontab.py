"""Crontabs are read as cron reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from headrace.migration.crontab import is_system
from headrace.migration.report import Outcome
from tests.unit.headrace.migration.migrating import manifests_of, migrated_text, texts


@pytest.fixture
def crontab(tmp_path):
    """What comes of a crontab with this text."""
    return lambda text, **options: migrated_text(tmp_path, "crontab", text, **options)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cat", ""),
        ("cat%hello", "hello\n"),
        ("cat%one%two", "one\ntwo\n"),
        ("cat%100\\%%%x", "100%\n\nx\n"),
        ("echo 5\\%", "5%\n"),
        ("cat%a%", "a\n"),
        ("cat%END_OF_INPUT%$HOME `x`", "END_OF_INPUT\n$HOME `x`\n"),
        ("cat; cat && false || echo x%in", "in\nx\n"),
    ],
)
def test_percent_signs_are_standard_input(crontab, line, expected):
    """The command prints what it would print under cron; a real shell runs it."""
    spec = manifests_of(crontab(f"* * * * * {line}\n"), "Flow")[0]["spec"]
    shell = shutil.which("sh")
    done = subprocess.run([shell, *spec["args"]], input=b"", capture_output=True, check=False)
    assert done.stdout.decode() == expected
    assert spec["command"] == ["/bin/sh"]


@pytest.mark.parametrize(
    ("path", "text", "system"),
    [
        ("crontab", "0 1 * * * backup --full\n", False),
        ("crontab", "0 1 * * * root backup\n0 2 * * * www-data clean\n", True),
        ("crontab", "# m h dom mon dow user command\n0 1 * * * deploy /srv/run\n", True),
        ("crontab", "0 1 * * * root backup\n0 2 * * * /bin/clean\n", False),
        ("/etc/crontab", "0 1 * * * deploy /srv/run\n", True),
        ("etc/cron.d/app", "0 1 * * * deploy /srv/run\n", True),
        ("crontab", "", False),
    ],
)
def test_the_two_forms_are_told_apart(path, text, system):
    """By the file's place, its header, or the users that all of its lines name."""
    assert is_system(Path(path), text) is system


def test_variables_hold_for_the_lines_below_them(crontab):
    """As in cron; quotes around a value go."""
    found = crontab('A=1\n0 1 * * * one\nA="2 3"\nB = x\n0 2 * * * two\n')
    env = [flow["spec"]["env"] for flow in manifests_of(found, "Flow")]
    assert env == [[{"name": "A", "value": "1"}], [{"name": "A", "value": "2 3"}, {"name": "B", "value": "x"}]]


def test_without_a_time_zone_the_report_says_so(crontab):
    """A crontab goes by the machine's clock."""
    assert any("time zone" in each for each in texts(crontab("0 1 * * * one\n"), Outcome.CHANGED))
    assert not any(
        "time zone" in each for each in texts(crontab("CRON_TZ=Asia/Tokyo\n0 1 * * * one\n"), Outcome.CHANGED)
    )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("@reboot /srv/start\n", "refused"),
        ("@every_minute /srv/poll\n", "not known here"),
        ("0 99 * * * one\n", 'field "99"'),
        ("0 1 * *\n", "neither a job nor a variable"),
        ("MAILTO=a@example.com\n", "alert on runs that fail"),
        ("CRON_TZ=Mars\n0 1 * * * one\n", "no IANA name"),
        ("0 1 * * * one\n", "stands in"),
    ],
)
def test_what_cannot_be_carried_over_is_left_behind(crontab, text, advice):
    """With its line."""
    told = texts(crontab(text), Outcome.LEFT)
    assert any(advice in each and each.split()[0] == str(text.count("\n")) for each in told), told


def test_an_image_for_all_commands(crontab):
    """Then none is left to be named."""
    found = crontab("0 1 * * * one\n", image="ghcr.io/acme/tools:4", namespace="ops")
    flow, deployment = manifests_of(found)
    assert flow["spec"]["image"] == "ghcr.io/acme/tools:4"
    assert {flow["metadata"]["namespace"], deployment["metadata"]["namespace"]} == {"ops"}
    assert found.of(Outcome.LEFT) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/opt/app/bin/backup.sh --full", "backup"),
        ("cd /srv/app && python3 -m report --day x", "report"),
        ("nice -n 19 /usr/bin/php /var/www/Clean_Up.php", "clean-up"),
        ("LANG=C sudo -u x tool", "x"),
        ("[ -x /usr/sbin/anacron ]", "anacron"),
        (": > /dev/null", "null"),
        ("1 2 3", "job"),
    ],
)
def test_a_job_is_named_after_its_program(crontab, command, name):
    """Not after the interpreter, options or folders."""
    assert manifests_of(crontab(f"0 1 * * * {command}\n"), "Flow")[0]["metadata"]["name"] == name


def test_two_jobs_of_one_program_get_two_names(crontab):
    """And the report says so."""
    found = crontab("0 1 * * * backup a\n0 2 * * * backup b\n")
    assert [each["metadata"]["name"] for each in manifests_of(found, "Deployment")] == ["backup", "backup-2"]
    assert any("backup-2" in each for each in texts(found, Outcome.CHANGED))
