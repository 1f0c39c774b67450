"""Every knob comes from the environment, and a wrong one is named."""

from __future__ import annotations

import pytest

from headrace_operator.settings import Settings, SettingsError, load_settings


def test_without_a_word_there_are_defaults() -> None:
    """Empty counts as absent, and what is not ours is passed over."""
    assert load_settings({}) == Settings()
    assert load_settings({"HEADRACE_WORKERS": "", "HEADRACE_UNKNOWN": "x", "WORKERS": "3"}) == Settings()


def test_each_is_read_from_a_variable_of_its_name() -> None:
    """As text, turned into what it is."""
    settings = load_settings(
        {"HEADRACE_WORKERS": "4", "HEADRACE_STATUS_DELAY_S": "0.5", "HEADRACE_NAMESPACE": "team-a"}
    )
    assert (settings.workers, settings.status_delay_s, settings.namespace) == (4, 0.5, "team-a")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("workers", "0", "Input should be greater than or equal to 1"),
        ("workers", "257", "Input should be less than or equal to 256"),
        ("workers", "many", "Input should be a valid integer, unable to parse string as an integer"),
        ("start_deadline_s", "0", "Input should be greater than 0"),
        ("start_deadline_s", "soon", "Input should be a valid number, unable to parse string as a number"),
        ("orphan_ttl_s", "-1", "Input should be greater than or equal to 0"),
        ("revision_limit", "0", "Input should be greater than or equal to 1"),
        ("status_delay_s", "-0.1", "Input should be greater than or equal to 0"),
        ("liveness_port", "65536", "Input should be less than or equal to 65535"),
        ("metrics_port", "-1", "Input should be greater than or equal to 0"),
        ("leader_lease_s", "1", "Input should be greater than or equal to 2"),
        ("history_retention_days", "999999999", "Input should be less than or equal to 36500"),
        ("history_batch_delay_s", "inf", "Input should be less than or equal to 60"),
        ("log_format", "xml", "Input should be 'auto', 'json' or 'console'"),
        ("log_level", "trace", "Input should be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str, expected: str) -> None:
    """Variable, value, what is expected, what it is for."""
    variable = f"HEADRACE_{name.upper()}"
    with pytest.raises(SettingsError) as refused:
        load_settings({variable: value})
    assert str(refused.value) == f'{variable} is "{value}": {expected} ({Settings.model_fields[name].description})'


def test_one_namespace_cannot_be_spread_over_shards() -> None:
    """It is in one shard, and the others would have nothing."""
    assert load_settings({"HEADRACE_SHARDS": "8"}).shards == 8
    with pytest.raises(SettingsError, match="leave HEADRACE_NAMESPACE or HEADRACE_SHARDS out"):
        load_settings({"HEADRACE_NAMESPACE": "team-a", "HEADRACE_SHARDS": "2"})


def test_cluster_objects_are_ignored_by_one_namespace_only() -> None:
    """Pools and limits of others would be passed over."""
    ignoring = load_settings({"HEADRACE_NAMESPACE": "team-a", "HEADRACE_CLUSTER_OBJECTS": "ignore"})
    assert ignoring.cluster_objects == "ignore"
    with pytest.raises(SettingsError, match="set HEADRACE_NAMESPACE"):
        load_settings({"HEADRACE_CLUSTER_OBJECTS": "ignore"})


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is_for(name: str) -> None:
    """Its description is what people read in an error."""
    assert Settings.model_fields[name].description
