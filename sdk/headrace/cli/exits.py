"""
Exit statuses, so that scripts can tell one failure from another (docs/cli.md has the table).

A flow that runs here exits as it does in a pod, which docs/pod-contract.md tells.
"""

from __future__ import annotations

from typing import Final

from headrace.errors import HeadraceError, UsageError
from headrace.kubeapi.errors import (
    ConfigurationError,
    Forbidden,
    KubeError,
    NotFound,
    NotServed,
    Unauthorized,
    Unreachable,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NO_RIGHT: Final = 4
NO_CLUSTER: Final = 5
CANCELLED: Final = 130

_BY_ERROR: Final[tuple[tuple[type[Exception], int], ...]] = (
    (UsageError, USAGE),
    (NotFound, NOT_FOUND),
    (NotServed, NOT_FOUND),
    (Forbidden, NO_RIGHT),
    (Unauthorized, NO_RIGHT),
    (Unreachable, NO_CLUSTER),
    (ConfigurationError, NO_CLUSTER),
)


def status_of(error: BaseException) -> int:
    """The exit status for an error: that of what caused it, where it says no more itself."""
    for kind, status in _BY_ERROR:
        if isinstance(error, kind):
            return status
    cause = error.__cause__
    is_ours = isinstance(error, HeadraceError | KubeError)
    return status_of(cause) if is_ours and isinstance(cause, HeadraceError | KubeError) else FAILED
