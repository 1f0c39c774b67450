"""The dashboard in a real browser, on a live operator whose flows run as processes and write logs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.browser import NARROW, Browser, a_browser, needs_chromium
from tests.cluster.support.dashboard import EDIT, Dashboard, a_dashboard, a_person, may_see_the_cluster
from tests.cluster.support.world import World, with_real_pods

NODE_LABEL = "headrace.dev/test"
LINES = "\nthe first\nthe last\n"

pytestmark = needs_chromium

CODE = '''
import time
from pathlib import Path

from pydantic import BaseModel

from headrace import flow, get_run_logger, pause, task


class Approval(BaseModel):
    replicas: int
    note: str = ""


@task
def extract(day: str) -> int:
    get_run_logger().info("reading orders of %s", day)
    return 3


@task
def load(rows: int, gate: str) -> int:
    """Waits until the test opens the gate."""
    get_run_logger().warning("loading %s rows", rows)
    while gate and not Path(gate).exists():
        time.sleep(0.05)
    return rows


@flow
def main(day: str = "today", gate: str = "", until: str = "") -> int:
    return load(extract(day), gate)


@flow
def fails():
    raise KeyError("no such column: price")


@flow
def asks():
    answer = pause("deploy to production?", wait_for_input=Approval, name="deploy")
    return answer.replicas
'''


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace with an operator and a node of its own."""
    await local_node("real", labels={NODE_LABEL: namespace})
    (tmp_path / "notes").mkdir()
    pod = {
        "nodeSelector": {NODE_LABEL: namespace},
        "volumes": [{"name": "notes", "hostPath": {"path": str(tmp_path / "notes")}}],
        "containers": [{"name": "flow", "volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}],
    }
    async with with_real_pods(client, kubeconfig, namespace, tmp_path) as found:
        for function in ("main", "fails", "asks"):
            await found.create(
                "Flow",
                function,
                entrypoint=f"etl.py:{function}",
                source={"inline": {"files": {"etl.py": CODE}}},
                podTemplate={"spec": pod},
            )
        yield found


@pytest.fixture
async def dashboard(client: KubeClient, kubeconfig: Path, world: World) -> AsyncIterator[Dashboard]:
    async with a_dashboard(client, kubeconfig, world.namespace) as found:
        yield found


@pytest.fixture
async def browser(client: KubeClient, dashboard: Dashboard, world: World) -> AsyncIterator[Browser]:
    """Somebody who may see and change runs, signed in through the form. No page may complain."""
    token = await a_person(client, world.namespace, "ann", EDIT)
    await may_see_the_cluster(client, world.namespace, "ann")
    async with a_browser(dashboard.base, token) as found:
        yield found


@pytest.fixture
async def capacity(client: KubeClient, namespace: str) -> AsyncIterator[str]:
    """The name of a limit of one slot, and of a pool that nobody uses."""
    limit = {
        "apiVersion": API_VERSION,
        "kind": "ConcurrencyLimit",
        "metadata": {"name": namespace},
        "spec": {"slots": 1},
    }
    root = f"/apis/{API_VERSION}/concurrencylimits"
    await client.create(root, limit)
    yield namespace
    await client.delete(f"{root}/{namespace}")


async def test_a_run_is_followed_from_the_list_to_its_last_line(world: World, browser: Browser, tmp_path: Path) -> None:
    """It comes into the list by itself; its page shows tasks and log lines while it runs, and its end."""
    page, gate = browser.page, tmp_path / "notes" / "gate"
    await expect(page.get_by_text("There are no runs that you may see.")).to_be_visible()
    await world.a_run("etl-1", flow="main", parameters={"day": "2026-01-01", "gate": "/notes/gate"})
    await page.get_by_role("link", name="etl-1").click()
    await expect(page.locator("#log-lines")).to_contain_text("loading 3 rows")
    await expect(page.locator("#log-lines .warning")).to_have_count(1)
    await expect(page.locator("#tasks")).to_contain_text("load-0")
    await expect(page.locator("#tasks rect.succeeded")).to_have_count(1)
    await expect(page.locator("#tasks rect.running")).to_have_count(1)
    await expect(page.locator("#status .badge")).to_have_text("Running")
    await browser.picture("run")
    gate.touch()
    await expect(page.locator("#status .badge")).to_have_text("Succeeded")
    await expect(page.locator("#log-state")).to_have_text("The log has ended.")
    await expect(page.locator("#tasks rect.succeeded")).to_have_count(2)
    await expect(page.locator("#result")).to_contain_text("3")


async def test_a_failed_run_says_why_and_is_run_again(world: World, browser: Browser) -> None:
    """Its reason with its meaning, its traceback in the log; the new run is linked to it."""
    page = browser.page
    await world.a_run("sad-1", flow="fails")
    await world.run_is("sad-1", "Failed")
    await page.goto(f"{browser.base}/runs?phase=dead")
    await expect(page.get_by_role("link", name="sad-1")).to_be_visible()
    await page.get_by_role("link", name="Dead letters").click()
    await expect(page.locator("#letters").get_by_role("button", name="Run again")).to_have_count(1)
    await expect(page.locator("#why")).to_contain_text("fails")
    await page.get_by_role("link", name="sad-1").click()
    await expect(page.locator("#status")).to_contain_text("no such column: price")
    await expect(page.locator("#status")).to_contain_text("The flow raised an exception.")
    await expect(page.locator("#log-lines .error")).to_contain_text("Traceback")
    await page.get_by_role("button", name="Run again").click()
    await expect(page).to_have_url(re.compile(r"/sad-1-r[0-9a-f]{8}\?said=again"))
    await expect(page.locator("#more")).to_contain_text("sad-1")


async def test_a_question_is_answered_in_the_page(world: World, browser: Browser) -> None:
    """A form made from the flow's model; what is being typed stays while the page is kept up to date."""
    page = browser.page
    await world.a_run("release-1", flow="asks")
    await world.run_is("release-1", "Paused")
    await page.goto(f"{browser.base}/runs/{world.namespace}/release-1")
    await expect(page.locator("#question")).to_contain_text("deploy to production?")
    await page.get_by_label("replicas").fill("3")
    await world.client.patch(world.path("FlowRun", "release-1"), {"metadata": {"labels": {"changed": "meanwhile"}}})
    await expect(page.locator("#more")).to_contain_text("changed=meanwhile")
    await expect(page.get_by_label("replicas")).to_have_value("3")
    await page.get_by_role("button", name="Approve").click()
    await expect(page.locator("#notices")).to_contain_text("The answer is given")
    await expect(page.locator("#status .badge")).to_have_text("Succeeded")
    await expect(page.locator("#result")).to_contain_text("3")


async def test_a_run_is_cancelled_by_keyboard_on_a_narrow_screen_in_the_dark(world: World, browser: Browser) -> None:
    """No page is wider than 360 px; a link and a button are reached by Tab alone."""
    page = browser.page
    await page.set_viewport_size(NARROW)
    await page.emulate_media(color_scheme="dark")
    await world.a_run("etl-2", flow="main", parameters={"gate": "/notes/never"})
    link = page.get_by_role("link", name="etl-2")
    await expect(link).to_be_visible()
    assert await browser.is_as_wide_as_the_screen()
    await tab_to(page, "etl-2")
    await page.keyboard.press("Enter")
    await expect(page.locator("#log-lines")).to_contain_text("loading 3 rows")
    assert await browser.is_as_wide_as_the_screen()
    await browser.picture("narrow")
    await tab_to(page, "Cancel")
    await page.keyboard.press("Enter")
    await expect(page.locator("#notices")).to_contain_text("asked to end")
    await expect(page.locator("#status .badge")).to_have_text("Cancelled")


async def test_the_list_is_narrowed_by_filters_and_paged(world: World, browser: Browser) -> None:
    """Filters are in the address, so that they can be sent to somebody."""
    page = browser.page
    for number in range(60):
        await world.a_run(f"many-{number:02}", flow="main", suspend=True)
    await expect(page.get_by_text("1 to 50 of 60")).to_be_visible()
    assert len(await page.content()) < 64 * 1024  # what a browser spends on a page goes by these two
    assert await page.evaluate("document.getElementsByTagName('*').length") < 1500
    await browser.picture("runs")
    await page.get_by_role("link", name="Older").click()
    await expect(page.get_by_text("51 to 60 of 60")).to_be_visible()
    await page.get_by_role("link", name="Newest").click()
    await page.get_by_label("Name contains").fill("many-07")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_text("1 to 1 of 1")).to_be_visible()
    await expect(page).to_have_url(re.compile("q=many-07"))


async def test_a_deployment_is_suspended_and_started_from_its_form(world: World, browser: Browser) -> None:
    """The form has a field for each parameter of the Flow, with the Deployment's own values in them."""
    page = browser.page
    texts = {"day": {"type": "string"}, "gate": {"type": "string", "default": ""}, "until": {"type": "string"}}
    schema = {"type": "object", "properties": texts}
    await world.patch("Flow", "main", {"parameters": {"schema": schema}})
    daily = {"name": "daily", "cron": "0 7 * * *", "timeZone": "Europe/London"}
    await world.create(
        "Deployment",
        "orders",
        flowRef={"name": "main"},
        parameters={"day": "2026-02-01", "until": LINES},
        schedules=[daily],
    )
    await page.get_by_role("link", name="Deployments").click()
    await page.get_by_role("link", name="orders").click()
    await expect(page.locator("#schedules")).to_contain_text("0 7 * * *")
    await expect(page.get_by_label("day")).to_have_value("2026-02-01")
    await expect(page.get_by_label("until")).to_have_value(LINES)
    await browser.picture("deployment")
    await page.get_by_role("button", name="Suspend schedules").click()
    await expect(page.locator("#state .badge")).to_have_text("Suspended")
    await page.get_by_label("day").fill("2026-03-01")
    await page.get_by_role("button", name="Run now").click()
    await expect(page.locator("#status .badge")).to_have_text("Succeeded")
    await expect(page.locator("#parameters")).to_contain_text("2026-03-01")
    (run,) = await world.list("FlowRun")
    assert run["spec"]["parameters"] == {"day": "2026-03-01"}, "what was left alone is not sent along"


async def test_every_page_fits_a_narrow_screen_in_the_dark(
    world: World, browser: Browser, client: KubeClient, capacity: str
) -> None:
    """Filled with objects; no page is wider than 360 px, and all are reached by the navigation alone."""
    page = browser.page
    await world.create("Deployment", "orders", flowRef={"name": "main"}, schedules=[])
    await world.create("Backfill", "spring", **a_spring("orders"), suspend=True)
    await page.set_viewport_size(NARROW)
    await page.emulate_media(color_scheme="dark")
    for name, words in (
        ("Deployments", "orders"),
        ("Backfills", "spring"),
        ("Dead letters", "No run that failed is left"),
        ("Limits and pools", capacity),
        ("Automations", "There are no Automations"),
        ("Cost", "No price is known"),
    ):
        await page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()
        await expect(page).to_have_title(f"{name} · headrace")
        await expect(page.locator("main")).to_contain_text(words)
        assert await browser.is_as_wide_as_the_screen(), name


async def test_a_limit_is_seen_to_fill(world: World, browser: Browser, client: KubeClient, capacity: str) -> None:
    """Its state comes by itself; who holds it is named, and what waits is counted."""
    page = browser.page
    await page.get_by_role("link", name="Limits and pools").click()
    row = page.locator("#limits tr", has_text=capacity)
    await expect(row).to_contain_text("0 of 1")
    await world.patch("Flow", "main", {"limits": [{"name": capacity}]})
    for number in (1, 2):
        await world.a_run(f"holds-{number}", flow="main", parameters={"gate": "/notes/never"})
    await expect(row).to_contain_text("1 of 1")
    await expect(row.locator(".badge")).to_have_text("Full")
    await row.get_by_role("link", name=capacity).click()
    await expect(page.locator("#holders")).to_contain_text("holds-")
    await expect(page.locator("#state")).to_contain_text("1 waiting")
    await expect(page.locator("#plot svg.plot")).to_be_visible()
    await browser.picture("limit")


async def test_a_backfill_fills_its_calendar_and_is_suspended_and_cancelled_by_keyboard(
    world: World, browser: Browser
) -> None:
    """A cell for each day; they come to be done while somebody looks. To cancel it takes two steps."""
    page = browser.page
    schema = {"type": "object", "properties": {"day": {"type": "string"}}}
    await world.patch("Flow", "main", {"parameters": {"schema": schema}})
    await world.create("Deployment", "orders", flowRef={"name": "main"}, schedules=[])
    await world.create("Backfill", "spring", **a_spring("orders"))
    await page.get_by_role("link", name="Backfills").click()
    await page.get_by_role("link", name="spring").click()
    await expect(page.locator("#partitions rect.cell")).to_have_count(31 + 28)
    await expect(page.locator("#partitions rect.succeeded").first).to_be_visible()
    await tab_to(page, "Suspend")
    await page.keyboard.press("Enter")
    await expect(page.locator("#notices")).to_contain_text("No more of its runs")
    await expect(page.locator("#state .badge")).to_have_text("Paused")
    await browser.picture("backfill")
    await tab_to(page, "Cancel")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("This cannot be taken back.")).to_be_visible()
    await tab_to(page, "Cancel for good")
    await page.keyboard.press("Enter")
    await expect(page.locator("#notices")).to_contain_text("It ends for good")
    await expect(page.locator("#state .badge")).to_have_text("Cancelled")
    await expect(page.get_by_role("button", name="Suspend")).to_have_count(0)


def a_spring(deployment: str) -> dict[str, Any]:
    """The spec of a Backfill of two months of days."""
    days = {"from": "2026-01-01T00:00:00Z", "to": "2026-03-01T00:00:00Z", "cron": "0 0 * * *"}
    names = {"start": "day", "end": "until"}
    return {
        "deploymentRef": {"name": deployment},
        "partitions": {"range": {**days, "parameterNames": names}},
        "maxActive": 2,
    }


async def tab_to(page: Page, words: str) -> None:
    """Presses Tab until the element with these words has the focus, and shows that it has."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        text, outline = await page.evaluate(
            "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if text.strip() == words:
            assert outline != "none"
            return
    raise AssertionError(f"Tab never comes to {words!r}")
