"""A Flow's revision, and what keeps it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from headrace_operator.manifests.revision import code_config_map, controller_revision, revision_name, revision_of

SPEC: dict[str, Any] = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "x = 1", "b": ""}}}}
FLOW = {
    "metadata": {"name": "etl", "namespace": "team-a", "uid": "flow-uid", "generation": 3, "labels": {"own": "label"}},
    "spec": SPEC,
    "status": {"revision": "old"},
}
LABELS = {"app.kubernetes.io/managed-by": "headrace", "headrace.dev/flow": "etl", "headrace.dev/revision": "rev1"}


def test_equal_specs_have_equal_revisions_whatever_the_order_of_their_keys() -> None:
    """At every depth."""
    turned = {"source": {"inline": {"files": {"b": "", "etl.py": "x = 1"}}}, "entrypoint": "etl.py:main"}
    assert revision_of(SPEC) == revision_of(turned)
    assert re.fullmatch("[0-9a-f]{10}", revision_of(SPEC))


@pytest.mark.parametrize(
    "change",
    [
        {"entrypoint": "etl.py:other"},
        {"image": "a"},
        {"source": {"inline": {"files": {"etl.py": "x = 2", "b": ""}}}},
        {"env": [{"name": "A", "value": "1"}, {"name": "B"}]},
        {"env": [{"name": "B"}, {"name": "A", "value": "1"}]},
        {"args": ["ü"]},
    ],
)
def test_every_change_is_another_revision(change: dict[str, Any]) -> None:
    """The order of lists means something."""
    changes: list[dict[str, Any]] = [{}, {"env": []}, change]
    assert len({revision_of({**SPEC, **each}) for each in changes}) == 3


def test_a_revision_keeps_the_spec_and_goes_with_its_flow() -> None:
    """As the API holds it; the Flow's own labels are not taken over."""
    assert controller_revision(FLOW, "rev1") == {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": "etl-rev1",
            "namespace": "team-a",
            "labels": LABELS,
            "ownerReferences": [
                {
                    "apiVersion": "headrace.dev/v1alpha1",
                    "kind": "Flow",
                    "name": "etl",
                    "uid": "flow-uid",
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "data": {"spec": SPEC},
        "revision": 3,
    }


def test_inline_code_is_kept_immutable_and_goes_with_its_revision() -> None:
    """One ConfigMap a revision, of the same name."""
    stored = {"metadata": {"name": "etl-rev1", "uid": "revision-uid"}}
    made = code_config_map(stored, FLOW, "rev1")
    assert made is not None
    assert made["metadata"]["name"] == revision_name("etl", "rev1")
    assert made["metadata"]["ownerReferences"][0]["uid"] == "revision-uid"
    assert made["metadata"]["ownerReferences"][0]["kind"] == "ControllerRevision"
    assert (made["immutable"], made["data"]) == (True, {"etl.py": "x = 1", "b": ""})


@pytest.mark.parametrize("source", [{}, {"source": None}, {"source": {"image": {}}}])
def test_code_in_the_image_needs_no_config_map(source: dict[str, Any]) -> None:
    """None."""
    flow = {**FLOW, "spec": {"entrypoint": "etl:main", **source}}
    assert code_config_map({"metadata": {"name": "etl-rev1", "uid": "u"}}, flow, "rev1") is None
