"""Names that derive from their cause, so that a flow that starts over finds what it began."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from headrace.results.places import joined, split, task_folder

__all__ = ["digest", "joined", "run_name", "split", "task_folder"]

MAX_RUN_NAME: Final = 63
"""Pods carry their run's name as a label value."""
DIGEST_LENGTH: Final = 16


def run_name(parent: str, task_run: str, go: int) -> str:
    """
    The name of a task's FlowRun: `<parent>-<task run>`, from the second go on with `-r<go>` behind it.

    Args:
        task_run: Such as "train-0"; what a name cannot hold is replaced, and a hash tells it apart.
        go: From 1.
    Returns: At most 63 characters that Kubernetes takes as a name.
    """
    tail = f"-r{go}" if go > 1 else ""
    plain = f"{parent}-{task_run}"
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if name == plain and len(name) + len(tail) <= MAX_RUN_NAME:
        return name + tail
    mark = f"-{hashlib.sha256(plain.encode()).hexdigest()[:8]}{tail}"
    return name[: MAX_RUN_NAME - len(mark)].rstrip("-") + mark


def digest(data: bytes) -> str:
    """Sixteen characters that tell one input from another."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]
