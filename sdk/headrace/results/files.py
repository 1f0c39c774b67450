"""Results as files, in a folder that every pod mounts."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.errors import NoSuchResult, ResultsError


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
        with self._told(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            try:
                with draft.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
            except BaseException:
                with suppress(OSError):
                    draft.unlink()
                raise
            _sync_folder(path.parent)

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


def _sync_folder(folder: Path) -> None:
    """The name is on the disk too; file systems that cannot say so (some of networks) keep names safe themselves."""
    with suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
