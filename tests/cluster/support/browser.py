"""Chromium, signed in to the dashboard, and what it complains about."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.tools import chromium

CHROMIUM = chromium.program()
SCREENSHOTS = os.environ.get("HEADRACE_SCREENSHOTS")
"""A folder that pictures for the pages of docs/ are written to."""
WITHIN_MS = 60_000
NARROW = {"width": 360, "height": 740}

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here; on Debian: apt-get install chromium"
)


@dataclass
class Browser:
    """A tab, and what it complained about."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    async def picture(self, name: str) -> None:
        """For the docs, where a folder for them is set."""
        if SCREENSHOTS:
            await self.page.screenshot(path=Path(SCREENSHOTS) / f"dashboard-{name}.png", full_page=True)

    async def is_as_wide_as_the_screen(self) -> bool:
        """Whether nothing has to be scrolled sideways but tables and pictures by themselves."""
        return bool(await self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@asynccontextmanager
async def a_browser(base: str, token: str) -> AsyncIterator[Browser]:
    """Somebody who has signed in through the form. No page may complain."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WITHIN_MS)
        expect.set_options(timeout=WITHIN_MS)
        tab = Browser(page, base.replace("127.0.0.1", "localhost"))
        page.on("console", lambda said: tab.complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        await page.goto(f"{tab.base}/")
        await expect(page).to_have_title("Sign in · headrace")
        await page.get_by_label("Token of the cluster").fill(token)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_title("Runs · headrace")
        yield tab
        await browser.close()
        assert tab.complaints == []
