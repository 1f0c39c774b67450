"""Results as files, in a folder that every pod mounts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from headrace.errors import NoSuchResult, ResultsError

DRAFT: Final = ".draft"


class Files:
    """Storage below one folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, data: bytes) -> None:
        """
        As promised by Storage: written beside, brought to the disk, then renamed, so that no reader sees a part.

        Raises: ResultsError.
        """
        path = self._path(key)
        with self._told(key), _draft_of(path, data) as draft:
            draft.replace(path)
            _sync_folder(path.parent)

    def put_new(self, key: str, data: bytes) -> bool:
        """As promised by Storage: the whole draft gets its name by link(), which never replaces. Raises: ResultsError."""
        path = self._path(key)
        with self._told(key):
            if path.exists():
                return False
            with _draft_of(path, data) as draft:
                return _linked(draft, path)

    def get(self, key: str) -> bytes:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        with self._told(key):
            return self._path(key).read_bytes()

    def exists(self, key: str) -> bool:
        """As promised by Storage. Raises: ResultsError."""
        with self._told(key):
            return self._path(key).is_file()

    def delete(self, key: str) -> None:
        """As promised by Storage. Raises: ResultsError."""
        with self._told(key):
            self._path(key).unlink(missing_ok=True)

    def list(self, prefix: str = "") -> Iterator[str]:
        """As promised by Storage. Raises: ResultsError."""
        with self._told(prefix or "."):
            for folder, _, names in os.walk(self._path(prefix), onerror=_unless_gone):
                below = Path(folder).relative_to(self._folder)
                yield from ((below / name).as_posix() for name in names if not _is_draft(name))

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


@contextmanager
def _draft_of(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside `path` with this content, brought to the disk; gone when the block ends, if it still has that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


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


def _is_draft(name: str) -> bool:
    return name.startswith(".") and name.endswith(DRAFT)


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
