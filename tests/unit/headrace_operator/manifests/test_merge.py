"""podTemplates are merged as `kubectl patch` merges pods."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_operator.manifests.merge import merge

BASE: dict[str, Any] = {
    "spec": {
        "containers": [
            {"name": "flow", "image": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
        ],
        "nodeSelector": {"disk": "ssd", "zone": "a"},
        "tolerations": [{"key": "spot"}],
        "volumes": [{"name": "code", "configMap": {"name": "etl"}}],
    }
}


def merged(**change: Any) -> dict[str, Any]:
    result: dict[str, Any] = merge(BASE, {"spec": change})["spec"]
    return result


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        pytest.param({"hostNetwork": True}, "hostNetwork", True, id="a field is added"),
        pytest.param({"nodeSelector": {"zone": "b"}}, "nodeSelector", {"disk": "ssd", "zone": "b"}, id="maps by key"),
        pytest.param({"nodeSelector": {"zone": None}}, "nodeSelector", {"disk": "ssd"}, id="null removes a field"),
        pytest.param({"nodeSelector": None}, "nodeSelector", None, id="null removes a map"),
        pytest.param(
            {"nodeSelector": {"gpu": None}}, "nodeSelector", BASE["spec"]["nodeSelector"], id="null of nothing"
        ),
        pytest.param(
            {"nodeSelector": {"$patch": "replace", "gpu": "a100"}},
            "nodeSelector",
            {"gpu": "a100"},
            id="a map is replaced on request",
        ),
        pytest.param(
            {"tolerations": [{"key": "gpu"}]}, "tolerations", [{"key": "gpu"}], id="a list without a merge key is whole"
        ),
        pytest.param(
            {"volumes": [{"name": "data", "emptyDir": {}}]},
            "volumes",
            [*BASE["spec"]["volumes"], {"name": "data", "emptyDir": {}}],
            id="an item of another name is added",
        ),
        pytest.param(
            {"volumes": [{"name": "code", "configMap": {"optional": True}}]},
            "volumes",
            [{"name": "code", "configMap": {"name": "etl", "optional": True}}],
            id="an item of the name is merged",
        ),
        pytest.param(
            {"volumes": [{"name": "code", "$patch": "delete"}]}, "volumes", [], id="an item is deleted on request"
        ),
        pytest.param(
            {"volumes": [{"name": "code", "$patch": "replace", "emptyDir": {}}]},
            "volumes",
            [{"name": "code", "emptyDir": {}}],
            id="an item is replaced on request",
        ),
        pytest.param(
            {"volumes": [{"$patch": "replace"}, {"name": "data", "emptyDir": {}}]},
            "volumes",
            [{"name": "data", "emptyDir": {}}],
            id="a list is replaced on request",
        ),
        pytest.param(
            {"volumes": [{"name": "other", "$patch": "delete"}]},
            "volumes",
            BASE["spec"]["volumes"],
            id="deleting what is not there does nothing",
        ),
        pytest.param(
            {"containers": [{"name": "flow", "env": [{"name": "Y", "value": "3"}, {"name": "X", "$patch": "delete"}]}]},
            "containers",
            [{"name": "flow", "image": "a", "env": [{"name": "Y", "value": "3"}]}],
            id="deep inside",
        ),
        pytest.param(
            {
                "containers": [
                    {"name": "flow", "ports": [{"containerPort": 80}, {"containerPort": 81, "$patch": "delete"}]}
                ]
            },
            "containers",
            [{**BASE["spec"]["containers"][0], "ports": [{"containerPort": 80}]}],
            id="directives mean nothing where there was nothing, and do not reach the pod",
        ),
        pytest.param(
            {"securityContext": {"$patch": "replace", "runAsUser": 1, "runAsGroup": None}},
            "securityContext",
            {"runAsUser": 1},
            id="nor do nulls",
        ),
        pytest.param(
            {"initContainers": [{"name": "init", "image": "b", "workingDir": None}]},
            "initContainers",
            [{"name": "init", "image": "b"}],
            id="nor do those in an item that is added",
        ),
    ],
)
def test_the_change_is_laid_over(change: dict[str, Any], field: str, expected: Any) -> None:
    """The other fields stay as they are."""
    result = merged(**change)
    assert result.get(field) == expected
    assert {k: v for k, v in result.items() if k != field} == {k: v for k, v in BASE["spec"].items() if k != field}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"containers": "flow"}, id="a text for a list"),
        pytest.param({"containers": ["flow"]}, id="texts for items"),
        pytest.param({"containers": {"name": "flow"}}, id="a map for a list"),
        pytest.param({"nodeSelector": ["a"]}, id="a list for a map"),
        pytest.param({"volumes": [{"emptyDir": {}}]}, id="an item without its name"),
        pytest.param({"volumes": [{"name": ["a"]}]}, id="a name that is a list"),
        pytest.param({"volumes": [None]}, id="null for an item"),
        pytest.param({"nodeSelector": {"$patch": {}}}, id="a directive that is none"),
        pytest.param({"nodeSelector": {"$patch": ["replace"]}}, id="a directive that is a list"),
    ],
)
def test_a_broken_template_goes_through_to_the_api_server(change: dict[str, Any]) -> None:
    """It knows best what is wrong, and says so; nothing is raised here."""
    result = merged(**change)
    assert set(result) == set(BASE["spec"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "env", "volumes", "$patch", "spec", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON, JSON)
def test_neither_side_is_altered_and_nothing_is_raised(base: Any, change: Any) -> None:
    """Whatever shapes meet."""
    before = copy.deepcopy((base, change))
    merge(base, change)
    assert (base, change) == before


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_an_empty_change_changes_nothing(base: dict[str, Any]) -> None:
    """An absent podTemplate."""
    assert merge(base, {}) == base
