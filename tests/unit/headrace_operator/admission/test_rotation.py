"""Which certificate is served, and that it is renewed, introduced and served in this order."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from headrace_operator.admission.certificates import (
    BACKDATED,
    VALID,
    Pair,
    is_usable,
    new_pair,
    renewal_due,
    secret_path,
)
from headrace_operator.admission.rotation import Introduce, Renew, Serve, Wait, next_step, pair_of, secret_data

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("headrace-webhook.headrace-system.svc",)
PAIR = new_pair(NAMES, NOW)

Object = Mapping[str, Any]


def a_secret(pair: Pair | None = PAIR) -> Object:
    return {"metadata": {"resourceVersion": "7"}, **({} if pair is None else {"data": secret_data(pair)})}


def a_configuration(*clients: Object) -> Object:
    return {"metadata": {"resourceVersion": "9"}, "webhooks": [{"clientConfig": client} for client in clients]}


def introduced(pair: Pair = PAIR) -> Object:
    return {"caBundle": secret_data(pair)["ca.crt"], "service": {"path": secret_path(pair.key)}}


UNKNOWN: Object = {"service": {"name": "headrace-webhook"}}


def step(
    secret: Object | None, configuration: Object | None = None, *, is_own: bool = True, now: datetime = NOW
) -> Any:
    return next_step(secret, configuration, names=NAMES, is_own=is_own, now=now)


@pytest.mark.parametrize(
    ("secret", "now", "former"),
    [
        pytest.param(a_secret(None), NOW, b"", id="the chart's Secret is empty"),
        pytest.param({"metadata": {}, "data": {"tls.crt": "%", "tls.key": ""}}, NOW, b"", id="what is in it is broken"),
        pytest.param(a_secret(Pair(b"x", b"y", b"z")), NOW, b"z", id="what is in it is no certificate"),
        pytest.param(a_secret(new_pair(("other.svc",), NOW)), NOW, None, id="of another name"),
        pytest.param(a_secret(), NOW + VALID * 0.7, PAIR.authorities, id="due"),
        pytest.param(a_secret(), NOW + VALID * 2, PAIR.authorities, id="expired"),
        pytest.param(a_secret(), NOW - timedelta(days=1), PAIR.authorities, id="not valid yet"),
        pytest.param(
            a_secret(Pair(PAIR.certificate, new_pair(NAMES, NOW).key, b"")), NOW, b"", id="the key of another"
        ),
    ],
)
def test_what_cannot_be_served_is_renewed(secret: Object, now: datetime, former: bytes | None):
    """The authorities that are believed now go along."""
    found = step(secret, a_configuration(UNKNOWN), now=now)

    assert isinstance(found, Renew)
    assert former is None or found.former == former


def test_a_pair_is_introduced_before_it_is_served():
    """All webhooks of the configuration get it in one write, which rests on the version that was read."""
    found = step(a_secret(), a_configuration(UNKNOWN, introduced(), UNKNOWN))

    assert isinstance(found, Introduce)
    assert found.patch[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "9"}
    assert [operation["path"] for operation in found.patch[1:]] == [
        "/webhooks/0/clientConfig/caBundle",
        "/webhooks/0/clientConfig/service/path",
        "/webhooks/2/clientConfig/caBundle",
        "/webhooks/2/clientConfig/service/path",
    ]


def test_what_is_introduced_is_served_until_it_is_due():
    """A month before its end."""
    found = step(a_secret(), a_configuration(introduced()))

    assert found == Serve(PAIR, renewal_due(PAIR))
    assert timedelta(days=29) < PAIR.expires - found.due < timedelta(days=31)


def test_a_configuration_that_was_reset_is_told_again():
    """By a rollback of the chart, or by a person."""
    assert isinstance(step(a_secret(), a_configuration({**introduced(), "caBundle": ""})), Introduce)


def test_without_a_configuration_the_pair_is_served_all_the_same():
    """It may come later, and nobody calls until then."""
    assert isinstance(step(a_secret(), None), Serve)


def test_what_others_issue_is_never_written():
    """cert-manager keeps Secret and authorities; the path is ours."""
    assert isinstance(step(a_secret(None), a_configuration(UNKNOWN), is_own=False), Wait)
    assert isinstance(step(a_secret(), a_configuration(introduced()), is_own=False, now=NOW + VALID * 0.9), Serve)
    found = step(a_secret(), a_configuration(UNKNOWN), is_own=False)
    assert [operation["path"] for operation in found.patch[1:]] == ["/webhooks/0/clientConfig/service/path"]


def test_without_a_secret_somebody_must_act():
    """The operator has no right to create one."""
    assert "does not exist" in step(None, a_configuration(UNKNOWN)).problem


def test_a_secret_holds_a_pair_and_gives_it_back():
    """In the form of kubernetes.io/tls."""
    assert pair_of(a_secret()) == PAIR
    assert set(a_secret()["data"]) == {"tls.crt", "tls.key", "ca.crt"}


def test_a_certificate_is_believed_for_its_name_alone():
    """By OpenSSL as by the API server, clocks that are behind included."""
    assert is_usable(PAIR, NAMES, NOW - BACKDATED / 2)
    assert not is_usable(PAIR, (*NAMES, "another.svc"), NOW)
    authority, certificate = map(x509.load_pem_x509_certificate, (PAIR.authorities, PAIR.certificate))
    certificate.verify_directly_issued_by(authority)
    ssl.create_default_context(cadata=PAIR.authorities.decode())


def test_the_authority_before_is_believed_until_everybody_has_the_new_pair():
    """And no older ones: the bundle does not grow."""
    second = new_pair(NAMES, NOW, former=PAIR.authorities)
    third = new_pair(NAMES, NOW, former=second.authorities)

    assert len(x509.load_pem_x509_certificates(third.authorities)) == 2
    assert second.authorities.startswith(
        x509.load_pem_x509_certificates(third.authorities)[1].public_bytes(Encoding.PEM)
    )


def test_an_authority_that_has_expired_is_believed_no_more():
    """After an outage of months."""
    assert new_pair(NAMES, NOW + VALID * 2, former=PAIR.authorities).authorities.count(b"BEGIN") == 1


def test_the_path_is_another_one_for_each_key():
    """And cannot be told from what everybody sees of a server, its certificate."""
    assert secret_path(PAIR.key) == secret_path(PAIR.key)
    assert secret_path(PAIR.key) != secret_path(new_pair(NAMES, NOW).key)
