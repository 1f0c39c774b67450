"""What holds for every test of the project."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell has it for what it runs in the background: whatever the tests start, and end by SIGINT, would live on.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one generated case may take says something of the machine, nothing of the code.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--e2e", action="store_true", help="run the tests on real nodes (docs/local-cluster.md)")
