"""What `import headrace` loads, and what it leaves for later."""

import subprocess
import sys

import pytest

import headrace

LATER = (
    "asyncio",
    "concurrent",
    "datetime",
    "json",
    "logging",
    "multiprocessing",
    "pydantic",
    "headrace.engine.execution",
    "headrace.lineage",
    "headrace.tracing",
    "opentelemetry",
    "kubernetes",
    "yaml",
)


@pytest.mark.parametrize("module", LATER)
def test_what_is_slow_is_loaded_when_it_is_used(module):
    """An import that slips in would cost every start of every flow."""
    code = f"import sys, headrace; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_are_there():
    """What __all__ promises."""
    for name in headrace.__all__:
        assert getattr(headrace, name).__doc__
