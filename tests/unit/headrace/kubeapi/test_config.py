"""How a process signs in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from kubernetes import config
from kubernetes.client import Configuration

from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection, load_connection
from headrace.kubeapi.errors import Unreachable


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    """Of a kubeconfig whose token is in a file, with a line end as editors write it."""
    (tmp_path / "token").write_text("s3cret\n")
    text = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"tokenFile": str(tmp_path / "token")}}],
    }
    (tmp_path / "config").write_text(json.dumps(text))
    return load_connection(str(tmp_path / "config"))


def test_the_line_end_of_a_token_file_is_no_part_of_the_token(connection: Connection) -> None:
    """It would end the header."""
    assert connection.authorization() == "Bearer s3cret"
    assert connection.namespace == "team-a"


async def test_a_token_that_cannot_be_read_at_the_moment_is_a_fault_that_passes(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is replaced every hour, and an operator must outlive that; another fault would end the process."""

    def empty(_: Configuration) -> None:
        raise config.ConfigException("Token file exists but empty.")

    monkeypatch.setattr(Configuration, "auth_settings", empty)
    async with KubeClient(connection) as client:
        with pytest.raises(Unreachable, match="no token to sign in with"):
            await client.get("/version")
        with pytest.raises(Unreachable, match="no token to sign in with"):
            await client.text("/version")


def test_credentials_are_asked_for_once_a_second(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with each request; and a token that was replaced is used a second later."""
    times_s = iter((0.0, 0.5, 0.99, 1.0, 1.5))
    asked = 0

    def auth_settings(_: Configuration) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"BearerToken": {"value": f"Bearer {asked}"}}

    monkeypatch.setattr(Configuration, "auth_settings", auth_settings)
    monkeypatch.setattr(time, "monotonic", lambda: next(times_s))
    assert [connection.authorization() for _ in range(5)] == [
        "Bearer 1",
        "Bearer 1",
        "Bearer 1",
        "Bearer 2",
        "Bearer 2",
    ]
