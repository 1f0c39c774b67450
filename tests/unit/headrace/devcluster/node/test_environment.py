"""Variables, references and the downward API, by the rules of Kubernetes."""

from __future__ import annotations

import pytest

from headrace.devcluster.node.environment import command_line, expand
from headrace.devcluster.node.fields import field_value, resource_value

POD = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "u",
        "labels": {"b": 'q"', "a": "1"},
        "annotations": {"x/y": "z"},
    },
    "spec": {"nodeName": "node", "serviceAccountName": "sa"},
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)", "12"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("100$", "100$"),
        ("$()", "$()"),
    ],
)
def test_references(text, result):
    """As the API reference of Kubernetes describes them."""
    assert expand(text, {"A": "1", "B": "2"}) == result


def test_arguments_follow_the_command():
    """Both are expanded; without a command there is nothing to run."""
    assert command_line({"command": ["echo"], "args": ["$(A)"]}, {"A": "1"}) == ["echo", "1"]
    assert command_line({"args": ["x"]}, {}) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['a']", "1"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['x/y']", "z"),
        ("metadata.labels", 'a="1"\nb="q\\""'),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "127.0.0.1"),
    ],
)
def test_fields(path, value):
    """Every field by its path."""
    assert field_value(POD, path) == value


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.memory"}, "134217728"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "128"),
        ({"resource": "limits.memory", "divisor": "1G"}, "1"),
        ({"resource": "requests.cpu"}, "1"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.cpu"}, "4"),
        ({"resource": "requests.memory"}, "134217728"),
        ({"resource": "requests.ephemeral-storage"}, "0"),
    ],
)
def test_resources_round_up(reference, value):
    """In units of the divisor; without a limit the node's; without a request the limit."""
    container = {"resources": {"limits": {"memory": "128Mi"}, "requests": {"cpu": "250m"}}}

    assert resource_value(container, reference, {"cpu": "4"}) == value
