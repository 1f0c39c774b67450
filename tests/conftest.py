"""What holds for every test of the project."""

from __future__ import annotations

import pytest
from hypothesis import settings

# How long one generated case may take says something of the machine, nothing of the code.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--e2e", action="store_true", help="run the tests on real nodes (docs/local-cluster.md)")
