"""Certificates that the standard library's TLS takes."""

from __future__ import annotations

import ssl

from cryptography import x509

from headrace.devcluster.certificates import Authority, write_pair, write_signing_key
from headrace.devcluster.kubeconfig import write_kubeconfig
from headrace.kubeapi.config import load_connection


def test_an_authority_is_made_once(tmp_path):
    """A second look finds the same."""
    first = Authority(tmp_path).certificate.read_bytes()

    assert Authority(tmp_path).certificate.read_bytes() == first
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0


def test_a_client_is_who_the_certificate_says(tmp_path):
    """Common name: user; organisations: groups; signed by the authority."""
    pair = Authority(tmp_path).client("ann", ["admins", "devs"])
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes()))

    assert certificate.subject.rfc4514_string() == "CN=ann,O=devs,O=admins"


def test_a_server_is_at_its_addresses(tmp_path):
    """Names and addresses; the files load as a server's."""
    Authority(tmp_path).server("apiserver", ["127.0.0.1", "10.0.0.1"])
    certificate = x509.load_pem_x509_certificate((tmp_path / "apiserver.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "apiserver.crt", tmp_path / "apiserver.key")

    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "10.0.0.1"]
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_a_kubeconfig_is_complete(tmp_path):
    """The client reads server, authority and certificate from the one file, which only its owner can."""
    authority = Authority(tmp_path)
    path = tmp_path / "kubeconfig"
    server, ca = "https://127.0.0.1:1", authority.certificate.read_bytes()
    write_kubeconfig(path, server=server, authority=ca, user="ann", pair=authority.client("ann"))
    connection = load_connection(str(path))

    assert (connection.server, connection.namespace) == (server, "default")
    assert connection.ssl.verify_mode == ssl.CERT_REQUIRED
    assert path.stat().st_mode & 0o077 == 0


def test_keys_stay_what_they_are(tmp_path):
    """Tokens that were signed before a restart stay valid."""
    write_signing_key(tmp_path, "sa")
    before = (tmp_path / "sa.key").read_bytes()
    write_signing_key(tmp_path, "sa")
    write_pair(tmp_path, "other", Authority(tmp_path).client("x"))

    assert (tmp_path / "sa.key").read_bytes() == before
