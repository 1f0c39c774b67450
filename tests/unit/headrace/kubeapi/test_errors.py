"""What a refused request is told as."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.kubeapi.client import failure
from headrace.kubeapi.errors import (
    MESSAGE_LIMIT,
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    NotServed,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unreachable,
    error_class,
)


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotServed),
        (404, "", NotServed),
        (405, "MethodNotAllowed", ApiError),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Gone", Gone),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", Unavailable),
        (503, "ServiceUnavailable", Unavailable),
        (504, "Timeout", Unavailable),
        (418, "", ApiError),
    ],
)
def test_every_refusal_has_its_class(status: int, reason: str, expected: type[ApiError]) -> None:
    """By status; AlreadyExists and Expired by their reason."""
    assert error_class(status, reason) is expected


@pytest.mark.parametrize("kind", [Unavailable, TooManyRequests, Unreachable])
def test_what_may_be_tried_again_says_so(kind: type[ApiError]) -> None:
    """The rest needs somebody to act."""
    assert kind.retryable
    assert not ApiError.retryable
    assert not Conflict.retryable


WEBHOOK = 'admission webhook "quiet.acme.io" denied the request'
POLICY = "ValidatingAdmissionPolicy 'quiet' with binding 'quiet' denied request: not at night"


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (Invalid(422, "Invalid", 'FlowRun.headrace.dev "a" is invalid: spec: Invalid value: set exactly one'), True),
        (Invalid(422, "Invalid", f'FlowRun.headrace.dev "a" is invalid: spec.x: Invalid value: "{WEBHOOK}"'), True),
        (Invalid(400, "BadRequest", 'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal'), True),
        (Invalid(422, "Invalid", f'flowruns.headrace.dev "a" is forbidden: {POLICY}'), False),
        (Invalid(422, "Invalid", f'pods "a" is forbidden: {POLICY}'), False),
        (Invalid(422, "Invalid", f"{WEBHOOK}: not at night"), False),
        (Invalid(422, "Unknown", f"{WEBHOOK}: not at night"), False),
        (Invalid(400, "BadRequest", f"{WEBHOOK}: not at night"), False),
        (Invalid(400, "Unknown", f"{WEBHOOK} without explanation"), False),
        (Invalid(400, "Unknown", "<html>bad request</html>"), False),
    ],
)
def test_what_a_policy_refuses_may_be_taken_later(error: Invalid, is_final: bool) -> None:
    """A webhook that names no status has 400, a policy that names no reason 422; the words are those of a real API server."""
    assert error.is_final is is_final


def refused(status: int, payload: Any, **headers: str) -> ApiError:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return failure(
        "POST /api/v1/pods", status, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_a_status_object_is_told_in_its_own_words() -> None:
    """With the request, status and reason before them."""
    error = refused(409, {"kind": "Status", "reason": "AlreadyExists", "message": 'pods "a" already exists'})
    assert isinstance(error, AlreadyExists)
    assert str(error) == 'POST /api/v1/pods: 409 AlreadyExists: pods "a" already exists'
    assert (error.status, error.reason, error.retry_after_s) == (409, "AlreadyExists", None)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        pytest.param(b"<html>bad gateway</html>", "<html>bad gateway</html>", id="a proxy's page"),
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="no text"),
        pytest.param(b"[1]", "[1]", id="a list"),
        pytest.param(b"null", "null", id="null"),
        pytest.param({"reason": None, "message": None}, '{"reason": null, "message": null}', id="no words in it"),
        pytest.param(b"x" * 5000, "x" * 200, id="cut, as a foreign body may hold anything"),
    ],
)
def test_any_other_answer_is_told_by_its_beginning(payload: Any, told: str) -> None:
    """Its reason is unknown."""
    error = refused(502, payload)
    assert isinstance(error, Unavailable)
    assert (error.reason, error.message) == ("Unknown", told)


NAMED = {"name": "etl-1", "group": "headrace.dev", "kind": "flowruns"}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param({"reason": "NotFound", "details": NAMED}, NotFound, id="the object"),
        pytest.param({"reason": "NotFound", "details": {}}, NotServed, id="a kind of a group that is served"),
        pytest.param({"reason": "NotFound"}, NotServed, id="the denial of a webhook"),
        pytest.param({"reason": "NotFound", "details": "etl-1"}, NotServed, id="details that are none"),
        pytest.param({"details": NAMED}, NotServed, id="no reason"),
        pytest.param(b"404 page not found\n", NotServed, id="a group that is not served"),
        pytest.param(b"<html>", NotServed, id="a proxy's page"),
    ],
)
def test_only_an_object_that_is_named_is_not_there(payload: Any, expected: type[ApiError]) -> None:
    """Anything else is asked for again later: a definition may be away for a moment, with all its objects still there."""
    error = refused(404, payload)
    assert type(error) is expected
    assert error.retryable is (expected is NotServed)


def test_a_long_message_is_cut() -> None:
    """An admission policy may say anything."""
    assert len(refused(403, {"message": "x" * 5000}).message) == MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7.0), ("0", 0.0), ("", None), ("soon", None), ("-1", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_the_wait_that_is_asked_for_is_in_seconds(value: str, expected: float | None) -> None:
    """As the API server writes it; anything else is no wait."""
    assert refused(429, {}, Retry_After=value).retry_after_s == expected


def test_without_a_request_an_error_is_told_by_itself() -> None:
    """No empty beginning."""
    assert str(Unreachable(0, "Unreachable", "refused")) == "0 Unreachable: refused"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 -0000", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "\u00b2"}, None),
        ({"Retry-After": "86400"}, 60.0),
        ({"Retry-After": "9" * 400}, 60.0),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:00 GMT", "Date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 60.0),
    ],
)
def test_a_time_to_wait_is_seconds_or_an_instant(headers: dict[str, str], expected: float | None) -> None:
    """API servers say seconds, proxies instants too; what cannot be read is as good as nothing, and no more than a minute is waited."""
    assert failure("GET /", 429, b"", headers).retry_after_s == expected
