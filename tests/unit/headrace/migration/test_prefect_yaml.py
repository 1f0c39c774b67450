"""A prefect.yaml: what is read, what is told, what is refused."""

import pytest

from headrace.migration.errors import MigrationError
from headrace.migration.report import Outcome
from tests.unit.headrace.migration.migrating import manifests_of, migrated_text, texts


@pytest.fixture
def migrated(tmp_path):
    """What comes of a prefect.yaml with this text."""
    return lambda text: migrated_text(tmp_path, "prefect.yaml", text)


def one(extra=""):
    """A prefect.yaml with one deployment; its fields begin in line 4."""
    return f"deployments:\n- name: etl\n  entrypoint: etl.py:main\n{extra}"


def test_deployments_of_one_name_are_told_apart_by_their_flow(migrated):
    """In Prefect a deployment's name is unique for its flow only."""
    found = migrated("deployments:\n- {name: prod, entrypoint: a.py:one}\n- {name: prod, entrypoint: b.two}\n")
    assert [each["metadata"]["name"] for each in manifests_of(found, "Deployment")] == ["one-prod", "two-prod"]
    assert [each["spec"]["entrypoint"] for each in manifests_of(found, "Flow")] == ["a.py:one", "b:two"]


def test_deployments_of_one_entrypoint_share_a_flow(migrated):
    """Unless their images differ."""
    image = "work_pool: {name: k, job_variables: {image: %s}}"
    text = "deployments:\n" + "".join(
        f"- {{name: {name}, entrypoint: a.py:one, {image % name_of}}}\n"
        for name, name_of in (("x", "i:1"), ("y", "i:1"), ("z", "i:2"))
    )
    found = migrated(text)
    assert [each["spec"]["image"] for each in manifests_of(found, "Flow")] == ["i:1", "i:2"]
    assert [each["spec"]["flowRef"]["name"] for each in manifests_of(found, "Deployment")] == ["one", "one", "one-2"]
    assert any("one-2" in each for each in texts(found, Outcome.CHANGED))


def test_includes_are_resolved(tmp_path):
    """A file beside it can hold a part."""
    (tmp_path / "job.yaml").write_text("image: i:1\ncpu_limit: 2\n")
    text = one("  work_pool:\n    name: k\n    job_variables: !include job.yaml\n")
    found = migrated_text(tmp_path, "prefect.yaml", text)
    assert manifests_of(found, "Deployment")[0]["spec"]["resources"] == {"limits": {"cpu": 2}}
    with pytest.raises(MigrationError, match=r"prefect.yaml:1: !include: .*none.yaml\" cannot be read"):
        migrated_text(tmp_path, "prefect.yaml", "deployments: !include none.yaml\n")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("  concurrency_limit: 2\n", {"limit": 2}),
        ("  concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}\n", {"limit": 1, "onConflict": "Skip"}),
        ("  concurrency_limit: {limit: 1, collision_strategy: ENQUEUE, grace_period_seconds: 60}\n", {"limit": 1}),
        ("", None),
    ],
)
def test_a_concurrency_limit(migrated, extra, expected):
    """Queue is the default of both."""
    assert manifests_of(migrated(one(extra)), "Deployment")[0]["spec"].get("concurrency") == expected


@pytest.mark.parametrize(
    ("extra", "advice"),
    [
        ("  triggers: [{type: event}]\n", "start a FlowRun"),
        ("  colour: red\n", "no such field here"),
        ("  parameters: {key: '{{ $KEY }}'}\n", "which only Prefect knows"),
        ("  schedules: [daily]\n", "is no mapping"),
        ("  pull: [{prefect.deployments.steps.git_clone: {repository: x}}]\n", "copy it into the image"),
        ("  work_pool: {name: k, work_queue_name: high}\n", "spec.priority"),
        ("  work_pool: {name: k, job_variables: {image: '{{ b.image }}'}}\n", "known only when it is built"),
        ("  work_pool: {name: k, job_variables: {networks: [a]}}\n", "write it into podTemplate"),
        ("  work_pool: {name: k, job_variables: {command: run}}\n", "the operator starts the flow itself"),
        ("  work_pool: {name: k, job_variables: {env: {A: '{{ $A }}-x'}}}\n", "known to Prefect only"),
        ("  concurrency_limit: {limit: 1, collision_strategy: CANCEL_RUNNING}\n", "write onConflict"),
    ],
)
def test_what_cannot_be_carried_over_is_left_behind(migrated, extra, advice):
    """With the line of the field."""
    told = texts(migrated(one(extra)), Outcome.LEFT)
    assert any(advice in each and each.split()[0] == "4" for each in told), told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "deployments:\n- entrypoint: a.py:f\n",
            r"prefect.yaml:2: deployments\[0\].name: it is None, expected some text",
        ),
        ("deployments:\n- name: x\n", r"prefect.yaml:2: deployments\[x\].entrypoint: it is None"),
        ("deployments:\n- 5\n", r"prefect.yaml:1: deployments\[0\]: it is 5, expected a mapping"),
        ("deployments: [\n", r"prefect.yaml:2: no YAML: .*; correct the file"),
        (one("  concurrency_limit: many\n"), r'spec.concurrency.limit: Deployment "etl" would get \'many\''),
        ("deployments:\n- {name: x, entrypoint: 'a b.py:f'}\n", 'Flow "f", spec.entrypoint: it is "a b.py:f"'),
        ("name: x\n", "neither a prefect.yaml"),
        ("- 1\n", "neither a prefect.yaml"),
    ],
)
def test_what_is_broken_is_refused(migrated, text, message):
    """With file, line, field, what was found, and what to do."""
    with pytest.raises(MigrationError, match=message):
        migrated(text)


def test_nothing_is_said_of_an_empty_file_of_deployments(migrated):
    """There is nothing to write."""
    assert migrated("deployments: []\n").outputs == ()
