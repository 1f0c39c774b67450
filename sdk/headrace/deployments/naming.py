"""Names of runs of Deployments, derived from their cause, so that asking twice makes one."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import datetime
from typing import Any


def keyed_name(deployment: str, key: str) -> str:
    """The name of the run with this idempotency key, whoever starts it."""
    return f"{deployment}-k{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def new_name(deployment: str, now: datetime) -> str:
    """A name that no other start has: for a person's."""
    return f"{deployment}-{now:%Y%m%d%H%M%S}-{secrets.token_hex(2)}"


def mark_of(*cause: Any) -> str:
    """Eight characters that tell one cause, which is made of JSON types, from another."""
    text = json.dumps(cause, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
