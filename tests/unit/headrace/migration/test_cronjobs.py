"""CronJobs field by field."""

import copy

import pytest
import yaml

from headrace.migration.errors import MigrationError
from headrace.migration.report import Outcome
from tests.unit.headrace.migration.migrating import manifests_of, migrated_text, texts

CRONJOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "job"},
    "spec": {
        "schedule": "0 1 * * *",
        "jobTemplate": {
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "command": ["x"]}]}}},
        },
    },
}


@pytest.fixture
def migrated(tmp_path):
    """What comes of the CronJob above with these changes; each is a path of fields and a value."""

    def migrate(*changes):
        job = copy.deepcopy(CRONJOB)
        for path, value in changes:
            place = job
            *above, last = path.split(".")
            for key in above:
                place = place[int(key)] if key.isdigit() else place.setdefault(key, {})
            place[last] = value
        return migrated_text(tmp_path, "jobs.yaml", yaml.safe_dump(job))

    return migrate


POD = "spec.jobTemplate.spec.template.spec"


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("spec.concurrencyPolicy", "Forbid", "concurrency", {"limit": 1, "onConflict": "Skip"}),
        ("spec.concurrencyPolicy", "Replace", "concurrency", {"limit": 1, "onConflict": "Replace"}),
        ("spec.concurrencyPolicy", "Allow", "concurrency", None),
        ("spec.startingDeadlineSeconds", 60, "catchUp", {"startingDeadlineSeconds": 60}),
        ("spec.suspend", True, "suspend", True),
        ("spec.successfulJobsHistoryLimit", 0, "history", {"succeeded": 0, "failed": 1}),
        ("spec.failedJobsHistoryLimit", 7, "history", {"succeeded": 3, "failed": 7}),
        ("spec.timeZone", "Asia/Tokyo", "schedules", [{"name": "cron", "cron": "0 1 * * *", "timeZone": "Asia/Tokyo"}]),
        ("spec.schedule", "TZ=Asia/Tokyo 0 2 * * *", "schedules",
         [{"name": "cron", "cron": "0 2 * * *", "timeZone": "Asia/Tokyo"}]),
        ("spec.schedule", "@every 1h30m", "schedules", [{"name": "interval", "intervalSeconds": 5400}]),
        ("spec.schedule", "@weekly", "schedules", [{"name": "cron", "cron": "@weekly"}]),
    ],
)  # fmt: skip
def test_a_field_of_the_deployment(migrated, path, value, field, expected):
    """In a Deployment's words; a default of ours is left out."""
    assert manifests_of(migrated((path, value)), "Deployment")[0]["spec"].get(field) == expected


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("spec.jobTemplate.spec.activeDeadlineSeconds", 60, "timeoutSeconds", 60),
        (f"{POD}.activeDeadlineSeconds", 30, "timeoutSeconds", 30),
        (f"{POD}.imagePullSecrets", [{"name": "s"}], "imagePullSecrets", [{"name": "s"}]),
        (f"{POD}.containers.0.env", [{"name": "A", "value": "1"}], "env", [{"name": "A", "value": "1"}]),
        (f"{POD}.containers.0.resources", {"limits": {"cpu": 1}}, "resources", {"limits": {"cpu": "1"}}),
        (f"{POD}.containers.0.workingDir", "/x", "podTemplate",
         {"spec": {"containers": [{"name": "flow", "workingDir": "/x"}]}}),
        (f"{POD}.hostNetwork", True, "podTemplate", {"spec": {"hostNetwork": True}}),
        ("spec.jobTemplate.spec.template.metadata", {"annotations": {"a": "b"}}, "podTemplate",
         {"metadata": {"annotations": {"a": "b"}}}),
    ],
)  # fmt: skip
def test_a_field_of_the_flow(migrated, path, value, field, expected):
    """What a Flow has no field for is in its podTemplate."""
    assert manifests_of(migrated((path, value)), "Flow")[0]["spec"][field] == expected


def test_retries_are_those_of_a_job(migrated):
    """Six where none are given, after 10, 20, 40 … seconds, at most six minutes."""
    spec = manifests_of(migrated(), "Flow")[0]["spec"]
    assert spec["retries"] == {"limit": 6, "maxDelaySeconds": 360, "jitter": 0.0}
    assert "retries" not in manifests_of(migrated(("spec.jobTemplate.spec.backoffLimit", 0)), "Flow")[0]["spec"]


def test_a_sidecar_stays_beside_the_flow(migrated):
    """The first container is the flow, and the report says so."""
    containers = [{"name": "c", "image": "i", "command": ["x"], "tty": True}, {"name": "proxy", "image": "p"}]
    found = migrated((f"{POD}.containers", containers))
    spec = manifests_of(found, "Flow")[0]["spec"]
    assert spec["podTemplate"]["spec"]["containers"] == [{"name": "flow", "tty": True}, {"name": "proxy", "image": "p"}]
    assert any("sidecars" in each for each in texts(found, Outcome.CHANGED))


@pytest.mark.parametrize(
    ("path", "value", "advice"),
    [
        ("spec.schedule", "0 25 * * *", 'field "25"'),
        ("spec.schedule", "", "fields"),
        ("spec.timeZone", "Mars/Base", "no IANA name"),
        ("spec.concurrencyPolicy", "Maybe", "write concurrency"),
        ("spec.jobTemplate.spec.completions", 3, "start as many runs"),
        ("spec.jobTemplate.spec.podFailurePolicy", {"rules": []}, "exit codes 75 and 78"),
        (f"{POD}.containers", [], "no container"),
        (f"{POD}.containers.0.command", None, "ENTRYPOINT"),
    ],
)
def test_what_cannot_be_carried_over_is_left_behind(migrated, path, value, advice):
    """With what to do by hand."""
    told = texts(migrated((path, value)), Outcome.LEFT)
    assert any(advice in each for each in told), told


def test_what_the_api_server_would_refuse_is_an_error_with_its_line(migrated):
    """File, line, field, the value, and the next step."""
    with pytest.raises(
        MigrationError, match=r'jobs.yaml:\d+: spec.image: Flow "job" would get 5: .*; change it in the source'
    ):
        migrated((f"{POD}.containers.0.image", 5))


def test_a_long_name_leaves_room_for_that_of_the_schedule(migrated):
    """The names of runs hold both."""
    found = migrated(("metadata.name", "a" * 52), ("spec.schedule", "@every 1h"))
    deployment = manifests_of(found, "Deployment")[0]
    assert len(deployment["metadata"]["name"]) + len(deployment["spec"]["schedules"][0]["name"]) == 47


def test_a_cronjob_without_a_name_is_an_error(migrated):
    """No name can be made for it."""
    with pytest.raises(MigrationError, match=r"metadata.name: it is None, expected a name"):
        migrated(("metadata", {}))


def test_a_list_is_migrated_item_by_item(tmp_path):
    """As `kubectl get cronjobs -o yaml` prints it."""
    text = yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": [CRONJOB, CRONJOB]})
    found = migrated_text(tmp_path, "jobs.yaml", text)
    assert [each["metadata"]["name"] for each in manifests_of(found, "Flow")] == ["job", "job-2"]
