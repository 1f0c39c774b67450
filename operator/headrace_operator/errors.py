"""
Errors of the operator.

    OperatorError
    ├── PodRefusedError       the API server does not take the pod: quota, policy, or a broken podTemplate
    └── PodNameTakenError     a pod that is not this run's has the name
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
