"""Whatever a source holds, a migration ends with files or with an error that says what to correct."""

import copy
from contextlib import suppress

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.migration.errors import MigrationError
from tests.unit.headrace.migration.migrating import SOURCES, migrated_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text("a{}$ *", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "limit", "cron"]), inner, max_size=2)
    ),
    max_leaves=4,
)
SAME_FOLDER = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def places(value, path=()):
    """The path of every field and item in a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def with_value(document, path, value):
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


PREFECT = yaml.safe_load((SOURCES / "prefect.yaml").read_text().replace("<<: *cpu", "").replace("<<: *job", ""))
CRONJOB = next(yaml.safe_load_all((SOURCES / "cronjobs.yaml").read_text()))


@pytest.mark.parametrize(("name", "document"), [("prefect.yaml", PREFECT), ("cronjobs.yaml", CRONJOB)])
@given(data=st.data())
@SAME_FOLDER
def test_a_field_of_any_value(tmp_path, name, document, data):
    """One field of a good file becomes something else."""
    path = data.draw(st.sampled_from(sorted(places(document), key=str)))
    text = yaml.safe_dump(with_value(document, path, data.draw(VALUES)))
    with suppress(MigrationError):
        migrated_text(tmp_path, name, text)


@given(text=st.text("ab*0123456789 /-,@=%\\#\n\"'", max_size=80))
@SAME_FOLDER
def test_a_crontab_of_any_text(tmp_path, text):
    """Lines that are no jobs are told, and never raise."""
    migrated_text(tmp_path, "crontab", text)
