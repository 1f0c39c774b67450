"""HTML from data: every text is escaped unless a tag made it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta"})
NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
OUTSIDE: Final = re.compile(r"https?://[^\s]+", re.IGNORECASE)


class Html(str):
    """Text that is HTML already. Made by `tag`, `text` and `join`, and nowhere else."""

    __slots__ = ()


Attribute = str | int | float | bool | None


def text(value: object) -> Html:
    """The value, escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def join(children: Iterable[Html | str | int | None]) -> Html:
    """One after the other; what is None is left out."""
    return Html("".join(text(child) for child in children if child is not None))


def tag(name: str, /, *children: Html | str | int | None, **attributes: Attribute) -> Html:
    """
    An element.

    Args:
        attributes: `class_` is `class`, `data_live` is `data-live`; True is an attribute without a value, None and False
            leave it out.
    """
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{opening}>")
    return Html(f"<{name}{opening}>{join(children)}</{name}>")


def outside(url: str, words: str) -> Html:
    """A link to elsewhere, if it is one of the web; else the words and the text of it: flows write what they like."""
    if not OUTSIDE.fullmatch(url):
        return join((words, " ", tag("code", url)))
    return tag("a", words, href=url, rel="noopener noreferrer nofollow", target="_blank")


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if not NAME.fullmatch(name):
        raise ValueError(f"attribute {name!r}: expected letters, digits and '-'")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(str(value), quote=True)}"'
