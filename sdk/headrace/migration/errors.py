"""
Errors of a migration.

    HeadraceError
    └── MigrationError      a source cannot be migrated, or its files cannot be written
"""

from __future__ import annotations

from headrace.errors import HeadraceError


class MigrationError(HeadraceError):
    """
    A source cannot be migrated, or its files cannot be written; nothing was written.

    Attributes: `source` is a file, `line` in it (0: the whole file), `field` (may be empty), `problem` says what was found,
    what was expected, and what to do.
    """

    def __init__(self, source: str, line: int, field: str, problem: str) -> None:
        super().__init__(source, line, field, problem)
        self.source = source
        self.line = line
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        return ": ".join(part for part in (where, self.field, self.problem) if part)
