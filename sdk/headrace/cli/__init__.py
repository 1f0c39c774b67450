"""
The `headrace` command (also `kubectl headrace`): one module a command, formatting apart from reading.

`main` is the console script. What the commands need is the extra `cli`; without it the command says so.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line of this process and exits with its status."""
    try:
        from headrace.cli.main import run  # noqa: PLC0415 - the bare install lacks what it imports
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "headrace":
            raise
        sys.exit(f"headrace: the command line needs the package \"{error.name}\": pip install 'headrace[cli]'")
    run()


def complete() -> None:
    """What kubectl asks at each tab after `kubectl headrace`. Exits."""
    from headrace.cli.completion import for_kubectl  # noqa: PLC0415 - as above

    for_kubectl()
