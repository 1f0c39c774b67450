"""How the content of each kind is written, and what cannot be one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

from headrace.errors import UsageError, shown
from headrace.secrecy.redaction import redacted, redacted_json

KEY: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
MAX_URL: Final = 2048
MAX_DESCRIPTION: Final = 256

Table = Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]] | Mapping[str, Sequence[Any]]

IMAGES: Final = {
    b"\x89PNG\r\n": "png",
    b"\xff\xd8\xff": "jpg",
    b"GIF8": "gif",
    b"RIFF": "webp",
    b"<svg": "svg",
    b"<?xml": "svg",
}
"""What images begin with, and how their files are called."""


@dataclass(frozen=True, slots=True)
class Content:
    """`data` to keep in a file that ends in `.extension`; or a `url` that is kept by somebody else already."""

    data: bytes = b""
    extension: str = ""
    url: str = ""
    is_text: bool = True


def checked_key(key: str) -> str:
    """The key. Raises: UsageError: it cannot be one."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise UsageError(
            f'artifact {shown(key)}: a key has at most 63 lower-case letters, digits and "-", such as "rows-per-day"'
        )
    return key


def one_line(description: str | None) -> str:
    """The description as lists show it: at most 256 characters."""
    text = " ".join(redacted(description or "").split())
    text = "".join(char for char in text if char.isprintable())
    return text if len(text) <= MAX_DESCRIPTION else f"{text[: MAX_DESCRIPTION - 1]}…"


def markdown(text: str) -> Content:
    """Raises: UsageError: it is no text."""
    if not isinstance(text, str):
        raise UsageError(f"create_markdown_artifact: markdown is {shown(text)}, expected text")
    return Content(redacted(text).encode("utf-8", "replace"), "md")


def table(rows: Table) -> Content:
    """JSON: a list of objects, or of lists. Raises: UsageError: it is no table."""
    return Content(
        json.dumps(redacted_json(_plain(_rows(rows))), ensure_ascii=False).encode("utf-8", "replace"), "json"
    )


def link(url: str) -> Content:
    """Raises: UsageError: it is no URL."""
    told = redacted(url) if isinstance(url, str) else ""
    if not 0 < told.find("://") < len(told) <= MAX_URL or not told.isprintable():
        raise UsageError(
            f"artifact: {shown(url)} is no URL of at most {MAX_URL} characters, such as https://example.org/x"
        )
    return Content(url=told)


def image(source: str | Path | bytes) -> Content:
    """Raises: UsageError: it is no image, no URL, or a file that cannot be read."""
    if isinstance(source, str):
        return link(source)
    try:
        data = source.read_bytes() if isinstance(source, Path) else bytes(source)
    except OSError as error:
        raise UsageError(f"create_image_artifact: {shown(source)} cannot be read: {error.strerror}") from error
    extension = next((name for start, name in IMAGES.items() if data.lstrip()[:64].startswith(start)), None)
    if extension is None:
        raise UsageError(f"create_image_artifact: {shown(source)} is no PNG, JPEG, GIF, WebP or SVG")
    return Content(data, extension, is_text=False)


def per_cent(progress: float) -> float:
    """Raises: UsageError: it is no number from 0 to 100."""
    is_number = isinstance(progress, int | float) and not isinstance(progress, bool)
    if not is_number or not isfinite(progress) or not 0 <= progress <= 100:
        raise UsageError(f"progress is {shown(progress)}, expected per cent, from 0 to 100")
    return float(progress)


def _rows(found: Any) -> list[Any]:
    if isinstance(found, Mapping) and all(isinstance(column, list | tuple) for column in found.values()):
        lengths = {len(column) for column in found.values()}
        if len(lengths) <= 1:
            return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
        raise UsageError(f"create_table_artifact: the columns differ in length: {sorted(lengths)}")
    rows: list[Any] = list(found) if isinstance(found, list | tuple) else [None]
    if all(isinstance(row, Mapping) for row in rows):
        return [dict(row) for row in rows]
    if all(isinstance(row, list | tuple) for row in rows):
        return [list(row) for row in rows]
    raise UsageError(
        f"create_table_artifact: table is {shown(found)}, expected a list of dicts, a dict of lists, or a list of lists"
    )


def _plain(rows: list[Any]) -> Any:
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - only tables need it

    return to_jsonable_python(rows, fallback=str, inf_nan_mode="constants")
