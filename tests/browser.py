"""A real Chromium for tests: a page is opened, clicked and looked at. Skips with a reason where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, file: Path, **how: Any) -> Iterator[Any]:
    """A page of a file; fails where the page reports an error, or asks for anything from outside."""
    page = browser.new_page(**how)
    faults: list[str] = []
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("request", lambda r: faults.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    page.set_default_timeout(5000)
    page.goto(file.as_uri())
    drawn(page)
    yield page
    page.close()
    assert faults == []


def drawn(page: Any) -> None:
    """Waits until the viewer has drawn, and takes the part for readers without scripts away, which has the same words."""
    page.wait_for_selector("#viewer article, #viewer .body > p")
    page.evaluate("document.getElementById('static').remove()")
