"""
Errors of the operator.

    OperatorError
    ├── PodRefusedError       the API server does not take the pod: quota, policy, or a broken podTemplate
    ├── PodNameTakenError     a pod that is not this run's has the name
    ├── SlotsTakenError       a slot that was free went to another holder
    └── LeadershipLostError   another operator may lead by now
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class OperatorError(Exception):
    """Base of all errors of this package."""


class PodRefusedError(OperatorError):
    """Attributes: `message` is the API server's; `final` is whether the same pod would be refused for ever."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.message = message
        self.final = final


class PodNameTakenError(OperatorError):
    """Attributes: `pod` is the object that has the name."""

    def __init__(self, namespace: str, name: str, pod: Mapping[str, Any]) -> None:
        super().__init__(f"pod {namespace}/{name} exists and belongs to another object")
        self.namespace = namespace
        self.name = name
        self.pod = pod


class SlotsTakenError(OperatorError):
    """Tasks take slots by themselves, and one was quicker than the run."""

    def __init__(self, namespace: str, run: str) -> None:
        super().__init__(f"FlowRun {namespace}/{run}: a slot that was free is taken by another holder")


class LeadershipLostError(OperatorError):
    """Attributes: `identity` is that of the process that may write no more."""

    def __init__(self, identity: str) -> None:
        super().__init__(f"{identity} has not renewed its lease in time: another operator may lead by now")
        self.identity = identity
