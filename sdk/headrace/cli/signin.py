"""
The cluster of this command: from the kubeconfig, read here where it is plain.

Tokens and certificates are plain; programs that sign in (exec) and whatever else there is are left to the `kubernetes` package, whose
import takes longer than most commands.
"""

from __future__ import annotations

import os
import ssl
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from headrace.kubeapi.config import Connection, load_connection

CLUSTER_KEYS: Final = frozenset({"server", "certificate-authority", "certificate-authority-data", "extensions"})
USER_KEYS: Final = frozenset(
    {"token", "client-certificate", "client-certificate-data", "client-key", "client-key-data"}
)
"""What is read here; an entry with any other key is not."""


def connection_of(kubeconfig: str | None, context: str | None) -> Connection:
    """
    As kubectl finds it: the file that is named, else KUBECONFIG, else the ServiceAccount of a pod, else ~/.kube/config.

    Raises: ConfigurationError: there is none, or it is broken.
    """
    path = kubeconfig or os.environ.get("KUBECONFIG") or ""
    in_pod = not path and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    # Several files are merged, which is not plain; the package says what is wrong with a file that cannot be read.
    if not in_pod and os.pathsep not in path:
        with suppress(OSError, ValueError, KeyError, TypeError, LookupError):
            found = plain_connection(Path(path or "~/.kube/config").expanduser(), context)
            if found is not None:
                return found
    return load_connection(kubeconfig, context)


def plain_connection(path: Path, context: str | None) -> Connection | None:
    """
    The connection that a kubeconfig describes; None where it takes more than tokens and certificates.

    Raises: OSError, ValueError, LookupError, TypeError: the file cannot be read as one.
    """
    config = _loaded(path)
    if not isinstance(config, dict):
        return None
    chosen = _named(config["contexts"], context or config["current-context"])["context"]
    cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
    user = _named(config["users"], chosen["user"]).get("user") or {}
    if not CLUSTER_KEYS.issuperset(_set(cluster)) or not USER_KEYS.issuperset(_set(user)):
        return None
    token = user.get("token")
    header = f"Bearer {token}" if token else None
    return Connection(
        server=str(cluster["server"]).rstrip("/"),
        namespace=str(chosen.get("namespace") or "default"),
        ssl=_tls(path.parent, cluster, user),
        authorization=lambda: header,
    )


def _loaded(path: Path) -> Any:
    import yaml  # noqa: PLC0415 - commands without a cluster start without it

    try:
        return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _named(entries: Any, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(entry for entry in entries if entry["name"] == name) if entries else {}
    return found


def _set(entry: Mapping[str, Any]) -> set[str]:
    """Keys with a value: `insecure-skip-tls-verify: false` says what is so anyway."""
    return {key for key, value in entry.items() if value}


def _tls(folder: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _content(folder, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
    certificate, key = _content(folder, user, "client-certificate"), _content(folder, user, "client-key")
    if certificate and key:
        _sign_with(context, certificate, key)
    return context


def _sign_with(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The standard library takes files only: they are there for as long as it reads them, for this user alone."""
    with TemporaryDirectory() as name:
        file = Path(name, "client.pem")
        file.touch(mode=0o600)
        file.write_bytes(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(file)


def _content(folder: Path, entry: Mapping[str, Any], key: str) -> bytes:
    """Of the key whose data stand there, or in a file that is named relative to the kubeconfig; b"" where neither is."""
    if entry.get(f"{key}-data"):
        return b64decode(entry[f"{key}-data"])
    return (folder / entry[key]).read_bytes() if entry.get(key) else b""
