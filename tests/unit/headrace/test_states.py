"""States as values."""

import pytest

from headrace import UsageError
from headrace.states import Cancelled, Crashed, Failed, Paused, Pending, Retrying, Running, Succeeded

OPEN = (Pending(), Running(), Paused(), Retrying(exception=ValueError(), attempt=1, delay_s=0))
FINAL = (Succeeded(data=1), *(kind(exception=ValueError("no")) for kind in (Failed, Crashed, Cancelled)))


@pytest.mark.parametrize("state", OPEN, ids=lambda state: state.name)
def test_a_run_leaves_an_open_state(state):
    """An open state has no result, and says whom to ask."""
    assert not state.is_final()
    with pytest.raises(UsageError, match=rf"state {state.name} holds no result yet; ask a final state"):
        state.result()


@pytest.mark.parametrize("state", FINAL, ids=lambda state: state.name)
def test_a_run_never_leaves_a_final_state(state):
    """A final state holds what came of the run."""
    assert state.is_final()
    if isinstance(state, Succeeded):
        assert state.result() == 1
    else:
        with pytest.raises(ValueError, match="no"):
            state.result()


def test_states_are_values():
    """Equal by content, and immutable."""
    assert Succeeded(data=[1]) == Succeeded(data=[1])
    with pytest.raises(AttributeError):
        Succeeded(data=1).data = 2
