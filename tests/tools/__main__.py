"""`python -m tests.tools`: builds the programs in Go that tests call, so that no test has to wait for it; says what cannot be built."""

from __future__ import annotations

import sys

from headrace.devcluster.errors import ClusterError
from tests.gotools import provide
from tests.tools import ARGOCD, FLUX, HELM, KUBECONFORM, PORTFORWARD, PROMETHEUS, PROMTOOL

TOOLS = (HELM, KUBECONFORM, PROMTOOL, PROMETHEUS, FLUX, ARGOCD, PORTFORWARD)


class Told:
    """Progress, a line a step."""

    def step(self, text: str) -> None:
        """Prints it."""
        print(text, flush=True)

    def tick(self, text: str) -> None:
        """Drops it."""


def main() -> int:
    """Always 0: tests of a program that is not there are skipped, and say why."""
    for tool in TOOLS:
        try:
            provide(tool, Told())
        except ClusterError as error:
            print(f"{error}\n  Tests that need {tool.name} are skipped.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
