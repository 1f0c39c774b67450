"""
How a manifest was rendered, in its first line, so that it can be rendered again:

    # headrace render etl.py:main --cron '0 7 * * *'

Files are told relative to the manifest's folder.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

MARK: Final = "# headrace render "


def headed(manifest: str, arguments: Sequence[str]) -> str:
    """The manifest below the line that tells how it was rendered."""
    return f"{MARK}{shlex.join(arguments)}\n{manifest}"


def recorded_in(text: str) -> list[str] | None:
    """The arguments of `headrace render` that a manifest tells of. None: it tells of none."""
    line = text.partition("\n")[0]
    if not line.startswith(MARK):
        return None
    return shlex.split(line.removeprefix(MARK))


def arguments_of(entrypoint: str, options: Mapping[str, object], folder: Path) -> list[str]:
    """
    The command line that renders the same from a folder.

    Args:
        options: By their names. None, False and "" stand for what was not given; a Path is a file; True a switch.
    """
    path, _, function = entrypoint.rpartition(":")
    found = [f"{_seen_from(folder, Path(path))}:{function}" if path.endswith(".py") else entrypoint]
    for option, value in options.items():
        if value is None or value is False or value == "":  # 0 is a value
            continue
        if value is True:
            found.append(option)
            continue
        for each in value if isinstance(value, list) else [value]:
            found += [option, _seen_from(folder, each) if isinstance(each, Path) else str(each)]
    return found


def _seen_from(folder: Path, file: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()
