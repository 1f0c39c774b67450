"""Texts of flows cannot become part of a page."""

from __future__ import annotations

import pytest

from headrace_dashboard.pages.html import outside, tag

EVIL = "</p><script>alert(1)</script>\"'&"


def test_texts_and_attributes_are_escaped() -> None:
    """Wherever they stand."""
    page = tag("p", EVIL, title=EVIL)
    assert "<script" not in page
    assert page.count("<") == 2
    assert page.count('"') == 2


def test_what_a_tag_made_is_taken_as_it_is() -> None:
    """And None is left out."""
    assert tag("ul", tag("li", "a"), None, 3) == "<ul><li>a</li>3</ul>"


def test_attributes_that_are_false_or_none_are_left_out() -> None:
    """Those that are true have no value."""
    assert tag("input", required=True, disabled=False, value=None, data_of="x") == '<input required data-of="x">'


def test_an_attribute_has_a_name_of_letters() -> None:
    """It may come from data."""
    with pytest.raises(ValueError, match="attribute"):
        tag("p", **{"onclick=alert(1) x": "y"})


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", " https://a", "//evil", "s3://bucket/key"])
def test_only_the_web_is_linked_to(url: str) -> None:
    """Everything else is shown as a text."""
    assert "href" not in outside(url, "Open")


def test_a_link_to_elsewhere_tells_it_nothing() -> None:
    """Neither where the visitor came from, nor a way back into the page."""
    assert 'rel="noopener noreferrer nofollow"' in outside("https://example.org/report", "Open")
