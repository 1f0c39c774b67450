"""Which of a run's pods its decision, its place and its price are about."""

from __future__ import annotations

import pytest

from headrace_operator.decide.snapshot import current_pod
from tests.builders import NOW, a_pod, a_run, a_running_status, a_snapshot, an_attempt
from tests.unit.headrace_operator.decide.situations import retrying

FIRST, SECOND = a_pod(attempt=1), a_pod(attempt=2)
STRANGER = a_pod(attempt=3, run_uid="an-earlier-run")
ENDED = an_attempt(1, reason="FlowFailed", finished_at=NOW)


@pytest.mark.parametrize(
    ("status", "pods", "current"),
    [
        pytest.param(a_running_status(), (FIRST,), FIRST, id="that of the attempt under way"),
        pytest.param(retrying(), (FIRST,), None, id="none once its end is written, though it is there still"),
        pytest.param(
            a_running_status(2, attempts=(ENDED, an_attempt(2))), (FIRST, SECOND), SECOND, id="the latest one"
        ),
        pytest.param(a_running_status(), (FIRST, STRANGER), FIRST, id="none of a deleted run of the same name"),
        pytest.param(a_running_status(), (), None, id="none where there is none"),
    ],
)
def test_the_current_pod(status, pods, current):
    assert current_pod(a_snapshot(a_run(status=status), pods=pods)) is current
