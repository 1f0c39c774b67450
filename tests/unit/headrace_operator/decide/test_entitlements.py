"""What a Flow lets its pods use is found wherever it is named."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.decide.entitlements import entitlements
from tests.builders import a_flow


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"serviceAccountName": "etl"}, {"ServiceAccount etl"}),
        ({"secrets": ["a", "b"]}, {"Secret a", "Secret b"}),
        ({"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "a", "key": "k"}}}]}, {"Secret a"}),
        ({"envFrom": [{"secretRef": {"name": "a"}}, {"configMapRef": {"name": "b"}}]}, {"Secret a"}),
        ({"podTemplate": {"spec": {"serviceAccount": "etl"}}}, {"ServiceAccount etl"}),
        ({"podTemplate": {"spec": {"volumes": [{"name": "v", "secret": {"secretName": "a"}}]}}}, {"Secret a"}),
        (
            {"podTemplate": {"spec": {"volumes": [{"projected": {"sources": [{"secret": {"name": "a"}}]}}]}}},
            {"Secret a"},
        ),
        (
            {"podTemplate": {"spec": {"volumes": [{"csi": {"nodePublishSecretRef": {"name": "a"}}}]}}},
            {"Secret a"},
        ),
        (
            {
                "serviceAccountName": "default",
                "imagePullSecrets": [{"name": "registry"}],
                "podTemplate": {
                    "metadata": {"annotations": {"secret": "x"}},
                    "spec": {"imagePullSecrets": [{"name": "r"}]},
                },
                "env": [{"name": "SECRET", "value": "x"}],
            },
            set(),
        ),
    ],
    ids=["account", "secrets", "env", "envFrom", "template's account", "volume", "projected", "driver", "what is free"],
)
def test_what_is_named_is_found(spec: dict[str, Any], named: set[str]) -> None:
    """Names that everybody may use are left out."""
    assert entitlements(a_flow(**spec).spec) == named
