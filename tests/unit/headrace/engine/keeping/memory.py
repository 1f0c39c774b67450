"""What the tests of kept results share: a storage in this process that may fail or die, and runs over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.engine.session import Session, using
from headrace.errors import NoSuchResult, ResultsError
from tests.unit.headrace.runs import a_session

URL = "memory://results"


class Killed(BaseException):
    """The process is gone at this very point."""


class Memory:
    """Storage in a dict, which lives longer than the processes that use it; `log` has each call."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.log: list[str] = []
        self.before: Callable[[str], object] = lambda _: None
        self.after: Callable[[str], object] = lambda _: None

    def put(self, key: str, data: bytes) -> None:
        with self._called(f"put {key}"):
            self.objects[key] = data

    def put_new(self, key: str, data: bytes) -> bool:
        with self._called(f"put_new {key}"):
            return self.objects.setdefault(key, data) is data

    def get(self, key: str) -> bytes:
        with self._called(f"get {key}"):
            if key not in self.objects:
                raise NoSuchResult(URL, key, "there is none")
            return self.objects[key]

    def exists(self, key: str) -> bool:
        return key in self.objects

    def delete(self, key: str) -> None:
        with self._called(f"delete {key}"):
            self.objects.pop(key, None)

    def list(self, prefix: str = "") -> Iterator[str]:
        with self._called(f"list {prefix}"):
            return iter([key for key in self.objects if key.startswith(f"{prefix}/")])

    def calls(self, word: str) -> list[str]:
        """The calls of one kind, such as "put"."""
        return [each for each in self.log if each.split(maxsplit=1)[0] == word]

    @contextmanager
    def _called(self, what: str) -> Iterator[None]:
        self.before(what)
        yield
        self.log.append(what)
        self.after(what)


class Connection:
    """The storage as one process sees it: when that was killed, its threads get nothing done either."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._dead = False

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*args: object) -> object:
            if self._dead:
                raise ResultsError(URL, name, "the process is gone")
            try:
                return getattr(self._memory, name)(*args)
            except Killed:
                self._dead = True
                raise

        return call


def an_attempt(memory: Memory, attempt: int = 1, **changes) -> Session:
    """The session of a pod that makes this attempt of the run etl-7."""
    fields = {
        "flow_run": "etl-7",
        "flow_run_uid": "u-1",
        "flow": "etl",
        "namespace": "team",
        "attempt": attempt,
        "repeats_flows": False,
        "results_url": URL,
        "open_storage": lambda _: Connection(memory),
    }
    return a_session(**{**fields, **changes})


def attempts_of(flow, memory: Memory, *arguments, attempt: int = 1):
    """What the flow returns in the first attempt that is not killed, and the sessions of all attempts."""
    session = an_attempt(memory, attempt)
    with using(session):
        try:
            return flow(*arguments), [session]
        except Killed:
            memory.before = memory.after = lambda _: None
    result, later = attempts_of(flow, memory, *arguments, attempt=attempt + 1)
    return result, [session, *later]


def refuse(*words: str) -> Callable[[str], None]:
    """A hook of Memory: calls that begin with one of these words fail."""

    def refused(what: str) -> None:
        if what.split(maxsplit=1)[0] in words:
            raise ResultsError(URL, what, "503 Slow Down")

    return refused
