"""What simulated nodes do to pods."""

from __future__ import annotations

import re

import yaml

from bench.simulated_nodes import STAGES
from headrace.api.keys import FLOW_CONTAINER
from headrace_operator.decide.report import parse_report


def test_a_pod_of_ours_leaves_the_message_of_the_contract() -> None:
    """In the flow's container, and no other: Argo's containers have names of their own."""
    stages = {each["metadata"]["name"]: each for each in yaml.safe_load_all(STAGES.read_text()) if "metadata" in each}
    template = stages["pod-succeeds"]["spec"]["next"]["statusTemplate"]
    (found,) = re.findall(r'if eq \.name "(.+?)" }}\s+message: \'(.+)\'', template)
    assert found[0] == FLOW_CONTAINER
    report = parse_report(found[1])
    assert report is not None
    assert (report.state, report.reason) == ("Succeeded", "Completed")
