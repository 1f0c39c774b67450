"""
`python -m headrace.cli.alongside MODULE`: runs a module as a program, and has it end when standard input does.

Standard input is a pipe from the command that has started it. The system closes it when that process ends, even by SIGKILL, on every
platform: nothing is left behind that listens.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from threading import Thread


def main() -> None:
    """As the module does."""
    Thread(target=_end_with_input, daemon=True).start()
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
