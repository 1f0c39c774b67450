"""
Signatures of requests, in and out: Standard Webhooks, GitHub's, and bearer tokens.

Comparisons take as long for a wrong signature as for a right one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from headrace.api.automation import Scheme

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
GITHUB_SIGNATURE: Final = "x-hub-signature-256"
TOLERANCE_S: Final = 300
"""How far a request's time may be from ours; an older one is a replay."""
MAX_ID: Final = 256
_PREFIX: Final = "whsec_"


def signed(body: bytes, *, request_id: str, at: datetime, secret: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks for this body."""
    stamp = str(int(at.timestamp()))
    return {ID: request_id, TIMESTAMP: stamp, SIGNATURE: f"v1,{_standard(body, request_id, stamp, secret)}"}


def problem_of(scheme: Scheme, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime) -> str | None:
    """
    Why a request is not to be believed, None if it is.

    Args:
        headers: Names in lower case.
    """
    match scheme:
        case Scheme.HMAC:
            return _standard_problem(headers, body, secret, now)
        case Scheme.GITHUB:
            expected = "sha256=" + hmac.new(_line(secret), body, hashlib.sha256).hexdigest()
            return None if _is_same(headers.get(GITHUB_SIGNATURE, ""), expected) else "the signature is wrong"
        case Scheme.BEARER:
            given = headers.get("authorization", "")
            is_right = _is_same(given[7:], _line(secret).decode(errors="replace")) and given[:7].lower() == "bearer "
            return None if is_right else "the token is wrong"


def request_id(scheme: Scheme, headers: Mapping[str, str], body: bytes) -> str:
    """
    What tells this request from others, and is the same when it is sent again; empty if nothing does.

    GitHub's delivery id is not signed: whoever replays a request may change it, so the body stands for the request.
    """
    match scheme:
        case Scheme.HMAC:
            return headers.get(ID, "")
        case Scheme.GITHUB:
            return hashlib.sha256(body).hexdigest()
        case Scheme.BEARER:
            return headers.get("idempotency-key", "")[:MAX_ID]


def _standard_problem(headers: Mapping[str, str], body: bytes, secret: bytes, now: datetime) -> str | None:
    name, stamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not 0 < len(name) <= MAX_ID or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return f"{ID} or {TIMESTAMP} is missing"
    expected = _standard(body, name, stamp, secret)
    given = [part[3:] for part in headers.get(SIGNATURE, "").split(" ")[:8] if part.startswith("v1,")]
    # All are compared: how long it takes tells nothing of which one was right.
    if not sum(_is_same(each, expected) for each in given):
        return "the signature is wrong"
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        return f"{TIMESTAMP} is more than {TOLERANCE_S} s from now"
    return None


def _standard(body: bytes, name: str, stamp: str, secret: bytes) -> str:
    content = f"{name}.{stamp}.".encode(errors="replace") + body
    return base64.b64encode(hmac.new(_key(secret), content, hashlib.sha256).digest()).decode()


def _key(secret: bytes) -> bytes:
    text = _line(secret).decode(errors="replace")
    if not text.startswith(_PREFIX):
        return secret
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True) or secret
    except binascii.Error:
        return secret


def _line(secret: bytes) -> bytes:
    """A secret that is a text, without the end of line that an editor or `echo` has put behind it."""
    return secret.rstrip(b"\r\n") or secret


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode(errors="replace"))
