"""`Pod`: what it may be, and what becomes of it in a FlowRun."""

import re
from dataclasses import FrozenInstanceError

import pytest

from headrace import Pod, UsageError, flow, task
from headrace.api import common, flowrun
from headrace.engine import pods


@pytest.mark.parametrize(
    ("pod", "spec"),
    [
        (Pod(), {}),
        (
            Pod(resources={"nvidia.com/gpu": 1, "memory": "4Gi", "cpu": 2}),
            {
                "resources": {
                    "requests": {"nvidia.com/gpu": 1, "memory": "4Gi", "cpu": 2},
                    "limits": {"nvidia.com/gpu": 1},
                }
            },
        ),
        (Pod(limits={"memory": "8Gi"}), {"resources": {"limits": {"memory": "8Gi"}}}),
        (
            Pod(pools=["gpu", "gpu-spot"], timeout_seconds=60),
            {"pools": {"names": ["gpu", "gpu-spot"]}, "timeoutSeconds": 60},
        ),
    ],
)
def test_it_becomes_a_part_of_the_task(pod, spec):
    """A device's request is its limit; and the API server takes it."""
    assert pod.spec() == spec
    rest = {"name": "t", "parent": {"name": "p", "uid": "u"}, "function": "m:f", "input": "i", "output": "o"}
    flowrun.RemoteTask.model_validate({**rest, **spec})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"resources": "gpu"}, 'resources={"memory": "4Gi"}'),
        ({"resources": {"memory": "4 GB"}}, r'resources\["memory"\] is \'4 GB\''),
        ({"resources": {"memory": -1}}, "at least 0"),
        ({"resources": {"memory": True}}, "at least 0"),
        ({"resources": {"nvidia.com/gpu": "500m"}}, "devices are not split"),
        ({"resources": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}, "leave it out of limits"),
        ({"resources": {f"r{n}": 1 for n in range(33)}}, "at most 32"),
        ({"resources": {1: 1}}, "has the name 1"),
        ({"limits": {"cpu": 0.5}}, r'limits\["cpu"\] is 0.5'),
        ({"pools": "gpu"}, r'pools=\["gpu"\]'),
        ({"pools": []}, "at least one name"),
        ({"pools": ["gpu", "gpu"]}, "each once"),
        ({"pools": ["GPU"]}, "the name of a WorkPool"),
        ({"timeout_seconds": 0}, "whole seconds of at least 1"),
        ({"timeout_seconds": 1.5}, "whole seconds of at least 1"),
    ],
)
def test_what_it_cannot_be_is_told_where_it_is_written(fields, says):
    """With what to write instead."""
    with pytest.raises(UsageError, match=says):
        Pod(**fields)


def test_its_patterns_are_those_of_the_api():
    """Which is too slow to import for every flow."""
    assert (pods.QUANTITY, pods.POOL_NAME) == (common.QUANTITY, common.DNS_SUBDOMAIN)
    assert re.fullmatch(pods.POOL_NAME, "gpu-1.large")


def test_it_does_not_change():
    """Two tasks may share one."""
    with pytest.raises(FrozenInstanceError):
        Pod().pools = ("gpu",)


def _nested():
    def inner():
        """Found by no other process."""

    return inner


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (_nested, {"pod": "gpu"}, r"pod=Pod\("),
        (_nested(), {"pod": Pod()}, r'a function inside "_nested"; write it as a `def` at the top'),
        (lambda: 1, {"pod": Pod(), "name": "one"}, "cannot find a lambda"),
    ],
)
def test_a_task_that_cannot_go_there_is_told_at_its_decorator(function, options, says):
    """Not in the middle of a run."""
    with pytest.raises(UsageError, match=says):
        task(**options)(function)


def test_a_flow_has_no_such_option():
    """Its pod is described by its Flow."""
    with pytest.raises(UsageError, match='unknown option "pod"'):
        flow(pod=Pod())
