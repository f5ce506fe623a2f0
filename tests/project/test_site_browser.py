"""The built documentation in Chromium: every page, on a desk and on a phone."""

import os
from pathlib import Path

import pytest

from tests.helpers.browser import AXE, CHROMIUM, axe_faults, chromium

SITE = os.environ.get("SITE")  # the folder that `make docs` wrote
PAGES = sorted(Path(SITE).resolve().rglob("index.html")) if SITE else []
pytest.importorskip("playwright", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(AXE is None, reason="AXE_CORE does not name axe-core's axe.min.js"),
    pytest.mark.skipif(not PAGES, reason="SITE does not name the folder of a built site"),
]


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desk", "phone"])
def screen(browser, request):
    width, scheme = request.param
    size = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.name)
def test_a_page_fits_its_screen_and_axe_finds_nothing(screen, path: Path) -> None:
    screen.goto(path.as_uri())
    width = screen.viewport_size["width"]
    assert screen.evaluate("document.documentElement.scrollWidth") <= width
    assert axe_faults(screen) == []
    split = ".doc blockquote blockquote"  # a doctest that was read as quotations
    assert screen.locator(split).count() == 0
