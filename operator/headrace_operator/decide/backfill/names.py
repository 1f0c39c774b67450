"""Names of partitions: short, of letters, digits and '-', and each one once in its Backfill."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

MAX_PARTITION_NAME: Final = 22
"""Of a run's name: `<backfill>-<partition>--r99-11` has 63 characters at most."""

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_OTHERS = re.compile(r"[^a-z0-9]+")


def run_name(backfill: str, partition: str, *, attempt: int = 1, rerun: int = 0) -> str:
    """
    The name of a partition's FlowRun: `<backfill>-<partition>`, and for further runs `--2`, `--r1`, `--r1-2` behind it.

    A partition's name never has two dashes in a row, so that no two runs of a Backfill have the same name. A run of
    that name can be another Backfill's all the same ("a" with "b-c", "a-b" with "c"): whoever meets one that exists
    looks at its owner.

    Args:
        attempt: Which run of the partition it is since the last rerun, from 1.
        rerun: The spec.rerunFailed that it is made for.
    """
    further = [f"r{rerun}"] if rerun else []
    further += [str(attempt)] if attempt > 1 else []
    return "--".join([f"{backfill}-{partition}", *(["-".join(further)] if further else [])])


def distinct(texts: Sequence[str]) -> tuple[str, ...]:
    """
    A name for each text: the text itself, as far as a name can hold it.

    Where one of them would be too long, empty, or the same as another, all have their number behind what fits of it.
    """
    slugs = tuple(map(slug, texts))
    if all(slugs) and len(set(slugs)) == len(slugs) and max(map(len, slugs)) <= MAX_PARTITION_NAME:
        return slugs
    digits = len(in_base_36(len(slugs) - 1))
    return tuple(numbered(text, number, digits) for number, text in enumerate(slugs))


def numbered(text: str, number: int, digits: int) -> str:
    """What fits of a slug, and the number in base 36 with this many digits behind it: other numbers, other names."""
    begin = text[: MAX_PARTITION_NAME - 1 - digits].strip("-")
    return "-".join(part for part in (begin, in_base_36(number).zfill(digits)) if part)


def slug(text: str) -> str:
    """The text in lower case, whatever is neither letter nor digit as one '-'; "" where nothing is left."""
    return _OTHERS.sub("-", text.lower()).strip("-")


def joined(tokens: Iterable[str]) -> str:
    """One name of several tokens; different tokens give different names, as long as none is empty or has a '-'."""
    return "-".join(filter(None, tokens))


def token(value: Any) -> str:
    """A value as a name without '-': "2026-01-01" as 20260101."""
    return slug(shown(value)).replace("-", "")


def shown(value: Any) -> str:
    """A value as people write it: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def in_base_36(number: int) -> str:
    """The number in digits and small letters."""
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"
