"""Results as files, in a folder that every pod mounts."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from headrace.errors import NoSuchResult, ResultsError
from headrace.results.lifetime import MAX_HEAD, has_expired
from headrace.results.storage import Sink

DRAFT: Final = ".draft"
LOCK: Final = ".headrace-expired.lock"


class Files:
    """
    Storage below one folder, which is made when it is needed.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def put(self, key: str, data: bytes) -> None:
        """As promised by Storage. Raises: ResultsError."""
        with self.writer(key) as file:
            file.write(data)

    def put_new(self, key: str, data: bytes) -> bool:
        """As promised by Storage: the whole draft gets its name by link(), which never replaces. Raises: ResultsError."""
        path = self._path(key)
        with self._told(key):
            if path.exists() and not self._has_expired(path):
                return False
            draft, file = _new_draft(path)
            try:
                file.write(data)
                _finished(file)
                return _linked(draft, path) or self._replaced_expired(draft, path)
            finally:
                _gone(draft, file)

    @contextmanager
    def writer(self, key: str) -> Iterator[Sink]:
        """As promised by Storage: written beside, brought to the disk, then renamed. Raises: ResultsError."""
        path = self._path(key)
        with self._told(key):
            draft, file = _new_draft(path)
        try:
            yield _Draft(file, partial(self._told, key))
            with self._told(key):
                _finished(file)
                draft.replace(path)
                _sync_folder(path.parent)
        finally:
            _gone(draft, file)

    def get(self, key: str) -> bytes:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        with self.reader(key) as file, self._told(key):
            return file.read()

    @contextmanager
    def reader(self, key: str) -> Iterator[BinaryIO]:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        with self._told(key):
            file = self._path(key).open("rb")
        with file:
            with self._told(key):
                if has_expired(file.readline(MAX_HEAD), self._clock()):
                    raise NoSuchResult(str(self._folder), key, "it has expired")
                file.seek(0)
            yield file

    def exists(self, key: str) -> bool:
        """As promised by Storage. Raises: ResultsError."""
        path = self._path(key)
        with self._told(key):
            return path.is_file() and not self._has_expired(path)

    def size(self, key: str) -> int:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        with self._told(key):
            return self._path(key).stat().st_size

    def delete(self, key: str) -> None:
        """As promised by Storage. Raises: ResultsError."""
        with self._told(key):
            self._path(key).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[str]:
        """As promised by Storage. Raises: ResultsError."""
        with self._told(prefix or "."):
            for folder, _, names in os.walk(self._path(prefix), onerror=_unless_gone):
                below = Path(folder).relative_to(self._folder)
                yield from ((below / name).as_posix() for name in names if not _is_ours(name))

    def prune(self, prefix: str = "", *, dry_run: bool = False) -> Iterator[str]:
        """As promised by Storage. Raises: ResultsError."""
        for key in self.list(prefix):
            path = self._path(key)
            with self._told(key):
                if self._has_expired(path) and (dry_run or self._taken_away(path)):
                    yield key

    def _has_expired(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                return has_expired(file.readline(MAX_HEAD), self._clock())
        except FileNotFoundError:
            return True

    def _replaced_expired(self, draft: Path, path: Path) -> bool:
        """Whether the draft took the place of an object that has expired; of several at once, one does."""
        with _alone(path.parent):
            if not self._has_expired(path):
                return False
            draft.replace(path)
            _sync_folder(path.parent)
            return True

    def _taken_away(self, path: Path) -> bool:
        """Whether it is gone: it is set aside first and looked at again, as it may have been put anew meanwhile."""
        aside = _beside(path)
        with _alone(path.parent):
            try:
                path.replace(aside)
            except FileNotFoundError:
                return False
            expired = self._has_expired(aside)
            if not expired:
                with suppress(FileExistsError):  # put once more: the latest stays
                    os.link(aside, path)
            aside.unlink()
            return expired

    def _path(self, key: str) -> Path:
        path = self._folder / key
        if ".." in path.parts or not path.is_relative_to(self._folder):
            raise ResultsError(str(self._folder), key, "it points out of the folder; keys are relative, without ..")
        return path

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NoSuchResult(str(self._folder), key, "there is no such file") from error
        except OSError as error:
            why = (
                f"{error.strerror or error}; check that the folder is mounted, and that the pod's user may write to it"
            )
            raise ResultsError(str(self._folder), key, why) from error


class _Draft:
    """The file that a writer writes to; only what goes wrong with it is an error of the storage."""

    def __init__(self, file: BinaryIO, told: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._told = told

    def write(self, data: bytes, /) -> object:
        with self._told():
            return self._file.write(data)


def _new_draft(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _beside(path)
    return draft, draft.open("xb")


def _gone(draft: Path, file: BinaryIO) -> None:
    """Nothing is left of a draft that still has that name."""
    with suppress(OSError):  # what could not be written cannot be written now either
        file.close()
    draft.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")


def _finished(file: BinaryIO) -> None:
    """All that was written is on the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process does this with what has expired in the folder; a lock on it ends with the process."""
    import fcntl  # noqa: PLC0415 - Windows has none, and expires nothing

    with (folder / LOCK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _linked(draft: Path, path: Path) -> bool:
    """Whether `path` is now the draft, as nothing was there."""
    try:
        os.link(draft, path)
    except FileExistsError:
        # A server of network files may have done it, lost its answer, and met its own work when it was asked again.
        if draft.stat().st_nlink < 2:
            return False
    _sync_folder(path.parent)
    return True


def _is_ours(name: str) -> bool:
    return name == LOCK or (name.startswith(".") and name.endswith(DRAFT))


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync_folder(folder: Path) -> None:
    """The name is on the disk too; file systems that cannot say so (some of networks) keep names safe themselves."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
