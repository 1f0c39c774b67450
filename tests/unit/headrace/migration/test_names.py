"""Names from any text are names that Kubernetes takes."""

import re

from hypothesis import given
from hypothesis import strategies as st

from headrace.api.common import DNS_LABEL
from headrace.migration.names import Names, dns_name

LIMITS = st.integers(10, 63)


@given(st.text(), LIMITS)
def test_any_text_gives_a_dns_label(text, limit):
    """Letters, digits and inner hyphens, and no longer than allowed."""
    name = dns_name(text, limit)
    assert re.fullmatch(DNS_LABEL, name)
    assert len(name) <= limit


@given(st.text(), LIMITS)
def test_a_name_that_is_one_stays(text, limit):
    """Nothing is changed twice."""
    name = dns_name(text, limit)
    assert dns_name(name, limit) == name


@given(st.lists(st.text(max_size=5), max_size=30), LIMITS)
def test_no_name_is_given_twice(texts, limit):
    """However alike the texts are; every name is a DNS label of the allowed length."""
    names = Names()
    taken = [names.take(text, "Flow", "team", limit) for text in texts]
    assert len(set(taken)) == len(taken)
    assert all(re.fullmatch(DNS_LABEL, name) and len(name) <= limit for name in taken)


@given(st.text("abc", min_size=20), st.text("abc", min_size=20))
def test_long_names_with_one_beginning_stay_apart(one, other):
    """What is cut off is in the hash."""
    start = "a-very-long-name-that-is-the-same-"
    assert (dns_name(start + one, 40) == dns_name(start + other, 40)) == (one == other)


def test_kinds_and_namespaces_do_not_get_in_each_others_way():
    """Only objects of one kind and namespace need different names."""
    names = Names()
    given_names = [
        names.take("Ünïcode etl", kind, space, 40) for kind in ("Flow", "Deployment") for space in ("a", "b")
    ]
    assert given_names == ["unicode-etl"] * 4
