"""Which writes may take effect though nobody waits for them, and until when."""

from __future__ import annotations

import asyncio

import pytest

from headrace.kubeapi.errors import ApiError, Conflict, Invalid, NotFound, TooManyRequests, Unavailable, Unreachable
from headrace_operator.errors import LeadershipLostError
from headrace_operator.kube.fenced import FencedCluster, Unanswered
from headrace_operator.kube.resources import PODS

TIMEOUT_S = 5.0


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Ends:
    """A Cluster whose writes all end in the same way."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    async def create(self, *_: object) -> dict[str, object]:
        if self.error:
            raise self.error
        return {}

    async def patch(self, *_: object, subresource: str = "") -> dict[str, object]:
        return await self.create(subresource)

    async def delete(self, *_: object, uid: str, version: int | None = None) -> None:
        await self.create(uid, version)


async def left_s(error: BaseException | None, write: str, *, fence_error: Exception | None = None) -> float:
    """Until such a write takes effect no more, right after it ended."""

    def fence() -> None:
        if fence_error:
            raise fence_error

    unanswered = Unanswered(TIMEOUT_S, Clock())
    cluster = FencedCluster(Ends(error), fence, unanswered)  # type: ignore[arg-type]
    writes = {
        "create": lambda: cluster.create(PODS, "team", {}),
        "patch": lambda: cluster.patch(PODS, "team", "pod", {}),
        "delete": lambda: cluster.delete(PODS, "team", "pod", uid="u"),
    }
    try:
        await writes[write]()  # type: ignore[no-untyped-call]
    except BaseException as raised:  # noqa: BLE001 - it is the one that it was made to raise
        assert raised is (fence_error or error)
    return unanswered.left_s


WRITES = pytest.mark.parametrize("write", ["create", "patch", "delete"])


@WRITES
@pytest.mark.parametrize(
    "error",
    [
        Unreachable(0, "Unreachable", "the connection was reset"),
        Unavailable(500, "InternalError", "etcdserver: request timed out"),
        Unavailable(502, "Unknown", "bad gateway"),
        Unavailable(504, "Timeout", "the server did not answer in time"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'status', '')}",
)
async def test_without_an_answer_it_may_take_effect_until_its_time_is_up(error: BaseException, write: str) -> None:
    assert await left_s(error, write) == TIMEOUT_S


@WRITES
@pytest.mark.parametrize(
    "error", [None, *(kind(422, "x", "x") for kind in (Conflict, Invalid, NotFound)), TooManyRequests(429, "x", "x")]
)
async def test_an_answer_says_what_became_of_it(error: ApiError | None, write: str) -> None:
    assert await left_s(error, write) == 0


@WRITES
async def test_what_the_fence_refuses_was_never_sent(write: str) -> None:
    assert await left_s(None, write, fence_error=LeadershipLostError("left")) == 0


async def test_the_last_one_counts() -> None:
    """Each has its own time, from when nobody waits for it any more."""
    clock = Clock()
    unanswered = Unanswered(TIMEOUT_S, clock)
    assert unanswered.left_s == 0
    unanswered.note()
    clock.now_s += 3
    unanswered.note()
    clock.now_s += 3
    assert unanswered.left_s == TIMEOUT_S - 3
    clock.now_s += 2
    assert unanswered.left_s == 0
    await unanswered.settled()
