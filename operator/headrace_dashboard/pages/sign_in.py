"""The form of those who have a token."""

from __future__ import annotations

from headrace_dashboard.pages.html import Html, tag
from headrace_dashboard.pages.layout import Frame, page


def sign_in_page(frame: Frame, *, problem: str = "", onward: str = "/runs") -> str:
    """The form; `onward` is where to go then."""
    return page(
        frame, "Sign in", tag("p", problem, class_="notice bad", role="alert") if problem else Html(""), _form(onward)
    )


def _form(onward: str) -> Html:
    field = tag(
        "input",
        type="password",
        name="token",
        id="token",
        required=True,
        autocomplete="off",
        spellcheck="false",
        aria_describedby="token-help",
        autofocus=True,
    )
    return tag(
        "form",
        tag("label", tag("span", "Token of the cluster"), field),
        tag(
            "p",
            "You see and do here what its owner may. For a ServiceAccount: ",
            tag("code", "kubectl create token NAME"),
            id="token-help",
        ),
        tag("input", type="hidden", name="onward", value=onward),
        tag("button", "Sign in"),
        method="post",
        action="/sign-in",
        class_="sign-in",
    )
