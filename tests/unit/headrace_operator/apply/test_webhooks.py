"""Webhooks out: where none may go, what is told of one that cannot be sent, and what is left of an Automation that is gone."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from headrace.api.automation import Firing, FiringState
from headrace_operator.apply.outbound import HostRefused
from headrace_operator.apply.webhooks import Delivery, Webhooks, posted
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.resources import SECRETS
from tests.builders import NAMESPACE, NOW
from tests.fake_cluster import FakeCluster

AUTOMATION = ObjectKey(NAMESPACE, "auto")
NEAR = [
    "http://127.0.0.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://0.0.0.0/",
    "http://user@127.0.0.1/",
    "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "http://\uff11\uff16\uff19.\uff12\uff15\uff14.\uff11\uff16\uff19.\uff12\uff15\uff14/",
    "http://127\u30020\u30020\u30021/",
]
NO_URLS = [
    "http://[bad/",
    f"http://{'a' * 70}/",
    "http://a..b/",
    "http://host:99999/",
    "http:///path",
    "ftp://host/",
    "x",
]


@pytest.mark.parametrize("url", NEAR)
async def test_nothing_goes_to_the_operators_own_machine(url):
    """However its address is written: the client understands digits of every script."""
    with pytest.raises(HostRefused):
        await posted(url, b"", {}, frozenset())


@pytest.mark.parametrize("url", NO_URLS)
async def test_a_url_that_is_none_ends_the_webhook(url):
    """It keeps nothing else waiting, and what is told of it does not show it, as it may be a secret."""
    webhooks = a_sender(url)
    problem = await ended(webhooks, a_delivery({"urlFrom": {"name": "chat", "key": "url"}}))
    assert problem is not None
    assert problem.startswith("the URL cannot be used")
    assert url == "x" or url not in problem


async def test_nothing_is_sent_for_an_automation_that_is_gone():
    """What is kept of it goes too."""
    webhooks = a_sender("http://host/")
    first = a_delivery({"urlFrom": {"name": "other", "key": "url"}})
    assert webhooks.under_way(first)
    webhooks.forget_all(ObjectKey(NAMESPACE, "aut"))
    assert webhooks._tasks
    (task,) = webhooks._tasks.values()
    webhooks.forget_all(AUTOMATION)
    assert not webhooks._tasks
    await asyncio.wait([task])
    assert task.cancelled()


def a_sender(url: str) -> Webhooks:
    cluster = FakeCluster()
    data = {"url": base64.b64encode(url.encode()).decode()}
    cluster.put(SECRETS, {"metadata": {"name": "chat", "namespace": NAMESPACE}, "data": data})
    return Webhooks(cluster, lambda: NOW, frozenset(), lambda _key: None)


def a_delivery(hook: dict[str, Any]) -> Delivery:
    firing = Firing(id="f", group="g", at=NOW, state=FiringState.OPEN)
    return Delivery(AUTOMATION, firing, "tell", {"body": "Slack", **hook})


async def ended(webhooks: Webhooks, delivery: Delivery) -> str | None:
    assert webhooks.under_way(delivery)
    await asyncio.wait(webhooks._tasks.values())
    return webhooks.problem(delivery)
