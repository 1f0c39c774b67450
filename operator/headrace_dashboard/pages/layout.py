"""What stands around every page: head, navigation, notices; and the parts that pages share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from headrace_dashboard.access.forgery import CSRF_FIELD
from headrace_dashboard.pages.html import Html, join, tag, text

NAVIGATION: Final[Sequence[tuple[str, str]]] = (
    ("/runs", "Runs"),
    ("/history", "History"),
    ("/deployments", "Deployments"),
    ("/backfills", "Backfills"),
    ("/dead-letters", "Dead letters"),
    ("/capacity", "Limits and pools"),
    ("/automations", "Automations"),
    ("/cost", "Cost"),
)
"""Address and name of each page that is found from everywhere."""
HISTORY: Final = "/history"
"""Is left out where there is no history store."""


@dataclass(frozen=True, slots=True)
class Frame:
    """
    What a page knows of whoever looks at it.

    Attributes: `assets` is the version of scripts and styles, which browsers keep. `problems` says why what is shown may be out of date.
    `said` is what became of the action before. `has_history` tells that there is a history store.
    """

    person: str
    csrf: str
    assets: str
    path: str = "/"
    can_sign_out: bool = False
    problems: Sequence[str] = ()
    said: str = ""
    has_history: bool = False


def page(frame: Frame, title: str, *content: Html, live: str = "", script: str = "") -> str:
    """
    A whole page.

    Args:
        live: What its live parts are about, as `/live` takes it; empty: it stands still.
        script: A further module of static/.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · headrace"),
        tag("link", rel="icon", href=f"/static/{frame.assets}/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href=f"/static/{frame.assets}/app.css"),
        tag("script", type="module", src=f"/static/{frame.assets}/live.js"),
        tag("script", type="module", src=f"/static/{frame.assets}/{script}") if script else None,
    )
    body = tag(
        "body",
        tag("a", "Skip to content", href="#content", class_="skip"),
        _banner(frame),
        tag("main", notices(frame), tag("h1", title), *content, id="content", tabindex="-1"),
        data_live_url=f"/live?{live}" if live else None,
    )
    return f"<!doctype html>{tag('html', head, body, lang='en')}"


def notices(frame: Frame) -> Html:
    """What became of the last action, and what is wrong with what is shown."""
    said = tag("p", frame.said, class_="notice", role="status") if frame.said else None
    problems = [tag("p", f"May be out of date: {each}", class_="notice bad", role="alert") for each in frame.problems]
    return tag("div", said, *problems, id="notices", data_live=True)


def about(*plurals: str, namespace: str = "", name: str = "") -> str:
    """What the live parts of a page show, as `/live` takes it."""
    given = {"of": ",".join(plurals), "namespace": namespace, "name": name}
    return urlencode({key: value for key, value in given.items() if value})


def badge(phase: str) -> Html:
    """A phase, in its colour and in words."""
    return tag("span", phase, class_=f"badge {phase.lower()}")


def facts(rows: Iterable[tuple[str, Html | str | None]]) -> Html:
    """Names and values; those that are None are left out."""
    pairs = [join((tag("dt", name), tag("dd", value))) for name, value in rows if value is not None]
    return tag("dl", *pairs, class_="facts")


def section(title: str, *content: Html | str | None, key: str, keep: str = "") -> Html:
    """
    A part of a page under a heading, kept up to date where it has changed.

    Args:
        keep: What a script fills it with: as long as that is the same the part is left alone.
    """
    return tag("section", tag("h2", title), *content, id=key, data_live=True, data_keep=keep or None)


def table(headings: Sequence[str], rows: Sequence[Html], *, caption: str, empty: str) -> Html:
    """A table that scrolls by itself where it is too wide; `empty` says what is not there."""
    if not rows:
        return tag("p", empty, class_="empty")
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in headings)))
    whole = tag("table", tag("caption", caption, class_="hidden"), head, tag("tbody", *rows))
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def cells(headings: Sequence[str], values: Sequence[Html | str | int | None]) -> Html:
    """A row; each cell carries its heading, which is shown on a narrow screen."""
    return tag(
        "tr",
        *(tag("td", value, data_of=heading) for heading, value in zip(headings, values, strict=True)),
    )


def button(frame: Frame, action: str, words: str, *, kind: str = "", fields: Mapping[str, str] | None = None) -> Html:
    """A form of one button that does something."""
    hidden = [once(name, value) for name, value in (fields or {}).items()]
    return tag("form", csrf(frame), *hidden, tag("button", words, class_=kind or None), method="post", action=action)


def csrf(frame: Frame) -> Html:
    """What makes a form ours."""
    return tag("input", type="hidden", name=CSRF_FIELD, value=frame.csrf)


def once(name: str, value: str) -> Html:
    """What ties a form to what its page showed: a browser that loads the page again must not keep the old one in it."""
    return tag("input", type="hidden", name=name, value=value, autocomplete="off")


def run_link(namespace: str, name: str, words: str = "") -> Html:
    """To the page of a run."""
    return tag("a", words or name, href=f"/runs/{namespace}/{name}")


def _banner(frame: Frame) -> Html:
    links = [
        tag("a", name, href=path, aria_current="page" if frame.path.startswith(path) else None)
        for path, name in NAVIGATION
        if path != HISTORY or frame.has_history
    ]
    out = button(frame, "/sign-out", "Sign out", kind="plain") if frame.can_sign_out else None
    who = tag("span", text(frame.person), class_="who", title="You are signed in as") if frame.person else None
    return tag(
        "header",
        tag("a", "headrace", href="/runs", class_="brand"),
        tag("nav", *links, aria_label="Pages") if frame.person else None,
        tag("span", "", id="connection", role="status", class_="who"),
        tag("div", who, out, class_="account"),
    )
