"""What became of each part of a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of one part."""

    CARRIED = "carriedOver"
    CHANGED = "changedMeaning"
    LEFT = "leftBehind"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of a source. `line` 0 is the whole file. `part` names it as the source does; `text` says what it became, or what to do by hand."""

    outcome: Outcome
    line: int
    part: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Notes:
    """The findings of one source, in the order in which they come. `source` is the file as the user named it."""

    source: str
    found: list[Finding] = field(default_factory=list)

    def carried(self, line: int, part: str, text: str = "") -> None:
        """The part means the same in our files; `text` says where it is, if that is not plain."""
        self._add(Finding(Outcome.CARRIED, line, part, text))

    def changed(self, line: int, part: str, text: str) -> None:
        """The part has a counterpart that behaves differently, or needs none; `text` says which."""
        self._add(Finding(Outcome.CHANGED, line, part, text))

    def left(self, line: int, part: str, text: str) -> None:
        """The part is in none of our files; `text` says what to do by hand."""
        self._add(Finding(Outcome.LEFT, line, part, text))

    def _add(self, finding: Finding) -> None:
        if finding not in self.found:
            self.found.append(finding)


@dataclass(frozen=True, slots=True)
class Output:
    """A file to write, below the chosen folder: manifests, or the text of a module."""

    path: str
    manifests: tuple[Mapping[str, Any], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Migrated:
    """What came of one source. `kind` says what it was taken for."""

    source: str
    kind: str
    outputs: tuple[Output, ...]
    findings: tuple[Finding, ...]

    def of(self, outcome: Outcome) -> list[Finding]:
        """The findings with this outcome, by line."""
        return sorted((each for each in self.findings if each.outcome is outcome), key=lambda each: each.line)


def as_text(migrated: Migrated) -> str:
    """The report for people: what was written, then each finding with its line."""
    lines = [f"{migrated.source} ({migrated.kind})"]
    lines += [f"  -> {output.path}{_kinds(output)}" for output in migrated.outputs]
    lines += [_carried(migrated)] if migrated.of(Outcome.CARRIED) else []
    for title, outcome in (("changed meaning", Outcome.CHANGED), ("left behind", Outcome.LEFT)):
        found = migrated.of(outcome)
        lines += [f"  {title}:"] if found else []
        lines += [f"    {_where(migrated, each)}: {each.part}: {each.text}" for each in found]
    return "\n".join(lines)


def as_json(migrated: Migrated) -> dict[str, Any]:
    """The report for programs: `source`, `kind`, `files`, and the findings under the names of their outcomes."""
    findings = {
        str(outcome): [{"line": each.line, "part": each.part, "text": each.text} for each in migrated.of(outcome)]
        for outcome in Outcome
    }
    return {
        "source": migrated.source,
        "kind": migrated.kind,
        "files": [output.path for output in migrated.outputs],
        **findings,
    }


def _where(migrated: Migrated, finding: Finding) -> str:
    return f"{migrated.source}:{finding.line}" if finding.line else migrated.source


def _kinds(output: Output) -> str:
    counts: dict[str, int] = {}
    for manifest in output.manifests:
        counts[manifest["kind"]] = counts.get(manifest["kind"], 0) + 1
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f" ({told})" if told else ""


def _carried(migrated: Migrated) -> str:
    parts: Sequence[str] = list(dict.fromkeys(each.part for each in migrated.of(Outcome.CARRIED)))
    return f"  carried over: {', '.join(parts)}"
