"""Servers of result storages as child processes: each on a free port of the loopback, in a folder of its own."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import hmac
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pymysql

from tests.ports import free_port
from tests.storages import installed

START_S: Final = 40.0
PASSWORD: Final = "s3cr/t %41 pass"  # what a URL must quote, and a variable must not
NOBODY: Final = "nobody"
PACKET_BYTES: Final = 2 << 20
"""Small, so that objects of a few MB take several rows."""


class Missing(Exception):
    """The server is not installed; the text says what to do."""


@dataclass(frozen=True)
class Served:
    """A storage that a server offers: its URL, and what the environment of its clients must say."""

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def postgresql() -> Iterator[Served]:
    """With one user who must give a password."""
    with a_postgresql() as found, found.running():
        yield found.served


@dataclass(frozen=True)
class PostgreSQL:
    """The files of one server, which runs when a test wants it to."""

    program: str
    data: Path
    port: int

    @property
    def served(self) -> Served:
        """Where it is, when it runs."""
        url = f"postgresql://flows@127.0.0.1:{self.port}/postgres"
        return Served(url, {"HEADRACE_RESULTS_PASSWORD": PASSWORD, "HEADRACE_HISTORY_PASSWORD": PASSWORD})

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Until the block ends; what was committed is there when it runs again."""
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=32MB")
        options = [part for each in settings for part in ("-c", each)]
        with _child(self.program, "-D", self.data, "-p", str(self.port), *options) as process:
            where: dict[str, Any] = {
                "host": "127.0.0.1",
                "port": self.port,
                "user": "flows",
                "password": PASSWORD,
                "dbname": "postgres",
            }
            _until(process, lambda: psycopg.connect(**where, connect_timeout=2).close(), psycopg.Error)
            yield process


@contextmanager
def a_postgresql() -> Iterator[PostgreSQL]:
    """Made, and not started yet."""
    initdb, postgres = installed.postgres_program("initdb"), installed.postgres_program("postgres")
    if not initdb or not postgres:
        raise Missing("no PostgreSQL; make setup installs it on Debian as root, else install its server")
    with _folder() as folder:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        _given_away(folder)
        made = (initdb, "-D", folder / "data", "-U", "flows", "-E", "UTF8", "--locale=C", "--no-sync")
        _run(*made, "-A", "scram-sha-256", f"--pwfile={secret}")
        yield PostgreSQL(str(postgres), folder / "data", free_port())


@contextmanager
def mariadb() -> Iterator[Served]:
    """As PostgreSQL, with the packets of a careful administrator."""
    make, server = installed.mariadb_program("mariadb-install-db"), installed.mariadb_program("mariadbd")
    if not make or not server or not installed.mariadb_program("my_print_defaults"):
        raise Missing("no MariaDB; make setup installs it on Debian as root, else install its server")
    with _folder() as folder:
        start = folder / "start.sql"
        start.write_text(
            f"create database flows;\ncreate user flows@'127.0.0.1' identified by '{PASSWORD}';\n"
            "grant all on flows.* to flows@'127.0.0.1' with grant option;\ngrant create user on *.* to flows@'127.0.0.1';\n"
        )
        _given_away(folder)
        data, port = folder / "data", free_port()
        _run(make, "--no-defaults", f"--datadir={data}", "--skip-test-db", "--auth-root-authentication-method=normal")
        options = {
            "datadir": data,
            "port": port,
            "bind-address": "127.0.0.1",
            "socket": folder / "socket",
            "pid-file": folder / "pid",
            "init-file": start,
            "max-allowed-packet": PACKET_BYTES,
            "innodb-flush-log-at-trx-commit": 0,
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        with _child(server, "--no-defaults", "--skip-name-resolve", *given) as process:
            where: dict[str, Any] = {
                "host": "127.0.0.1",
                "port": port,
                "user": "flows",
                "password": PASSWORD,
                "database": "flows",
            }
            _until(process, lambda: pymysql.connect(**where).close(), pymysql.MySQLError)
            yield Served(f"mysql://flows@127.0.0.1:{port}/flows", {"HEADRACE_RESULTS_PASSWORD": PASSWORD})


@contextmanager
def s3() -> Iterator[Served]:
    """A bucket as moto serves it."""
    with _bucket("s3") as server:
        access = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}
        yield Served("s3://flows/results", {"AWS_ENDPOINT_URL": server, "AWS_ALLOW_HTTP": "true", **access, **_DIRECT})


@contextmanager
def google() -> Iterator[Served]:
    """A bucket in the words of Google Cloud Storage."""
    with _bucket("gs") as server:
        account = {"gcs_base_url": server, "disable_oauth": True, "client_email": "", "private_key": ""}
        key = json.dumps({**account, "private_key_id": ""})
        yield Served("gs://flows/results", {"GOOGLE_SERVICE_ACCOUNT_KEY": key, "GOOGLE_ALLOW_HTTP": "true", **_DIRECT})


@contextmanager
def azure() -> Iterator[Served]:
    """A container of Azurite, Microsoft's own emulator."""
    program = installed.azurite_program()
    if not program:
        raise Missing("no Azurite; make setup installs it where there are node and npm")
    with tempfile.TemporaryDirectory(prefix="headrace-azurite-") as folder:
        port = free_port()
        place = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder)
        known = {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_ACCOUNT_KEY}"}
        quiet = ("--silent", "--disableTelemetry", "--skipApiVersionCheck")
        with _child("node", program, *place, *quiet, environment=known, unprivileged=False) as process:
            endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
            _until(process, lambda: _make_container(endpoint, "flows"), OSError)
            variables = {"ACCOUNT_NAME": _ACCOUNT, "ACCOUNT_KEY": _ACCOUNT_KEY, "ENDPOINT": endpoint}
            environment = {f"AZURE_STORAGE_{name}": value for name, value in variables.items()}
            yield Served("az://flows/results", {**environment, "AZURE_ALLOW_HTTP": "true", **_DIRECT})


@contextmanager
def folder() -> Iterator[Served]:
    """A folder of this machine."""
    with tempfile.TemporaryDirectory(prefix="headrace-files-") as path:
        yield Served(f"file://{path}/results")


SERVERS: Final[Mapping[str, Callable[[], contextlib.AbstractContextManager[Served]]]] = {
    "files": folder,
    "S3": s3,
    "Azure": azure,
    "Google": google,
    "PostgreSQL": postgresql,
    "MariaDB": mariadb,
}
DATABASES: Final = ("PostgreSQL", "MariaDB")
_DIRECT: Final = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
_ACCOUNT: Final = "flows"
_ACCOUNT_KEY: Final = base64.b64encode(b"a key of the tests").decode()


@contextmanager
def _bucket(kind: str) -> Iterator[str]:
    python = installed.moto_python()
    if not python:
        raise Missing("no moto; make setup installs it")
    port = free_port()
    with _child(python, Path(__file__).with_name("bucket_server.py"), kind, str(port), unprivileged=False) as process:
        server = f"http://127.0.0.1:{port}"
        _until(process, lambda: _asked(f"{server}/flows", method="PUT"), OSError)
        yield server


def _make_container(endpoint: str, name: str) -> None:
    """Signed by hand: no client of the tests makes containers."""
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    lines = "\n".join(f"{key}:{value}" for key, value in headers.items())
    text = "PUT" + "\n" * 12 + f"{lines}\n/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
    mark = hmac.new(base64.b64decode(_ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(mark).decode()}"
    with contextlib.suppress(urllib.error.HTTPError):  # there already
        _asked(f"{endpoint}/{name}?restype=container", method="PUT", headers=headers)


def _asked(url: str, *, method: str, headers: Mapping[str, str] | None = None) -> None:
    request = urllib.request.Request(url, method=method, headers=dict(headers or {}))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=5):
        pass


@contextmanager
def _folder() -> Iterator[Path]:
    """Not below pytest's, which the servers' user may not enter."""
    path = Path(tempfile.mkdtemp(prefix="headrace-server-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _given_away(folder: Path) -> None:
    """Databases refuse to run as root."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(NOBODY)
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(NOBODY)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **_as_nobody())
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")


@contextmanager
def _child(
    *command: str | Path, environment: Mapping[str, str] | None = None, unprivileged: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        user = _as_nobody() if unprivileged else {}
        variables = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", env=variables, **user)
        try:
            yield process
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-4000:].decode(errors="replace"))
            raise
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(process: subprocess.Popen[bytes], answers: Callable[[], object], refused: type[Exception]) -> None:
    until_s = time.monotonic() + START_S
    while True:
        try:
            answers()
        except refused:
            if time.monotonic() > until_s or process.poll() is not None:
                raise
            time.sleep(0.1)
        else:
            return


__all__: Sequence[str] = ("DATABASES", "PASSWORD", "SERVERS", "Missing", "PostgreSQL", "Served", "a_postgresql")
