"""Exact changes of a module's text: what is not changed stays as it was, comments and formatting included."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` in place of the characters from `start` to before `end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Text:
    """The text of a module, whose nodes have places in it."""

    whole: str

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self._lines:
            starts.append(starts[-1] + len(line))
        return starts

    @cached_property
    def _lines(self) -> list[str]:
        # As Python's tokenizer counts lines: str.splitlines() would also break at form feeds.
        return [part + "\n" for part in self.whole.split("\n")]

    def at(self, line: int, column: int) -> int:
        """The index of the character at this line, from 1, and this column in bytes of UTF-8, as nodes count."""
        text = self._lines[line - 1]
        return self._starts[line - 1] + len(text.encode()[:column].decode())

    def start(self, node: ast.expr | ast.stmt | ast.keyword | ast.alias) -> int:
        """Where the node begins."""
        return self.at(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.keyword | ast.alias) -> int:
        """Behind the node's last character."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.at(node.end_lineno, node.end_col_offset)

    def of(self, node: ast.expr | ast.stmt | ast.keyword | ast.alias) -> str:
        """The node as it is written."""
        return self.whole[self.start(node) : self.end(node)]

    def line_start(self, line: int) -> int:
        """Where the line begins, from 1."""
        return self._starts[line - 1]

    def indent(self, line: int) -> str:
        """The white space in front of a line."""
        text = self._lines[line - 1]
        return text[: len(text) - len(text.lstrip(" \t"))]


def applied(text: str, edits: Iterable[Edit]) -> str:
    """
    The text with all changes.

    Raises: ValueError: two of them change the same characters.
    """
    parts, reached = [], 0
    for edit in sorted(dict.fromkeys(edits), key=lambda each: (each.start, each.end)):
        if edit.start < reached:
            raise ValueError(f"two changes of {text[edit.start : edit.end]!r}")
        parts += [text[reached : edit.start], edit.text]
        reached = edit.end
    return "".join([*parts, text[reached:]])


def without_arguments(text: Text, call: ast.Call, gone: Iterable[ast.keyword]) -> list[Edit]:
    """The edits that take these keyword arguments out of a call, with their commas; whole lines where they fill them."""
    leaving = set(gone)
    arguments: list[ast.expr | ast.keyword] = sorted(
        [*call.args, *call.keywords], key=lambda each: (each.lineno, each.col_offset)
    )
    edits, at = [], 0
    while at < len(arguments):
        if arguments[at] not in leaving:
            at += 1
            continue
        first = at
        while at < len(arguments) and arguments[at] in leaving:
            at += 1
        edits.append(_without_run(text, call, arguments, first=first, last=at - 1))
    return edits


def _without_run(text: Text, call: ast.Call, arguments: list[ast.expr | ast.keyword], *, first: int, last: int) -> Edit:
    start, end = text.start(arguments[first]), text.end(arguments[last])
    if last + 1 < len(arguments):
        following = text.start(arguments[last + 1])
        if "#" not in text.whole[end:following]:
            return Edit(start, following, "")
    lines = _filled_lines(text, start, end)
    if lines:
        return Edit(*lines, "")
    if first:
        return Edit(text.end(arguments[first - 1]), end, "")
    return Edit(start, text.end(call) - 1, "")


def _filled_lines(text: Text, start: int, end: int) -> tuple[int, int] | None:
    """From the first to behind the last line, if nothing but a comma and a comment shares them."""
    begin = text.whole.rfind("\n", 0, start) + 1
    stop = text.whole.find("\n", end)
    if stop < 0 or text.whole[begin:start].strip():
        return None
    rest = text.whole[end:stop].lstrip().removeprefix(",").lstrip()
    return (begin, stop + 1) if not rest or rest.startswith("#") else None
