"""
Installs the servers that the tests of result storages run against: `python -m tests.storages.installed`.

PostgreSQL and MariaDB come from Debian, where this runs as root; their packages are those of the programs alone, or
start no service. The server for S3 gets an environment of its own, as its libraries collide with ours; the one for Azure
comes from npm. What cannot be installed is told, and its tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.tools import debian
from tests.tools.debian import PATIENCE_S

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".venv" / "storages"
MOTO: Final = FOLDER / "moto"
AZURITE: Final = FOLDER / "azurite"
MOTO_PACKAGES: Final = ("moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
AZURITE_PACKAGE: Final = "azurite@3.35.0"

POSTGRESQL_PACKAGE: Final = "postgresql"
MARIADB_PACKAGE: Final = "mariadb-server-core"
MARIADB_TOOLS_PACKAGE: Final = "mariadb-client-core"
"""Has `my_print_defaults`, which `mariadb-install-db` calls; in other versions the server's package has it."""
NO_CLUSTER: Final = "create_main_cluster = false\n"


def postgres_program(name: str) -> Path | None:
    """A program of PostgreSQL, which Debian keeps out of PATH; the newest there is."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name))
    found = [folder / name for folder in folders if (folder / name).exists()]
    if found:
        return found[-1]
    elsewhere = shutil.which(name)
    return Path(elsewhere) if elsewhere else None


def mariadb_program(name: str) -> Path | None:
    """A program of MariaDB."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None


def moto_python() -> Path | None:
    """The interpreter that has the server for S3."""
    python = MOTO / "bin" / "python"
    return python if python.exists() and (MOTO / "complete").exists() else None


def azurite_program() -> Path | None:
    """The program of the server for Azure Blob."""
    program = AZURITE / "node_modules/azurite/dist/src/blob/main.js"
    return program if program.exists() and shutil.which("node") else None


def install() -> int:
    """Installs what is missing. Returns the exit code: 0, whatever is missing still, as the tests tell it."""
    packages = [
        package
        for package, is_there in (
            (POSTGRESQL_PACKAGE, postgres_program("initdb")),
            (MARIADB_PACKAGE, mariadb_program("mariadbd")),
            (MARIADB_TOOLS_PACKAGE, mariadb_program("my_print_defaults")),
        )
        if not is_there
    ]
    work: list[tuple[str, Callable[[], str]]] = []
    if packages:
        work.append((" and ".join(packages), lambda: _debian(packages)))
    if not moto_python():
        work.append(("a server for S3", _moto))
    if not azurite_program():
        work.append(("a server for Azure Blob", _azurite))
    with ThreadPoolExecutor() as threads:  # each waits for another network
        list(threads.map(lambda each: _told(*each), work))
    return 0


def _told(what: str, work: Callable[[], str]) -> None:
    began_s = time.monotonic()
    try:
        problem = work()
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem:
        print(f"storages: {what} is missing, and its tests will be skipped: {problem}", file=sys.stderr)
    else:
        print(f"storages: installed {what} in {time.monotonic() - began_s:.0f} s")


def _debian(packages: list[str]) -> str:
    config = Path("/etc/postgresql-common/createcluster.conf")
    if POSTGRESQL_PACKAGE in packages and debian.can_install() and not config.exists():
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(NO_CLUSTER)  # else the package makes a cluster, and starts a service for it
    return debian.install(*packages)


def _moto() -> str:
    shutil.rmtree(MOTO, ignore_errors=True)
    subprocess.run((sys.executable, "-m", "venv", MOTO), check=True)
    subprocess.run((MOTO / "bin" / "pip", "install", "--quiet", *MOTO_PACKAGES), check=True, timeout=PATIENCE_S)
    (MOTO / "complete").touch()
    return ""


def _azurite() -> str:
    if not shutil.which("npm") or not shutil.which("node"):
        return "it takes node and npm"
    shutil.rmtree(AZURITE, ignore_errors=True)
    AZURITE.mkdir(parents=True)
    (AZURITE / "package.json").write_text('{"private": true}')
    quiet = ("--no-audit", "--no-fund", "--omit=optional", "--ignore-scripts", "--loglevel=error")
    subprocess.run(
        ("npm", "install", "--prefix", AZURITE, *quiet, AZURITE_PACKAGE),
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE_S,
    )
    return ""


if __name__ == "__main__":
    sys.exit(install())
