"""The incident, end to end: a flood of one alert, one diagnosis as a real process, its report posted and read in a browser."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import expect

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.browser import a_browser, needs_chromium
from tests.cluster.support.dashboard import VIEW, a_dashboard, a_person
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, with_real_pods
from tests.cluster.test_automations import Desk, alert, answers, rights_to_secrets
from tests.ports import free_port

EXAMPLE = Path(__file__).parents[2] / "examples/incident/incident.yaml"
FLOOD = 500
AT_ONCE = 20
SLOW_S = 120
TOKEN = {"Authorization": "Bearer change-me"}

pytestmark = needs_chromium


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    async with made.open():
        yield made


async def test_500_alerts_start_one_diagnosis_whose_report_is_posted_and_read(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any, kubectl: Any, desk: Desk
) -> None:
    """The example as it is applied, but for where it tells: one run, one post with its report, which its page shows."""
    await local_node(capacity={"cpu": "4"})
    await rights_to_secrets(client, namespace)
    port = free_port()
    settings = {"inbound_port": port, "automation_hosts": "127.0.0.1", "status_delay_s": 0.1}
    async with (
        with_real_pods(client, kubeconfig, namespace, tmp_path, **settings) as world,
        a_dashboard(client, kubeconfig, namespace) as dashboard,
    ):
        kubectl("apply", "-n", namespace, "-f", str(EXAMPLE))
        await told_to(client, namespace, desk)
        await eventually(lambda: answers(port), within_s=SLOW_S, what="requests are taken")
        assert await flood(f"http://127.0.0.1:{port}/hooks/{namespace}/incident") == {202: FLOOD}
        run = await the_only_run(world)
        await eventually(lambda: desk.taken, within_s=SLOW_S, what="the report is posted")
        token = await a_person(client, namespace, "ann", VIEW)
        async with a_browser(dashboard.base, token) as browser:
            page = browser.page
            await page.get_by_role("link", name="Automations").click()
            await page.get_by_role("link", name="incident").click()
            await expect(page.locator("#firings tbody tr")).to_have_count(1)
            await expect(page.locator("#state")).to_contain_text("1 acted on")
            await browser.picture("automation")
            await page.locator("#runs").get_by_role("link", name=run).click()
            await expect(page.locator("#artifacts")).to_contain_text("What is wrong with shop")
            await page.locator("#artifacts").get_by_role("link", name="Read").click()
            await expect(page.get_by_role("heading", name="Down")).to_be_visible()
            await expect(page.locator("#content li")).to_have_text(
                ["service: shop", "pods: 2 of 3 ready", "since: the last deployment"]
            )
    assert [each["metadata"]["name"] for each in await world.list("FlowRun")] == [run]
    ((_, body),) = desk.taken
    (artifact,) = json.loads(body)["event"]["run"]["artifacts"]
    assert (artifact["name"], artifact["description"]) == ("report", "What is wrong with shop")


async def told_to(client: KubeClient, namespace: str, desk: Desk) -> None:
    """Lets the Automation that tells of reports post to the desk."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/automations"
    await client.patch(f"{path}/tell", {"spec": {"actions": [{"name": "post", "webhook": {"url": desk.url}}]}})

    async def are_ready() -> bool:
        found = await client.list(path)
        return all(
            (each.get("status") or {}).get("observedGeneration") == each["metadata"]["generation"] for each in found
        )

    await eventually(are_ready, within_s=SLOW_S, what="the Automations are looked at")


async def flood(url: str) -> Counter[int]:
    """The same alert, as Alertmanager sends it, in many requests; how often each status was answered."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(headers=TOKEN) as session:

        async def one() -> int:
            async with turns:
                while True:
                    async with session.post(url, json=alert()) as answer:
                        if answer.status not in {429, 503}:
                            return answer.status
                    await asyncio.sleep(0.2)

        return Counter(await asyncio.gather(*(one() for _ in range(FLOOD))))


async def the_only_run(world: World) -> str:
    """Its name, once it has succeeded."""

    async def look() -> str | None:
        runs = await world.list("FlowRun")
        return str(runs[0]["metadata"]["name"]) if runs else None

    name = await eventually(look, within_s=SLOW_S, what="a run is started")
    await world.run_is(name, "Succeeded", within_s=SLOW_S)
    return name
