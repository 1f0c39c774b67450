"""Whether what is stored holds a secret: it is stored as it is, as what reads it needs it whole, so people are warned."""

from __future__ import annotations

from functools import cache
from typing import Final

from headrace.engine import logs
from headrace.engine.scope import CURRENT
from headrace.secrecy.redaction import SECRETS

LOOKED_AT: Final = 2**20
"""Bytes of a result that are looked at: a larger one is data, and looking would take longer than storing."""


def warn_of_secret(data: bytes, what: str) -> None:
    """Writes a line if there is a secret in what is to be stored, once for each task. `what` names it."""
    if SECRETS.forms and SECRETS.found_in(data[:LOOKED_AT].decode("utf-8", "ignore")):
        run = CURRENT.get()
        _warn(f'{run.description.kind} "{run.description.name}": {what}' if run and '"' not in what else what)


@cache
def _warn(what: str) -> None:
    run = CURRENT.get()
    advice = "return where it is, and read it where it is needed: headrace.Secret.load(…)"
    extra = {**(run.fields if run else {}), "event": "secret_in_result"}
    logs.LOGGER.warning("%s holds a secret, which the result storage keeps as it is; %s", what, advice, extra=extra)
