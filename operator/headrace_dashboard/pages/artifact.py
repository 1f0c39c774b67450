"""An artifact that is in a run's log, as people read it: Markdown and tables, of which nothing but text gets through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, cells, page, run_link, section, table

EVENTS: Final = frozenset({"artifact_created", "artifact_updated"})
MAX_TEXT: Final = 200_000
MAX_ROWS: Final = 1000
MAX_COLUMNS: Final = 50
HEADING: Final = re.compile(r"(#{1,6})\s+(.*)")
ITEM: Final = re.compile(r"\s*[-*+]\s+(.*)")
FENCE: Final = "```"


def content_of(facts: Mapping[str, Any], name: str) -> tuple[str, Any] | None:
    """Kind and content, if the line of a log is one that tells the content of the artifact of this name."""
    if facts.get("event") not in EVENTS or facts.get("artifact") != name or "content" not in facts:
        return None
    return str(facts.get("kind") or ""), facts["content"]


def artifact_page(frame: Frame, run: tuple[str, str], name: str, found: tuple[str, Any] | None) -> str:
    """
    The whole page.

    Args:
        run: Its namespace and name.
        found: Kind and content; None: it is in no log that is still there.
    """
    namespace, run_name = run
    back = tag("p", "Of run ", run_link(namespace, run_name))
    gone = "It is in no log that can still be read. Give the Flow spec.results.url, and artifacts are kept."
    shown = tag("p", gone, class_="empty") if found is None else rendered(*found)
    return page(frame, name, back, section("What it says", shown, key="content"))


def rendered(kind: str, content: Any) -> Html:
    """The content; what is not understood is shown as it is."""
    value = _json(content) if kind == "table" else content
    if kind == "table" and isinstance(value, list):
        return _table(value)
    if kind == "markdown" and isinstance(value, str):
        return join(_blocks(value[:MAX_TEXT].splitlines()))
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return tag("pre", text[:MAX_TEXT])


def _blocks(lines: Sequence[str]) -> Iterator[Html]:
    """Headings, lists, code and paragraphs; what is within a line stays as it was written."""
    number = 0
    while number < len(lines):
        line = lines[number]
        end = number + 1
        if line.startswith(FENCE):
            end = _until(lines, end, lambda each: each.startswith(FENCE))
            yield tag("pre", "\n".join(lines[number + 1 : end]))
            end += 1
        elif heading := HEADING.fullmatch(line):
            yield tag(f"h{min(6, len(heading[1]) + 2)}", heading[2])
        elif ITEM.fullmatch(line):
            end = _until(lines, end, lambda each: not ITEM.fullmatch(each))
            yield tag("ul", *(tag("li", _item(each)) for each in lines[number:end]))
        elif line.strip():
            end = _until(lines, end, _is_other)
            yield tag("p", "\n".join(lines[number:end]), class_="message")
        number = end


def _item(line: str) -> str:
    found = ITEM.fullmatch(line)
    return found[1] if found else line


def _is_other(line: str) -> bool:
    """Whether a paragraph ends before it."""
    return not line.strip() or line.startswith(FENCE) or bool(HEADING.fullmatch(line) or ITEM.fullmatch(line))


def _until(lines: Sequence[str], start: int, is_end: Any) -> int:
    return next((number for number in range(start, len(lines)) if is_end(lines[number])), len(lines))


def _table(rows: Sequence[Any]) -> Html:
    """A list of objects with their keys as headings, or of lists."""
    names = list(dict.fromkeys(str(key) for row in rows if isinstance(row, dict) for key in row))[:MAX_COLUMNS]
    if not names:
        widest = max((len(row) for row in rows if isinstance(row, list)), default=1)
        names = [str(number + 1) for number in range(min(widest, MAX_COLUMNS))]
    shown = [cells(names, _values(names, row)) for row in rows[:MAX_ROWS]]
    more = tag("p", f"The first {MAX_ROWS:,} of {len(rows):,}.", class_="hint") if len(rows) > MAX_ROWS else None
    return join((table(names, shown, caption="Table", empty="It has no rows."), more))


def _values(names: Sequence[str], row: Any) -> list[str]:
    values = (
        [row.get(name, "") for name in names]
        if isinstance(row, dict)
        else list(row)
        if isinstance(row, list)
        else [row]
    )
    texts = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in values[: len(names)]]
    return [*texts, *([""] * (len(names) - len(texts)))]


def _json(content: Any) -> Any:
    if not isinstance(content, str):
        return content
    try:
        return json.loads(content)
    except ValueError:
        return content
