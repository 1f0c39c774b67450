"""What a run's status says of datasets."""

import pytest

from headrace_operator.decide.lineage import merged, reported

ONE, TWO = "s3://lake/one", "s3://lake/two"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"inputs": [ONE], "outputs": [TWO]}, {"inputs": [ONE], "outputs": [TWO]}),
        ({"inputs": [ONE, ONE]}, {"inputs": [ONE]}),
        ({"inputs": [ONE], "more": 3}, {"inputs": [ONE], "more": 3}),
        ({"inputs": [], "outputs": []}, None),
        ({"inputs": [ONE, 3, None, "", "a\nb", "x" * 513]}, {"inputs": [ONE]}),
        ({"inputs": ONE, "more": -1}, None),
        ({"inputs": [ONE], "more": True}, {"inputs": [ONE]}),
        ([ONE], None),
        (None, None),
    ],
)
def test_a_report_is_read_as_far_as_it_is_one(value, read) -> None:
    """It is foreign input, and what comes out goes into a status."""
    assert reported(value) == read


def test_a_status_names_sixteen_and_counts_the_others() -> None:
    """A status is small, whatever a flow touches."""
    names = [f"s3://lake/{number}" for number in range(20)]
    assert reported({"inputs": names, "outputs": names[:17], "more": 1}) == {
        "inputs": names[:16],
        "outputs": names[:16],
        "more": 6,
    }


def test_what_an_earlier_attempt_did_stays() -> None:
    """A task that it finished does not run again, and so does not tell it again."""
    before, after = {"inputs": [ONE], "outputs": [TWO], "more": 2}, {"inputs": [TWO, ONE], "more": 1}
    assert merged(before, after) == {"inputs": [ONE, TWO], "outputs": [TWO], "more": 2}
    assert merged(None, after) == after
    assert merged(before, None) == before
