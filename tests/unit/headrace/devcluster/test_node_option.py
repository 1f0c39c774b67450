"""`--node`, and the options it is made of."""

from __future__ import annotations

import pytest

from headrace.devcluster.errors import BadNodeOption
from headrace.devcluster.node.__main__ import parse_options
from headrace.devcluster.node.options import NodeDescription, Taint
from headrace.devcluster.node_option import EXAMPLE, parse_node

GPU = NodeDescription(
    name="gpu",
    labels={"headrace.dev/pool": "gpu"},
    taints=(Taint("nvidia.com/gpu", "present", "NoSchedule"),),
    capacity={"nvidia.com/gpu": "1"},
)


def test_a_whole_node_in_one_option():
    """The example of the messages is a good one."""
    assert parse_node(EXAMPLE) == GPU


def test_the_same_node_reaches_its_process():
    """Arguments of the node's process and back."""
    options = parse_options([*GPU.arguments(), "--kubeconfig=k", "--directory=d"])

    assert options.description == GPU


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("label:a=b", "the name is missing"),
        ("name=Big_Node", 'node name "Big_Node": expected lower case letters'),
        ("name=a,colour:red", '"colour:red" is none of name=, label:, taint:, capacity:'),
        ("name=a,label:x", 'label "x": expected KEY=VALUE'),
        ("name=a,taint:x=y", 'taint "x=y": expected KEY=VALUE:EFFECT'),
        ("name=a,taint:x=y:Never", "with an effect of NoSchedule, PreferNoSchedule, NoExecute"),
        ("name=a,capacity:memory=lots", 'capacity "memory=lots": expected RESOURCE=QUANTITY'),
    ],
)
def test_what_cannot_be_read_is_named(text, problem):
    """The part, and what was expected."""
    with pytest.raises(BadNodeOption) as refused:
        parse_node(text)
    assert problem in str(refused.value)
