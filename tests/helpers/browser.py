"""Debian's Chromium under Playwright, and axe-core in its pages."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("AXE_CORE")  # axe.min.js of the npm package axe-core
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


def axe_faults(page: Any) -> list[tuple[str, str]]:
    """Return each rule that the page breaks, with the first element that does."""
    page.evaluate(Path(AXE or "").read_text(encoding="utf-8"))
    faults = page.evaluate("axe.run().then(found => found.violations)")
    return [(fault["id"], fault["nodes"][0]["html"]) for fault in faults]
