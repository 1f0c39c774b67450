"""
Errors of the Kubernetes API.

    KubeError
    ├── ConfigurationError      no cluster to talk to: kubeconfig or ServiceAccount missing or broken
    └── ApiError                the API server refused or could not be reached
        ├── NotFound  AlreadyExists  Conflict  Gone  Invalid  Forbidden  Unauthorized     the caller must act
        ├── Unavailable  TooManyRequests  Unreachable                                     try again later
        └── NotServed                                                                     an Unavailable: nothing is there to ask
"""

from __future__ import annotations

import re

MESSAGE_LIMIT = 1024
STARTING = "storage is (re)initializing"
"""How the API server refuses requests for a kind whose definition has just been applied, with 429 and `Retry-After: 1`."""

DENIED = re.compile(r'admission webhook "|\S+ "[^"]*" is forbidden: ')
"""How a refusal by a webhook or an admission policy begins, which may have any status: 400 and 422 where they name none."""


class KubeError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(KubeError):
    """No usable cluster configuration."""


class ApiError(KubeError):
    """
    A request that the API server refused.

    Attributes: `status` is the HTTP status (0 where there was no answer), `reason` the CamelCase reason of the
    `metav1.Status`, `message` its text, cut at 1,024 characters, `retry_after_s` what `Retry-After` asked for.
    """

    retryable = False

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        request: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message[:MESSAGE_LIMIT]
        self.request = request
        self.retry_after_s = retry_after_s

    @property
    def is_starting(self) -> bool:
        """Whether the API server is about to serve this kind, within milliseconds: nothing of it is overloaded."""
        return STARTING in self.message

    def __str__(self) -> str:
        where = f"{self.request}: " if self.request else ""
        return f"{where}{self.status} {self.reason}: {self.message}"


class NotFound(ApiError):
    """404, and the API server names what is not there: the object, or its namespace."""


class AlreadyExists(ApiError):
    """409 on a creation: an object of that name is there."""


class Conflict(ApiError):
    """409 on a write: what was read is no longer current. Read again, decide again."""


class Gone(ApiError):
    """410: the resource version is too old to go on from."""


class Invalid(ApiError):
    """400 or 422: the object breaks its schema or a rule, or a webhook or an admission policy refuses it."""

    @property
    def is_final(self) -> bool:
        """Whether the same request would be refused for ever; what a webhook or a policy refuses now, it may let pass later."""
        return self.reason in {"Invalid", "BadRequest"} and DENIED.match(self.message) is None


class Forbidden(ApiError):
    """403: rights, quota or an admission policy."""


class Unauthorized(ApiError):
    """401: the credentials are not (or no longer) accepted."""


class Unavailable(ApiError):
    """5xx: the API server or what stands behind it."""

    retryable = True


class NotServed(Unavailable):
    """
    404, and no object is named: the kind is not served (yet, or for a moment), or a proxy in between has answered.

    Nobody said that an object is gone.
    """


class TooManyRequests(ApiError):
    """429: API Priority and Fairness, or an eviction that a budget forbids for now."""

    retryable = True


class Unreachable(ApiError):
    """No answer: refused, reset, timed out. Whether the request took effect is unknown."""

    retryable = True


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotServed,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def error_class(status: int, reason: str, *, name: str = "") -> type[ApiError]:
    """
    The class of a failed answer, by its HTTP status and its `metav1.Status`.

    Args:
        name: What the Status names in its details; "" for nothing, as where a webhook denies with 404, or no such kind is served.
    """
    if status == 404 and reason == "NotFound" and name:
        return NotFound
    if reason == "AlreadyExists":
        return AlreadyExists
    if reason == "Expired":
        return Gone
    if status >= 500:
        return Unavailable
    return _BY_STATUS.get(status, ApiError)
