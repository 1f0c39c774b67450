"""
Real servers for the tests of this folder, each started once: PostgreSQL, MariaDB, and the emulators of object stores.

What a test asks for: `served` (the server, its variables set), `storage` (one on a folder of its own).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from headrace.results import Storage, open_storage
from headrace.results.database import database
from headrace.results.places import joined
from tests.storages.servers import DATABASES, SERVERS, Missing, Served


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test runs on every server, those of databases on the databases."""
    if "server" in metafunc.fixturenames:
        names = DATABASES if metafunc.definition.get_closest_marker("databases") else SERVERS
        metafunc.parametrize("server", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Each of the servers, one after the other."""
    running = SERVERS[request.param]()
    try:
        found = running.__enter__()
    except Missing as error:
        pytest.skip(str(error))
    yield found
    running.__exit__(None, None, None)


@pytest.fixture
def served(server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The server, to which this process and its children may talk."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    yield server
    if server.url.startswith(("postgresql:", "mysql:")):
        database(server.url).close()


@pytest.fixture
def url(served: Served) -> str:
    """Of a folder that nothing is in."""
    return joined(served.url, uuid.uuid4().hex)


@pytest.fixture
def storage(url: str) -> Storage:
    """On a folder that nothing is in."""
    return open_storage(url)
