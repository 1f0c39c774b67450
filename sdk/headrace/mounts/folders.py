"""What ConfigMaps and Secrets look like inside a pod: a folder for each, a file for each of their keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from headrace.errors import UsageError, shown

SECRETS_DIR_ENV: Final = "HEADRACE_SECRETS_DIR"
VARIABLES_DIR_ENV: Final = "HEADRACE_VARIABLES_DIR"
SECRET_PREFIX: Final = "HEADRACE_SECRET_"  # noqa: S105 - a name, no secret
VARIABLE_PREFIX: Final = "HEADRACE_VARIABLE_"
REDACT_ENV: Final = "HEADRACE_REDACT_ENV"
"""Names of variables that hold secrets, with commas between."""
ALLOWED: Final = frozenset("-._abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def folder(variable: str) -> Path | None:
    """The folder that the variable names, None if it names none."""
    path = os.environ.get(variable)
    return Path(path) if path else None


def entries(source: Path) -> Mapping[str, bytes]:
    """
    The content of a mounted ConfigMap or Secret by key; empty if there is no such folder.

    Raises: UsageError: a file may not be read.
    """
    found: dict[str, bytes] = {}
    for path in files(source):
        try:
            found[path.name] = path.read_bytes()
        except OSError as error:
            raise UsageError(f'"{path}" cannot be read: {error.strerror}; run the pod as a user that may') from error
    return found


def files(source: Path) -> Iterator[Path]:
    """One file a key, in the order of the keys. The kubelet's own links, such as "..data", are left out."""
    paths = sorted(source.iterdir()) if source.is_dir() else []
    return (path for path in paths if not path.name.startswith("..") and path.is_file())


def secret_values(variables: Mapping[str, str]) -> Iterator[str | bytes]:
    """Every value of this environment that must not be shown: of mounted Secrets, and of variables that hold one."""
    path = variables.get(SECRETS_DIR_ENV)
    for source in sorted(Path(path).iterdir()) if path and Path(path).is_dir() else ():
        for file in files(source):
            with suppress(OSError):  # what this process may not read, it cannot show
                yield file.read_bytes()
    for name in variables.get(REDACT_ENV, "").split(","):
        yield variables.get(name, "")
    for name, value in variables.items():
        if name.startswith(SECRET_PREFIX):
            yield value


def variable_name(prefix: str, name: str) -> str:
    """The environment variable that stands for a name, such as HEADRACE_SECRET_DB_MAIN for "db-main"."""
    return prefix + "".join(char if char.isalnum() and char.isascii() else "_" for char in name).upper()


def checked_name(kind: str, name: str) -> str:
    """The name, if a ConfigMap, a Secret or a key of one can have it. Raises: UsageError: none can."""
    if not isinstance(name, str) or not name or not ALLOWED.issuperset(name) or name.startswith(".."):
        raise UsageError(f"{kind} {shown(name)}: a name has letters, digits, '-', '_' and '.'")
    return name
