"""The API server refuses no cron line that the operator understands, and lets few through that it does not."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.cronshape import CRON_RULES, LINE, MACRO, MACROS, field_pattern
from headrace_operator.decide.cron import parse_cron
from headrace_operator.decide.errors import InvalidSchedule

LEFT_TO_THE_OPERATOR = ("runs backwards", "never fires", "a step is")

VALUES = st.integers(0, 63).map(str) | st.sampled_from(
    ["*", "07", "L", "l", "?", "R", "JAN", "dec", "MON", "sUn", "FRI#2", "5#5", "0#6", "1L", "*#1", "-1"]
)


def items() -> st.SearchStrategy[str]:
    ranges = st.tuples(VALUES, VALUES).map("-".join)
    steps = st.tuples(VALUES | ranges, st.integers(0, 40).map(str)).map("/".join)
    return VALUES | ranges | steps


# A list with * in it is * to the operator, whatever else it holds; that is no line that people write.
LISTS = st.lists(items().filter(lambda item: not item.startswith("*")), min_size=1, max_size=2).map(",".join)
FIELDS = st.sampled_from(["*", "0"]) | items() | LISTS
LINES = st.lists(FIELDS, min_size=5, max_size=5).map(" ".join) | st.lists(FIELDS, min_size=4, max_size=6).map("  ".join)


def passes(line: str) -> bool:
    if re.search(MACRO, line):
        return True
    return bool(re.search(LINE, line)) and all(re.search(field_pattern(position), line) for position in range(5))


@given(
    LINES
    | st.sampled_from(MACROS)
    | st.sampled_from(["@Daily", " @hourly ", "@every 5m", "@reboot", "", "TZ=UTC * * * * *"])
)
@settings(max_examples=500, deadline=None)
def test_the_two_readings_agree(line):
    try:
        parse_cron(line)
    except InvalidSchedule as error:
        assert not passes(line) or any(reason in str(error) for reason in LEFT_TO_THE_OPERATOR), line
    else:
        assert passes(line), line


def test_the_patterns_are_those_of_the_rules():
    first, *others = CRON_RULES
    assert f"r'{MACRO}'" in first.rule
    assert f"r'{LINE}'" in first.rule
    for position, rule in enumerate(others):
        assert rule.rule == f"!self.matches(r'{LINE}') || self.matches(r'{field_pattern(position)}')"
