"""Artifacts of a log, as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_dashboard.pages.artifact import content_of, rendered

REPORT = """# Down

- service: <shop>
- pods: 2 of 3

Look at *this*:
it is **bad**.
```
# no heading
```"""


def test_markdown_keeps_its_shape_and_nothing_but_text_gets_through() -> None:
    """Headings, lists, paragraphs and code; what looks like HTML is text."""
    assert rendered("markdown", REPORT) == (
        "<h3>Down</h3><ul><li>service: &lt;shop&gt;</li><li>pods: 2 of 3</li></ul>"
        '<p class="message">Look at *this*:\nit is **bad**.</p><pre># no heading</pre>'
    )


@pytest.mark.parametrize(
    ("content", "headings", "values"),
    [
        ('[{"country": "DE", "orders": 17}, {"orders": null}]', ["country", "orders"], ["DE", "17", "", "null"]),
        ([["a", 1], ["b"]], ["1", "2"], ["a", "1", "b", ""]),
        ([{"<b>": "<i>"}], ["&lt;b&gt;"], ["&lt;i&gt;"]),
    ],
)
def test_a_table_is_one(content: Any, headings: list[str], values: list[str]) -> None:
    """Of objects or of lists, whatever is missing in them."""
    text = rendered("table", content)
    assert [part.split("</th>")[0] for part in text.split('<th scope="col">')[1:]] == headings
    assert [part.split("</td>")[0].partition(">")[2] for part in text.split("<td")[1:]] == values


@pytest.mark.parametrize(
    ("kind", "content"), [("table", "no table <"), ("html", "no table <"), ("markdown", "```\nno table <")]
)
def test_what_is_not_understood_is_shown_as_it_is(kind: str, content: str) -> None:
    """And so is code whose end is missing."""
    assert rendered(kind, content) == "<pre>no table &lt;</pre>"


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"event": "artifact_created", "artifact": "report", "kind": "markdown", "content": "x"}, ("markdown", "x")),
        ({"event": "artifact_created", "artifact": "other", "kind": "markdown", "content": "x"}, None),
        ({"event": "artifact_created", "artifact": "report", "kind": "markdown", "url": "s3://x"}, None),
        ({"event": "printed", "artifact": "report", "content": "x"}, None),
    ],
)
def test_which_line_tells_of_it(facts: dict[str, str], found: tuple[str, str] | None) -> None:
    """That of its name, with its content."""
    assert content_of(facts, "report") == found
