"""How a process signs in."""

from __future__ import annotations

import json
from pathlib import Path

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
