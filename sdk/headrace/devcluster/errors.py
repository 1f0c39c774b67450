"""
Errors of the local cluster. Each text says what to install, change or look at.

    ClusterError
    ├── MissingTool         a program that is needed is not on this machine
    ├── BuildFailed         Go could not build the control plane, or kind not make or delete a cluster
    ├── StartFailed         a component ended or did not become ready
    └── BadNodeOption       a --node, --label, --taint or --capacity that cannot be read
"""

from __future__ import annotations

from pathlib import Path

LOG_LINES = 5
"""Of a component's log in an error: enough for its last words, short enough for a terminal."""


class ClusterError(Exception):
    """Base of all errors of this package."""


class MissingTool(ClusterError):
    """A program is missing; the text names it, what needs it and how to get it."""


class BuildFailed(ClusterError):
    """`go build` or kind ended with an error; the text holds its last words."""


class StartFailed(ClusterError):
    """
    A component did not come up.

    Attributes: `component` its name, `log` the file with its output.
    """

    def __init__(self, component: str, problem: str, log: Path) -> None:
        super().__init__(component, problem, log)
        self.component = component
        self.problem = problem
        self.log = log

    def __str__(self) -> str:
        return f"{self.component} {self.problem}; the end of {self.log}:\n{tail(self.log)}"


class BadNodeOption(ClusterError):
    """A description of a node that cannot be read; the text names the part and what was expected."""


def tail(log: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a file, indented; a note when there are none."""
    try:
        text = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError as error:
        return f"  ({error.strerror})"
    return "\n".join(f"  {line[:300]}" for line in text) or "  (empty)"
