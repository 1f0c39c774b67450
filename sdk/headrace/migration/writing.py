"""
Files of a migration: all of them, or none where one is in the way.

A file that is there with the same content is left alone, so a migration that was broken off is simply done again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from headrace.migration.errors import MigrationError


def differing(folder: Path, files: Mapping[str, str]) -> dict[Path, str]:
    """The files, by place, that are not there with this very content."""
    places = {folder / name: text for name, text in files.items()}
    return {place: text for place, text in places.items() if _content(place) != text.encode()}


def write(folder: Path, files: Mapping[str, str], *, overwrite: bool) -> list[Path]:
    """
    Writes the files below the folder; returns those that were not there with this content.

    Args:
        overwrite: Whether files with other content are replaced.
    Raises: MigrationError: a file with other content is there, or one cannot be written.
    """
    missing = differing(folder, files)
    in_the_way = [place for place in missing if place.exists()]
    if in_the_way and not overwrite:
        listed = ", ".join(map(str, in_the_way))
        problem = f"there with other content: {listed}; give --overwrite to replace, or --to another folder"
        raise MigrationError(str(folder), 0, "", problem)
    for place, text in missing.items():
        _write(place, text)
    return list(missing)


def _content(place: Path) -> bytes | None:
    try:
        return place.read_bytes()
    except OSError:
        return None


def _write(place: Path, text: str) -> None:
    """In one piece: a reader finds the old file or the new one."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(text.encode())
        beside.replace(place)
    except OSError as error:
        with suppress(OSError):  # what could not be made need not go
            beside.unlink()
        problem = f"it cannot be written ({error.strerror}); give --to another folder"
        raise MigrationError(str(place), 0, "", problem) from None
