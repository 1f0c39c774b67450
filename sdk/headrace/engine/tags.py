"""Words that runs are marked with, so that people find them again in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from headrace.errors import UsageError, shown

TAGS: ContextVar[tuple[str, ...]] = ContextVar("headrace_tags", default=())
"""Those of the blocks around the running code."""


@contextmanager
def tags(*words: str) -> Iterator[None]:
    """
    Marks the runs that begin inside the block with these words, beside their own.

    Raises: UsageError: one is no text.
    """
    token = TAGS.set((*TAGS.get(), *checked_tags("tags()", words)))
    try:
        yield
    finally:
        TAGS.reset(token)


def checked_tags(label: str, words: object) -> tuple[str, ...]:
    """The words, each once. Raises: UsageError: they are no list of texts."""
    if not isinstance(words, list | tuple | set | frozenset):
        raise UsageError(f'{label}: tags is {shown(words)}, expected a list of words, such as tags=["daily"]')
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise UsageError(f'{label}: tags has {shown(word)}, expected a word, such as "daily"')
    return tuple(dict.fromkeys(sorted(words) if isinstance(words, set | frozenset) else words))
