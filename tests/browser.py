"""A real browser for tests: Debian's Chromium, driven by Playwright; what needs it is skipped where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")


@contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra [dev]")
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield running
        finally:
            running.close()


class Tab:
    """One page in a window of its own, and what it said on the console that it should not have."""

    def __init__(self, running: Any, **how: Any):
        self.context = running.new_context(**how)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda m: self.faults.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        self.page.on("request", self._requested)
        self.page.set_default_timeout(60_000)  # how long to wait before the test fails, not how fast the page must be

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1", "http://localhost")):
            self.faults.append(f"a request to {request.url}")

    def open(self, document: str, folder: Path) -> Any:
        """The page that shows a document, read from a file as a person would."""
        path = folder / "page.html"
        path.write_bytes(document.encode("utf-8"))
        self.page.goto(path.as_uri())
        return self.page
