"""What the tests of the SDK share."""

import pytest

from headrace.secrecy.redaction import SECRETS, register


@pytest.fixture
def secrets(monkeypatch):
    """Registers values for one test."""
    for name in ("forms", "told", "_starts"):
        monkeypatch.setattr(SECRETS, name, getattr(SECRETS, name))

    def registered(*values):
        for value in values:
            register(value)

    return registered
