"""
What is to be done about the webhook's certificate, from what its Secret and its ValidatingWebhookConfiguration say.

    no usable one in the Secret, or due   ──> Renew:     a new pair into the Secret; of two replicas the API server takes one
    the configuration knows another one   ──> Introduce: authorities and path into the configuration
    it knows this one                     ──> Serve:     connections get it

Each step shows in the API before the next one is taken, so it does not matter which replica takes it, or dies after it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace_operator.admission.certificates import Pair, is_usable, renewal_due, secret_path


@dataclass(frozen=True, slots=True)
class Renew:
    """A new pair is to be written; `former` are the authorities that are believed now."""

    former: bytes


@dataclass(frozen=True, slots=True)
class Introduce:
    """A JSON patch of the ValidatingWebhookConfiguration."""

    patch: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Serve:
    """This pair is to be served; it is looked at again when it is due."""

    pair: Pair
    due: datetime


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done until somebody else acts; `problem` says who and what."""

    problem: str


Step = Renew | Introduce | Serve | Wait


def next_step(
    secret: Mapping[str, Any] | None,
    configuration: Mapping[str, Any] | None,
    *,
    names: Sequence[str],
    is_own: bool,
    now: datetime,
) -> Step:
    """
    The next step.

    Args:
        names: DNS names by which the API server calls.
        is_own: The certificate is made here; else somebody else keeps Secret and authorities, cert-manager for example.
    """
    if secret is None:
        return Wait(
            "the webhook's Secret does not exist; apply the chart's webhook.yaml, or set HEADRACE_WEBHOOK_PORT=0"
        )
    pair = pair_of(secret)
    usable = pair is not None and is_usable(pair, names, now)
    if is_own and (pair is None or not usable or now >= renewal_due(pair)):
        return Renew(former=pair.authorities if pair is not None else b"")
    if pair is None or not usable:
        return Wait(f"the webhook's Secret has no usable certificate for {names[0]}; look at what issues it")
    patch = _introduction(configuration, pair, is_own=is_own) if configuration is not None else ()
    return Introduce(patch) if patch else Serve(pair, renewal_due(pair))


def pair_of(secret: Mapping[str, Any]) -> Pair | None:
    """What a Secret of type kubernetes.io/tls holds; None for an empty or a broken one."""
    data = secret.get("data") or {}
    try:
        parts = [base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key")]
        authorities = base64.b64decode(data.get("ca.crt") or "", validate=True)
    except (KeyError, TypeError, binascii.Error):
        return None
    return Pair(parts[0], parts[1], authorities)


def secret_data(pair: Pair) -> dict[str, str]:
    """The data of its Secret."""
    parts = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.authorities}
    return {name: base64.b64encode(content).decode() for name, content in parts.items()}


def _introduction(configuration: Mapping[str, Any], pair: Pair, *, is_own: bool) -> tuple[Mapping[str, Any], ...]:
    """What the configuration must be told; nothing if it knows."""
    bundle, path = base64.b64encode(pair.authorities).decode(), secret_path(pair.key)
    operations: list[Mapping[str, Any]] = []
    for index, webhook in enumerate(configuration.get("webhooks") or ()):
        client = webhook.get("clientConfig") or {}
        place = f"/webhooks/{index}/clientConfig"
        if is_own and client.get("caBundle") != bundle:
            operations.append({"op": "add", "path": f"{place}/caBundle", "value": bundle})
        if (client.get("service") or {}).get("path") != path:
            operations.append({"op": "add", "path": f"{place}/service/path", "value": path})
    if not operations:
        return ()
    version = configuration["metadata"]["resourceVersion"]
    return ({"op": "test", "path": "/metadata/resourceVersion", "value": version}, *operations)
