"""
An operator process that takes a silent watch for dead after seconds, not after a minute and a half.

Bookmarks come once a minute, so a watch that is merely quiet is opened anew, too. That does no harm.
"""

from __future__ import annotations

import sys

from headrace.kubeapi import stream
from headrace_operator.__main__ import main

SILENCE_S = 3.0

if __name__ == "__main__":
    stream.SILENCE_S = SILENCE_S
    sys.exit(main())
