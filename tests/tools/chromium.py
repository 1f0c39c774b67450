"""`python -m tests.tools.chromium`: installs the browser that looks at the dashboard in tests; says what keeps it from that."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import Final

from tests.tools import debian

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
PACKAGE: Final = "chromium"


def program() -> str | None:
    """The path of the browser; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def main() -> int:
    """Always 0: tests in a browser are skipped without one, and say why."""
    if program():
        return 0
    began_s = time.monotonic()
    try:
        problem = debian.install(PACKAGE)
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem:
        print(f"{PACKAGE} is missing, and tests in a browser will be skipped: {problem}", file=sys.stderr)
    else:
        print(f"installed {PACKAGE} in {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
