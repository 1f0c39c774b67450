"""
The webhook's certificate, as PEM: made, read, and when it is to be replaced.

Each renewal makes an authority of its own, which signs one certificate and whose key is thrown away: nobody can sign another one. The API
server is given the authority before the present one as well, so that a replica which still serves the former certificate is believed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID: Final = timedelta(days=90)
RENEWED_AFTER: Final = 2 / 3
"""Of its time: a month is left to find out why nobody renews it."""
BACKDATED: Final = timedelta(minutes=10)
"""Clocks of API servers differ from ours."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with what was signed above it, its private key, and whom to believe for it."""

    certificate: bytes
    key: bytes
    authorities: bytes

    @property
    def expires(self) -> datetime:
        """Aware UTC. Raises: ValueError: it is no certificate."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc


def new_pair(names: Sequence[str], now: datetime, *, former: bytes = b"") -> Pair:
    """
    A certificate for a server at these DNS names, and the authority that signed it.

    Args:
        former: Authorities that are still to be believed; those that have expired are left out, and all but the newest one.
    """
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _subject("headrace webhook authority")
    authority = (
        _builder(issuer, issuer, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(_subject(names[0]), issuer, key, now)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    return Pair(_pem(certificate), _key_pem(key), _pem(authority) + _still_believed(former, now))


def secret_path(key: bytes) -> str:
    """Where the server that has this private key is to be called; nobody else can tell."""
    return f"/validate/{hmac.new(key, b'headrace webhook path', hashlib.sha256).hexdigest()[:40]}"


def is_usable(pair: Pair, names: Sequence[str], now: datetime) -> bool:
    """Whether a server at these names can serve it now."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = serialization.load_pem_private_key(pair.key, None)
    except (ValueError, TypeError, x509.ExtensionNotFound):
        return False
    is_own = _spki(key.public_key()) == _spki(certificate.public_key())
    covers = set(names) <= set(held.get_values_for_type(x509.DNSName))
    return is_own and covers and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def renewal_due(pair: Pair) -> datetime:
    """When a usable one is to be replaced."""
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * RENEWED_AFTER


def _still_believed(authorities: bytes, now: datetime) -> bytes:
    try:
        newest = x509.load_pem_x509_certificates(authorities)[0]
    except (ValueError, IndexError):
        return b""
    return _pem(newest) if now < newest.not_valid_after_utc else b""


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _spki(key: object) -> bytes:
    form, kind = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(form, kind)  # type: ignore[attr-defined,no-any-return] # each kind of key has it, their union has no name


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
