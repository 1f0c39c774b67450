"""Whether a request that changes something was made on our own page, and the headers that keep a page ours."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

CSRF_FIELD: Final = "csrf"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""No script and no style within a page, nothing from elsewhere, no frame around it."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def is_from_elsewhere(headers: Mapping[str, str], host: str) -> bool:
    """Whether the browser says that another page made the request. Old browsers say nothing."""
    if headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != host


def is_ours(given: str, expected: str) -> bool:
    """Whether a form carries what our page gave to it."""
    return hmac.compare_digest(given.encode(), expected.encode())
