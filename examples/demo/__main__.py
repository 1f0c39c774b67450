"""
`make demo`: a real flow on a real Kubernetes API, from nothing to its rows in a database.

It starts a cluster of its own in a temporary folder, on free ports, and takes everything away at the end. `--keep`
(`make demo KEEP=1`) leaves it running and tells how to use and how to stop it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from examples.demo.following import GaveUp, follow
from examples.demo.screen import Screen
from headrace.devcluster import cluster, plane
from headrace.devcluster.binaries import Binaries, provide_binaries
from headrace.devcluster.errors import ClusterError, tail
from headrace.devcluster.processes import Processes
from headrace.kubeapi.errors import KubeError

ROOT = Path(__file__).parents[2]
ETL = Path("examples/etl")
RUN = "etl-1"
STUB_WITHIN_S = 20.0
LOG_LINES = 15


class CommandFailed(Exception):
    """A command ended with an error; its output is on the screen."""


class Demo:
    """One demo in its folder."""

    def __init__(self, folder: Path, binaries: Binaries, screen: Screen) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.database = folder / "data" / "orders.db"
        self.processes = Processes(folder)
        self._kubectl_path = binaries.kubectl
        self._screen = screen

    def play(self) -> bool:
        """Whether the run succeeded. Raises: ClusterError, KubeError, CommandFailed, GaveUp."""
        self._start()
        self._screen.heading("A flow that loads a shop's orders, every day at 07:00 in London")
        self._kubectl("apply", "-f", str(self._manifest()))
        self._screen.heading("Start it now. The shop's API refuses the first two requests")
        self._kubectl("apply", "-f", str(ETL / "run.yaml"))
        status = asyncio.run(follow(self.kubeconfig, RUN, self._screen, self._operator_lives))
        self._screen.heading("What the cluster knows about it")
        self._kubectl("get", "fl,fdep,fr")
        succeeded: bool = status["phase"] == "Succeeded"
        if not succeeded:
            self._screen.line(f"\nThe run is {status['phase']}: {status['message']}", "red")
            return False
        self._show_rows()
        return True

    def show_trouble(self) -> None:
        """The end of the operator's log, and what to do."""
        log = self.processes.log("operator")
        if log.exists():
            self._screen.line(f"\nThe end of the operator's log, {log}:\n{tail(log, LOG_LINES)}")
        self._screen.line("\nmake demo KEEP=1 keeps the cluster and its logs, so that you can look into it.")

    def show_use(self) -> None:
        """How to use and to stop a demo that is kept."""
        exports = [f"export KUBECONFIG={self.kubeconfig}"]
        if shutil.which("kubectl") is None:
            exports.append(f"export PATH=$PATH:{self._kubectl_path.parent}")
        tries = {
            "kubectl get headrace": "everything of headrace",
            f"kubectl describe fr {RUN}": "attempts, conditions, Events",
            f"kubectl logs {RUN}-1": "the log of its pod",
            f"sed s/{RUN}/etl-2/ {ETL}/run.yaml | kubectl apply -f -": "one more run",
            "kubectl apply -f examples/concurrency/concurrency.yaml": "and then: kubectl get fr -w",
        }
        stop = shlex.join([_typed("headrace"), "dev", "down", "--purge", "--directory", str(self.folder)])
        self._lines("It stays up. What to try next:", [*exports, *_aligned(tries)])
        self._lines("Stop it:", [stop])

    def show_next(self) -> None:
        """What to try after a demo that is gone."""
        tries = {
            "make demo KEEP=1": "the same, and it stays up",
            f"{_typed('python')} examples/hello/hello.py": "a flow on this machine, without a cluster",
            f'{_typed("headrace")} render {ETL}/etl.py:main --cron "0 7 * * *"': "from Python to manifests",
            "less examples/README.md": "more flows",
        }
        self._lines("What to try next:", _aligned(tries))

    def _start(self) -> None:
        self._screen.heading("A Kubernetes API server and a node, on this machine")
        wishes = cluster.Wishes(docker=False)
        cluster.up(self.folder, wishes, os.environ, self._screen)
        self._screen.still()
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "HEADRACE_LIVENESS_PORT": "0",
            "HEADRACE_METRICS_PORT": "0",
            "HEADRACE_STATUS_DELAY_S": "0.1",  # somebody watches the Deployment's counts
        }
        self.processes.start("operator", [sys.executable, "-m", "headrace_operator"], environment)
        self._screen.step("the operator runs: python -m headrace_operator")

    def _manifest(self) -> Path:
        """The example's manifest, with the address of the shop and the folder of the database of this demo."""
        text = (ROOT / ETL / "etl.yaml").read_text()
        values = {"api: http://127.0.0.1:8765": f"api: {self._shop()}", "/var/tmp/headrace-etl": self.database.parent}  # noqa: S108 - what the manifest names
        for here, there in values.items():
            text = text.replace(here, str(there))
        self.database.parent.mkdir()
        manifest = self.folder / "etl.yaml"
        manifest.write_text(text)
        self._screen.step(f"{ETL}/etl.yaml, with a port and a folder of this demo: {manifest}")
        return manifest

    def _shop(self) -> str:
        """The address of the shop's API."""
        self.processes.start("shop", [sys.executable, str(ROOT / ETL / "stub_api.py"), "--port", "0"])
        log, deadline = self.processes.log("shop"), time.monotonic() + STUB_WITHIN_S
        while not (lines := log.read_text().splitlines()):
            if time.monotonic() > deadline or "shop" not in self.processes.alive():
                raise GaveUp(f"the shop's API did not start; see {log}")
            time.sleep(0.05)
        return lines[0]

    def _kubectl(self, *words: str) -> None:
        self._screen.command(["kubectl", *words])
        command = [str(self._kubectl_path), *words]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)  # noqa: S603 - the demo's own
        self._screen.line((done.stdout + done.stderr).rstrip())
        if done.returncode:
            raise CommandFailed(f"kubectl {words[0]} ended with status {done.returncode}")

    def _operator_lives(self) -> bool:
        return "operator" in self.processes.alive()

    def _show_rows(self) -> None:
        self._screen.heading(f"The rows in {self.database}")
        with closing(sqlite3.connect(self.database)) as database:
            rows = database.execute("SELECT id, day, customer, cents / 100.0 FROM orders ORDER BY id").fetchall()
        self._screen.line(f"  {'id':<12}{'day':<12}{'customer':<10}{'amount':>8}", "dim")
        for number, day, customer, amount in rows:
            self._screen.line(f"  {number:<12}{day:<12}{customer:<10}{amount:>8.2f}")

    def _lines(self, heading: str, lines: list[str]) -> None:
        self._screen.heading(heading)
        for line in lines:
            self._screen.line(f"  {line}")


def main() -> int:
    """The exit status: 0 if the run succeeded, 1 if not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="A real flow, start to end.")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    keep = parser.parse_args().keep
    screen = Screen()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        binaries = provide_binaries(os.environ, screen)
    except ClusterError as error:
        screen.still()
        screen.line(str(error), "red")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="headrace-demo-"))
    return _present(Demo(folder, binaries, screen), screen, keep=keep)


def _present(demo: Demo, screen: Screen, *, keep: bool) -> int:
    guard = None if keep else plane.tie(demo.folder)
    kept, succeeded = keep, False
    try:
        succeeded = _played(demo, screen)
        if not succeeded:
            demo.show_trouble()
        if keep:
            demo.show_use()
        elif succeeded:
            demo.show_next()
    except KeyboardInterrupt:
        kept = False
        screen.still()
        screen.line("\nInterrupted.", "yellow")
        return 130
    finally:
        if not kept:
            _stop(demo, screen)
        if guard:
            guard.communicate()
    outcome = "The flow ran to its end" if succeeded else "The demo failed"
    screen.line(f"\n{outcome}; all of it took {screen.seconds:.1f} s.", "bold")
    return 0 if succeeded else 1


def _played(demo: Demo, screen: Screen) -> bool:
    try:
        return demo.play()
    except (ClusterError, KubeError, CommandFailed, GaveUp) as error:
        screen.still()
        screen.line(f"\n{error}", "red")
        return False


def _stop(demo: Demo, screen: Screen) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
    ended = cluster.down(demo.folder, os.environ, purge=True)
    shutil.rmtree(demo.folder, ignore_errors=True)
    screen.line(f"\nStopped: {', '.join(ended)}", "dim")


def _aligned(commands: Mapping[str, str]) -> list[str]:
    """Each command with what it does."""
    width = max(map(len, commands))
    return [f"{command:<{width}}  # {meaning}" for command, meaning in commands.items()]


def _typed(program: str) -> str:
    """A program as a person types it: its path, unless the virtual environment is active."""
    here = Path(sys.executable).with_name(program)
    found = shutil.which(program)
    return program if found and Path(found) == here else os.path.relpath(here, ROOT)


if __name__ == "__main__":
    sys.exit(main())
