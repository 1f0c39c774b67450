"""What a pattern of a user may cost is known before it is applied."""

from __future__ import annotations

import pytest

from headrace_operator.decide.patterns import CLASS_STEPS, UnboundedPattern, matches, states_of, steps_to_prepare


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("abc", 3),
        (r"^\d{4}-\d{2}$", 9),
        ("[a-z0-9]{1,63}", 63),
        ("[a-z]{ 2 , 70 }", 70),
        ("(ab|c){10}", 50),
        ("((a{10}){10}){10}", 1_110),
        (r"\[{3}[\]{5}]", 4),
        (r"a)}{2(", 5),
    ],
)
def test_what_is_repeated_counts_as_often(pattern: str, states: int) -> None:
    """Groups within groups too; braces and brackets that are meant as such do not."""
    assert states_of(pattern) == states


def test_classes_of_all_languages_are_dear() -> None:
    """They have hundreds of ranges each, by themselves or among others."""
    for dear in (r"\w", r"[\w-]", r"\p{Greek}"):
        assert steps_to_prepare(dear) == CLASS_STEPS
    assert steps_to_prepare("[a-z]") < CLASS_STEPS
    assert steps_to_prepare("(?x) a{ # [\n 9}") > 10**8


def test_a_pattern_that_needs_to_go_back_is_refused() -> None:
    """Anything else is looked for anywhere in the text."""
    assert matches("b", "abc")
    assert not matches("^b", "abc")
    with pytest.raises(UnboundedPattern):
        matches("(?=b)", "abc")
