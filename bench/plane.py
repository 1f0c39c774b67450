"""A control plane of its own for one benchmark, gone when it is over."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from headrace.devcluster import plane
from headrace.devcluster.binaries import provide_binaries
from headrace.devcluster.progress import Silent


def on_a_plane(measure: Callable[[plane.Plane, Path], Coroutine[Any, Any, int]], *, audit: bool = True) -> int:
    """What `measure` returns, given a plane and an empty folder; an audit log of a long one would take gigabytes."""
    binaries = provide_binaries(os.environ, Silent())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        guard = plane.tie(folder)
        try:
            return asyncio.run(measure(plane.start(folder, binaries, audit=audit), folder))
        finally:
            guard.communicate()
