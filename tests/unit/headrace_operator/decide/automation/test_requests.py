"""Who sent a request, and what it tells."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

import pytest

from headrace.api.automation import Content, Scheme
from headrace_operator.decide.automation.payloads import InvalidPayload, occurrences_of
from headrace_operator.decide.automation.signatures import TOLERANCE_S, problem_of, signed
from tests.unit.headrace_operator.decide.automation.builders import T0

BODY = b'{"a": 1}'
SECRET = b"secret"


def test_a_signature_is_that_of_standard_webhooks():
    """The example of their specification."""
    secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    at = T0.fromtimestamp(1614265330, tz=T0.tzinfo)
    headers = signed(body, request_id="msg_p5jXN8AQM9LWM0D4loKWxJek", at=at, secret=secret)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("change", "believed"),
    [
        pytest.param({}, True, id="as it was sent"),
        pytest.param({"webhook-id": "other"}, False, id="another id"),
        pytest.param({"webhook-timestamp": "1"}, False, id="another time"),
        pytest.param({"webhook-timestamp": "x"}, False, id="no time"),
        pytest.param({"webhook-signature": "v1,AAAA"}, False, id="another signature"),
        pytest.param({"webhook-signature": ""}, False, id="no signature"),
    ],
)
def test_a_signed_request_is_believed_as_it_was_sent(change, believed):
    """Whatever is changed of it makes it one that nobody has signed."""
    headers = {**signed(BODY, request_id="id", at=T0, secret=SECRET), **change}
    assert (problem_of(Scheme.HMAC, headers, BODY, secret=SECRET, now=T0) is None) is believed


def test_one_of_several_signatures_is_enough():
    """While a secret is changed, senders sign with both."""
    headers = signed(BODY, request_id="id", at=T0, secret=SECRET)
    headers["webhook-signature"] = f"v1,AAAA {headers['webhook-signature']}"
    assert problem_of(Scheme.HMAC, headers, BODY, secret=SECRET, now=T0) is None


def test_an_old_request_is_a_replay():
    """However well it is signed."""
    headers = signed(BODY, request_id="id", at=T0, secret=SECRET)
    later = T0 + timedelta(seconds=TOLERANCE_S + 1)
    assert "from now" in problem_of(Scheme.HMAC, headers, BODY, secret=SECRET, now=later)


@pytest.mark.parametrize(("secret", "believed"), [(SECRET, True), (b"guess", False)])
def test_signatures_of_github_and_bearer_tokens(secret, believed):
    """Both by the secret alone."""
    mac = hmac.new(secret, BODY, hashlib.sha256).hexdigest()
    github, bearer = {"x-hub-signature-256": f"sha256={mac}"}, {"authorization": f"Bearer {secret.decode()}"}
    assert (problem_of(Scheme.GITHUB, github, BODY, secret=SECRET, now=T0) is None) is believed
    assert (problem_of(Scheme.BEARER, bearer, BODY, secret=SECRET, now=T0) is None) is believed


@pytest.mark.parametrize("secret", [b"whsec_", b"\n", b"whsec_\n"])
@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_secret_that_says_nothing_is_not_the_same_as_none(scheme, secret):
    """Who signs with an empty key knows no secret."""
    mac = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    headers = signed(BODY, request_id="id", at=T0, secret=b"")
    headers |= {"x-hub-signature-256": f"sha256={mac}", "authorization": "Bearer "}
    assert problem_of(scheme, headers, BODY, secret=secret, now=T0) is not None


@pytest.mark.parametrize("scheme", [Scheme.GITHUB, Scheme.BEARER])
def test_the_end_of_line_behind_a_secret_is_no_part_of_it(scheme):
    """`echo secret | kubectl create secret --from-file` leaves one, and no sender could send it."""
    mac = hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": f"sha256={mac}", "authorization": f"Bearer {SECRET.decode()}"}
    assert problem_of(scheme, headers, BODY, secret=SECRET + b"\n", now=T0) is None


def told(content, body, headers=None, name="id"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return occurrences_of(content, headers or {}, raw, request_id=name, now=T0)


def an_alert(begun="2026-03-01T06:00:00Z", status="firing", **labels):
    return {"status": status, "labels": {"alertname": "Down", **labels}, "startsAt": begun}


def test_alerts_are_events_of_their_own_and_resolved_ones_are_none():
    """The same alert, told again in another request, is the same event; begun anew it is another one of its group."""
    first, other = told(
        Content.ALERTMANAGER, {"alerts": [an_alert(x="1"), an_alert(x="2"), an_alert(status="resolved")]}
    )
    (again,) = told(Content.ALERTMANAGER, {"alerts": [an_alert(x="1")]}, name="another")
    (anew,) = told(Content.ALERTMANAGER, {"alerts": [an_alert("2026-03-01T07:00:00Z", x="1")]})
    assert first.id == again.id
    assert first.id != anew.id
    assert first.group == anew.group != other.group


def test_a_cloud_event_is_the_same_in_both_modes():
    """Known by its source and id."""
    facts = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}
    structured = {"content-type": "application/cloudevents+json; charset=UTF-8"}
    (one,) = told(Content.CLOUD_EVENT, {**facts, "data": {"a": 1}}, structured)
    (two,) = told(Content.CLOUD_EVENT, {"a": 1}, {f"ce-{name}": value for name, value in facts.items()}, name="x")
    assert (one.id, one.event) == (two.id, two.event)


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (Content.JSON, b"{"),
        (Content.JSON, b"NaN"),
        (Content.JSON, b'"\\ud800"'),
        (Content.JSON, b"1e999"),
        (Content.JSON, b"1" + b"0" * 400),
        (Content.JSON, b"[" * 40 + b"]" * 40),
        (Content.JSON, b"[" * 100_000),
        (Content.ALERTMANAGER, b"[]"),
        (Content.ALERTMANAGER, b'{"alerts": [1]}'),
        (Content.ALERTMANAGER, json.dumps({"alerts": [an_alert()] * 501}).encode()),
        (Content.CLOUD_EVENT, b'{"id": "1"}'),
    ],
)
def test_a_body_that_is_not_what_was_meant_is_refused(content, body):
    """Whatever it is, it raises nothing else."""
    with pytest.raises(InvalidPayload):
        told(content, body)


def test_headers_that_are_no_unicode_are_no_part_of_an_event():
    """No status could hold them."""
    (event,) = told(Content.JSON, {}, {"x-github-event": "push\udcff"})
    assert event.event["headers"] == {}
    with pytest.raises(InvalidPayload):
        told(Content.CLOUD_EVENT, {}, {"ce-id": "1", "ce-source": "/a", "ce-type": "t\udcff"})
