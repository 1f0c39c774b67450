"""The history in a real browser: a run that has left the cluster is found, and its page says all that is kept of it."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import expect

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.browser import NARROW, a_browser, needs_chromium
from tests.cluster.support.dashboard import VIEW, a_dashboard, a_history, a_person

pytestmark = needs_chromium


async def test_a_run_that_has_left_the_cluster_is_found_by_filters_and_read(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    """From the list of runs on; no page is wider than 360 px, in the dark too."""
    history = a_history(tmp_path / "history.db", {namespace: "wombat"})
    async with a_dashboard(client, kubeconfig, namespace, history_url=history) as dashboard:
        token = await a_person(client, namespace, "ann", VIEW)
        async with a_browser(dashboard.base, token) as browser:
            page = browser.page
            await page.get_by_role("link", name="the history").click()
            await expect(page).to_have_title("History · headrace")
            await page.get_by_label("Name contains").fill("nobody")
            await page.get_by_role("button", name="Show").click()
            await expect(page.get_by_text("No run that has ended matches these filters.")).to_be_visible()
            await page.get_by_role("link", name="Clear").click()
            await page.set_viewport_size(NARROW)
            await page.emulate_media(color_scheme="dark")
            assert await browser.is_as_wide_as_the_screen()
            await page.get_by_role("link", name="wombat-gone").click()
            await expect(page).to_have_url(re.compile(f"/history/{namespace}/wombat-gone"))
            await expect(page.locator("#log")).to_contain_text("wombat said so")
            await expect(page.locator("#status .badge")).to_have_text("Succeeded")
            await expect(page.locator("#more")).to_contain_text("ada changed priority")
            assert await browser.is_as_wide_as_the_screen()
            await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Cost", exact=True).click()
            await page.get_by_role("link", name="All that are there").click()
            await expect(page.locator("#totals")).to_contain_text("1.0000 USD")
            assert await browser.is_as_wide_as_the_screen()
