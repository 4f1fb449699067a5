"""The system's Chromium, driven by Playwright: what a test needs that asks what a user sees."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
DEADLINE = 60.0  # seconds for whatever a page is waited for
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # Chromium refuses to run as root with one
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers of a CI have little of it
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    # Fonts, statistics and what else a page asks of the world: refused at once, on any machine alike.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost , EXCLUDE *.localhost",
)


def chromium() -> str:
    """The path of Chromium. Skips the test where the machine has none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    return found


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless browser. While it is open, its thread has a running event loop: no `asyncio.run` there."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def open_page(browser: Browser) -> Iterator[Page]:
    """A page with nothing in its cookie jar, every wait bounded; what it reported is printed for a failed test."""
    with browser.new_context() as context:
        context.set_default_timeout(DEADLINE * 1000)
        page = context.new_page()
        page.on("console", lambda message: print(f"console, {message.type}: {message.text}"))
        page.on("pageerror", lambda error: print(f"uncaught in the page: {error}"))
        page.on("requestfailed", lambda request: print(f"failed: {request.method} {request.url}"))
        yield page
