"""The operator as a process of its own, serving one namespace, so that tests do not see each other's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.support.rights import signed_in

CRASHING = Path(__file__).parents[1] / "crashing_operator.py"
IMPATIENT = Path(__file__).parents[1] / "impatient_operator.py"


class OperatorProcess:
    """
    One operator process after another, in one namespace, with the rights of the chart and no others.

    Args:
        folder: Where its log and the journals of its writes go.
        settings: HEADRACE_* variables, without the prefix, in lower case.

    Attributes:
        program: What Python is told to start.
    """

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path, **settings: object) -> None:
        self.log = folder / f"operator-{namespace}.log"
        self.program: tuple[str, ...] = ("-m", "headrace_operator")
        self._folder = folder
        self._namespace = namespace
        self._kubeconfig = kubeconfig
        self._is_signed_in = False
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "HEADRACE_NAMESPACE": namespace,
            "HEADRACE_OPERATOR_NAMESPACE": namespace,
            "HEADRACE_IDENTITY": "operator",  # its successor need not wait for the lease
            "HEADRACE_LIVENESS_PORT": "0",
            "HEADRACE_METRICS_PORT": "0",
            "HEADRACE_LOG_LEVEL": "debug",
            **{f"HEADRACE_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def start(self) -> None:
        """Start it as people do, unless it has another `program`."""
        self._spawn(*self.program)

    def start_journaled(self, *crash: str) -> Path:
        """Start it with each write noted in the journal that is returned; `crash` as crashing_operator.py takes it."""
        journal = self._folder / f"journal-{self._namespace}-{self._starts}"
        journal.touch()
        self._spawn(str(CRASHING), str(journal), *crash)
        return journal

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Killed, then started again."""
        self.kill()
        self.start()

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether a process was started that has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of the last process; None while it runs."""
        return None if self._process is None else self._process.poll()

    def _spawn(self, *arguments: str) -> None:
        assert self._process is None or self._process.poll() is not None, "it runs already"
        self._sign_in()
        self._starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def _sign_in(self) -> None:
        """At its first start: then its namespaces exist, and the API server answers."""
        if not self._is_signed_in:
            home = self._environment["HEADRACE_OPERATOR_NAMESPACE"]
            login = signed_in(self._kubeconfig, self._folder, served=self._namespace, home=home)
            self._environment["KUBECONFIG"] = str(login)
            self._is_signed_in = True

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
