"""
`python -m headrace.devcluster.guard FOLDER`: stops what runs in FOLDER as soon as standard input ends.

Standard input is a pipe from the process that the cluster belongs to. The system closes it when that process ends,
even by SIGKILL, on every platform.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from headrace.devcluster.processes import Processes


def main() -> None:
    """Waits for the end of standard input, then stops the processes of the folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner; its end is what counts here
    sys.stdin.buffer.read()
    Processes(Path(sys.argv[1])).stop()


if __name__ == "__main__":
    main()
