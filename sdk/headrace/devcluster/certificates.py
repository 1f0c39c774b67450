"""
Who is who in the local cluster: one certificate authority, and what it signs, as PEM files in one folder.

Everybody signs in with a client certificate and checks the server's; nothing is skipped. The folder is made once and
kept, so that kubeconfigs stay valid when the cluster starts again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=5 * 365)
"""Longer than a development cluster is kept; the keys never leave its folder."""
BACKDATED = timedelta(minutes=5)
"""Clocks that were set back shortly before are no reason for a refusal."""

SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The name under which the API server asks a node for logs."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A certificate authority whose files are `ca.crt` and `ca.key` in `folder`; made there if missing."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.certificate = folder / "ca.crt"
        if not (folder / "ca.key").exists():
            write_pair(folder, "ca", _self_signed_authority())
        self._issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def server(self, name: str, addresses: Sequence[str]) -> None:
        """Writes NAME.crt and NAME.key for a server at these IP addresses and at `SERVER_NAMES`, unless there."""
        if (self.folder / f"{name}.key").exists():
            return
        names: list[x509.GeneralName] = [x509.DNSName(each) for each in SERVER_NAMES]
        names += [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(name), self._issuer.subject, key).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        write_pair(self.folder, name, self._sign(builder, key, ExtendedKeyUsageOID.SERVER_AUTH))

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """A new client certificate: Kubernetes takes its common name as user and its organisations as groups."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(user, groups), self._issuer.subject, key)
        return self._sign(builder, key, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _sign(
        self, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, usage: x509.ObjectIdentifier
    ) -> Pair:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return Pair(_pem(builder.sign(self._key, hashes.SHA256())), key_pem(key))


def self_signed(name: str, address: str) -> Pair:
    """A server's certificate that vouches for itself, as a kubelet makes one when nobody gave it any."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
    builder = _builder(_subject(name), _subject(name), key)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), key_pem(key))


def write_signing_key(folder: Path, name: str) -> None:
    """Writes NAME.key and NAME.pub (PEM) for ServiceAccount tokens, unless there."""
    if (folder / f"{name}.key").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    form, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(form, kind))
    write_private(folder / f"{name}.key", key_pem(key))


def write_pair(folder: Path, name: str, pair: Pair) -> None:
    """Writes NAME.crt and NAME.key; the key is for the owner alone."""
    (folder / f"{name}.crt").write_bytes(pair.certificate)
    write_private(folder / f"{name}.key", pair.key)


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read, from the first byte on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as unencrypted PEM in the form that Go reads (SEC 1)."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _self_signed_authority() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject("headrace-local-cluster")
    builder = _builder(subject, subject, key)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return Pair(_pem(builder.sign(key, hashes.SHA256())), key_pem(key))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
    )


def _subject(user: str, groups: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
