"""What is said where there is nothing to show."""

from __future__ import annotations

from headrace_dashboard.pages.html import tag
from headrace_dashboard.pages.layout import Frame, page


def error_page(frame: Frame, title: str, problem: str, advice: str = "") -> str:
    """What is wrong, and what to do."""
    return page(
        frame,
        title,
        tag("p", problem),
        tag("p", advice) if advice else tag("p", tag("a", "All runs", href="/runs")),
    )
