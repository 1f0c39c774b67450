"""Kubeconfig files: self-contained, for their owner's eyes only."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from headrace.devcluster.certificates import Pair, write_private

CONTEXT = "headrace"


def write_kubeconfig(path: Path, *, server: str, authority: bytes, user: str, pair: Pair) -> None:
    """Writes a kubeconfig with one context, `headrace`, in which `user` signs in with a client certificate."""
    cluster = {"server": server, "certificate-authority-data": _base64(authority)}
    credentials = {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user, "namespace": "default"}}],
        "current-context": CONTEXT,
    }
    write_private(path, yaml.safe_dump(content, sort_keys=False).encode())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
