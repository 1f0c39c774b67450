"""What a process of the operator hands to kopf."""

from __future__ import annotations

import asyncio
import getpass
from typing import Any, Never

import kopf
import pytest

import headrace_operator.__main__ as process
from headrace.kubeapi.config import Connection
from headrace_operator.settings import Settings

NOWHERE = Connection("http://127.0.0.1:1", "default", ssl=False, authorization=lambda: None)


async def test_an_image_need_not_know_the_name_of_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an identity given, kopf does not look for the user's name, which a container's number need not have."""
    spawn_tasks, begun = kopf.spawn_tasks, asyncio.Event()

    def nameless() -> Never:
        msg = "getpwuid(): uid not found: 65532"
        raise KeyError(msg)

    async def work(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def login(
        **_: object,
    ) -> kopf.ConnectionInfo:  # a refused one is tried again in 60 s, a stop meanwhile or not
        return kopf.ConnectionInfo(server=NOWHERE.server)

    async def operator(**given: Any) -> None:
        not_of_kopf = asyncio.all_tasks()
        tasks = await spawn_tasks(**given)
        await begun.wait()
        given["stop_flag"].set()
        await kopf.run_tasks(tasks, ignored=not_of_kopf)

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr(kopf, "login_via_client", login)
    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(process, "load_connection", lambda: NOWHERE)
    monkeypatch.setattr(process, "work", work)

    assert await process.serve(Settings(metrics_port=0, liveness_port=0), None) == 0
