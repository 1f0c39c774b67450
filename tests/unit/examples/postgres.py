"""A PostgreSQL of the machine's own packages, in a temporary folder, for as long as a block."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

WITHIN_S = 30


def programs() -> Path | None:
    """The folder of initdb and postgres; None if they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a new server that listens on a socket in its folder, and nowhere else."""
    where = programs()
    assert where, "PostgreSQL is not installed: apt-get install postgresql"
    identity = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    data = folder / "data"
    try:
        init = [
            where / "initdb",
            "--pgdata",
            data,
            "--username=headrace",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
        ]
        subprocess.run(init, check=True, capture_output=True, cwd=folder, **identity)
        start = [where / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(start, cwd=folder, stdout=log, stderr=log, **identity)
        try:
            url = f"postgresql:///postgres?host={folder}&user=headrace"
            _wait_for(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nobody needs its data
            server.wait()
    finally:
        shutil.rmtree(folder)


def _unprivileged() -> dict[str, Any]:
    """As whom to run it, for subprocess: it refuses root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + WITHIN_S
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until_s:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.05)
        else:
            return
