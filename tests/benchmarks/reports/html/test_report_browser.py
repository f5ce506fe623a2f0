"""The report as a reader has it, in Chromium."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.helpers.browser import AXE, CHROMIUM, axe_faults, chromium

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(make_report) -> Path:
    return make_report()


@pytest.fixture
def visit(browser):
    """A function that opens a file; whatever a page asks of the network or complains fails."""
    heard, contexts = [], []

    def visit(path: Path, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on(
            "request", lambda request: _foreign(request.url, path) and heard.append(request.url)
        )
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert heard == []


def _foreign(url: str, path: Path) -> list[str]:
    own = url.startswith("data:") or url.partition("#")[0] == path.as_uri()
    return [] if own else [url]


@pytest.fixture
def page(visit, report):
    return visit(report)


def wait_until(page, condition: str, seconds: float = 5.0) -> None:
    """Ask from here until it holds: the page's own policy forbids the waiting of Playwright."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{condition} did not become true within {seconds:g} s"
        page.wait_for_timeout(20)


def column(page, table: str, index: int) -> list[str]:
    rows = page.locator(f"table[aria-labelledby={table}] tbody tr")
    return [row.locator("th, td").nth(index).inner_text() for row in rows.all()]


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts if text != "–"]


def drawn(page) -> list[str]:
    return page.locator("#stage .block h4:visible").all_inner_texts()


def test_a_heading_sorts_its_table_one_way_and_the_other(page) -> None:
    head = page.locator("table[aria-labelledby=table-1] thead th").nth(1)
    before = column(page, "table-1", 1)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers(column(page, "table-1", 1)) == sorted(numbers(before))
    assert "ascending" in page.get_by_role("status").inner_text()
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert numbers(column(page, "table-1", 1)) == sorted(numbers(before), reverse=True)


def test_only_the_column_that_sorts_says_so_and_names_sort_as_text(page) -> None:
    heads = page.locator("table[aria-labelledby=table-1] thead th")
    heads.nth(2).get_by_role("button").click()
    heads.nth(0).get_by_role("button").click()
    assert [head.get_attribute("aria-sort") for head in heads.all()].count("ascending") == 1
    assert column(page, "table-1", 0) == ["2p-planar", "always-empty", "csae", "punet"]


def test_a_missing_value_sorts_last_both_ways(visit, make_report) -> None:
    page = visit(make_report(rows=("punet", "csae", "annotators")))
    page.evaluate(
        """() => { const field = document.querySelector("#table-1 ~ .scroll tbody td");
        field.textContent = "–"; delete field.dataset.sort; }"""
    )
    button = page.locator("table[aria-labelledby=table-1] thead button").nth(1)
    for _ in range(2):
        button.click()
        assert column(page, "table-1", 1)[-1] == "–"


def test_the_answer_comes_first_then_pictures_then_tables(page) -> None:
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    assert headings[:3] == ["The answer", "Samples", "Tables"]
    assert "not tested" in page.locator(".claim").first.inner_text()


def test_an_image_and_its_answers_are_shown_side_by_side(page) -> None:
    assert drawn(page) == ["annotators", "punet", "2p-planar", "csae"]
    blocks = page.locator("#stage .block:visible")
    assert blocks.nth(0).locator("figure").count() == 2 + 1 + 4  # maps, the image, annotators
    assert blocks.nth(1).locator("figure").count() == 2 + 8
    sync_api.expect(blocks.locator("img").last).to_have_js_property("naturalWidth", 16)
    behind = "getComputedStyle(document.querySelector('.over')).backgroundImage"
    assert page.evaluate(behind).startswith('url("data:image/webp')


def test_an_image_of_another_data_set_can_be_chosen(page) -> None:
    page.locator("#image").select_option(index=5)
    shown = page.get_by_role("heading", name="image 2 of case 2").all_inner_texts()
    assert shown in (["image 2 of case 2, lidc"], ["image 2 of case 2, ambiguous-shapes"])
    group = page.evaluate("image.selectedOptions[0].parentElement.label")
    assert shown[0].endswith(group)
    assert "3 of 3 · image 2 of case 2" in page.get_by_role("status").inner_text()


def test_without_scripts_every_picture_is_there(visit, report) -> None:
    page = visit(report, java_script_enabled=False)
    assert page.locator(".case:visible").count() == 2 * 3
    assert page.locator(".controls").is_hidden()


def test_views_and_models_can_be_switched_off(page) -> None:
    samples = page.locator("#stage img[alt^='csae, sample']:visible")
    assert samples.count() == 8
    page.get_by_label("samples", exact=True).uncheck()
    assert samples.count() == 0
    page.get_by_label("standard deviation", exact=True).uncheck()
    maps = page.locator("#stage img[alt^='csae:']:visible").all()
    assert [one.get_attribute("alt") for one in maps] == [
        "csae: mean probability of the foreground"
    ]
    page.get_by_role("checkbox", name="2p-planar").uncheck()
    assert drawn(page) == ["annotators", "punet", "csae"]
    page.get_by_role("button", name="Next image").click()
    assert drawn(page) == ["annotators", "punet", "csae"]


def place(page) -> int:
    return page.locator("#image").evaluate("select => select.selectedIndex")


def test_the_arrow_keys_turn_the_pages_and_come_round(page) -> None:
    places = [place(page)]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
        places.append(place(page))
    assert places == [0, 1, 2, 1, 0, 5]


def test_the_arrow_keys_work_from_anywhere_and_bring_the_pictures_into_view(page) -> None:
    page.locator("#provenance").scroll_into_view_if_needed()
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#samples")).to_be_in_viewport()
    focus = ("#next", "#theme", "fieldset input", "thead button", ".settings summary", "#main")
    for turned, selector in enumerate(focus, start=2):
        page.locator(selector).first.focus()
        page.keyboard.press("ArrowRight")
        assert place(page) == turned % 6


def test_what_needs_the_arrow_keys_keeps_them(page) -> None:
    size = page.locator("#size")
    before = size.input_value()
    size.press("ArrowRight")
    assert size.input_value() != before
    page.set_viewport_size(PHONE)
    box = page.locator(".scroll").first
    box.press("ArrowRight")
    wait_until(page, "document.querySelector('.scroll').scrollLeft > 0")
    page.locator("#size").press("Control+ArrowRight")
    assert place(page) == 0


def test_everything_is_reached_by_the_tabulator_and_shows_its_focus(page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached, outlined = set(), set()
    for _ in range(200):
        page.keyboard.press("Tab")
        name, style = page.evaluate(
            """() => { const e = document.activeElement;
            return [e.id || e.type || e.tagName, getComputedStyle(e).outlineStyle]; }"""
        )
        if name == "BODY":
            break
        reached.add(name)
        outlined.add(style)
    assert outlined == {"solid"}
    wanted = {"theme", "image", "previous", "next", "checkbox", "size"}
    assert wanted <= reached


def test_the_page_follows_the_system_until_the_button_decides(visit, report) -> None:
    page = visit(report, color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    button = page.get_by_role("button", name="Dark mode")
    dark = page.evaluate(paper)
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    light = page.evaluate(paper)
    assert button.get_attribute("aria-pressed") == "false"
    assert sum(_rgb(dark)) < 3 * 64 < 3 * 192 < sum(_rgb(light))
    page.reload()
    assert page.evaluate(paper) == light


def _rgb(colour: str) -> list[int]:
    return [int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_page_never_scrolls_sideways(visit, report, width: int) -> None:
    page = visit(report, viewport={"width": width, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_wide_screen_is_used(visit, report) -> None:
    page = visit(report, viewport={"width": 1920, "height": 1000})
    for selector in (".answers", "table", ".charts", ".blocks"):
        assert page.locator(selector).first.bounding_box()["width"] > 1750


def test_a_phone_shows_every_table_to_its_last_column(visit, report) -> None:
    page = visit(report, viewport={"width": 390, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    hidden = page.evaluate(
        """() => [...document.querySelectorAll(".scroll")].map((box) => {
          box.scrollLeft = box.scrollWidth;
          const frame = box.getBoundingClientRect();
          const cells = [...box.querySelector("tbody tr").cells];
          const keys = cells.filter((cell) => cell.matches(".key")).length;
          const places = [0, keys - 1, -1].map((i) => cells.at(i).getBoundingClientRect());
          const [first, key, last] = places;
          return [last.left < key.right, last.right > frame.right, first.left < frame.left];
        })"""
    )
    assert hidden and all(box == [False, False, False] for box in hidden)


def test_it_prints_whole(visit, report) -> None:
    page = visit(report, viewport={"width": 700, "height": 1000}, color_scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".case:visible").count() == 2 * 3
    wait_until(page, "[...document.images].every((one) => one.complete)")
    cut = page.evaluate(
        """[...document.querySelectorAll("main *")].filter((one) =>
          !one.closest(".hidden, svg") && one.getBoundingClientRect().right > innerWidth
        ).map((one) => one.outerHTML)"""
    )
    assert cut == []
    assert sum(_rgb(page.evaluate("getComputedStyle(document.querySelector('h1')).color"))) < 200
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_regions_headings_and_pictures_have_names(page) -> None:
    tree = page.locator("body").aria_snapshot()
    assert all(role in tree for role in ("- banner", '- navigation "Sections"', "- main", "status"))
    assert page.locator("#stage img:not([alt])").count() == 0
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.locator("th:not([scope])").count() == 0
    for role, name in (("combobox", "Image"), ("slider", "Size")):
        assert page.get_by_role(role, name=name, exact=True).count() == 1


@pytest.mark.skipif(AXE is None, reason="AXE_CORE does not name axe-core's axe.min.js")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, report, scheme: str, width: int) -> None:
    size = {"width": width, "height": 800}
    page = visit(report, color_scheme=scheme, viewport=size, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert axe_faults(page) == []


def test_two_hundred_images_open_and_how_fast(visit, make_report, record_property) -> None:
    path = make_report(("lidc",), ("csae",), folds=(0,), pictures=200, size=64)
    started = time.perf_counter()
    page = visit(path)
    page.locator("#stage img").first.wait_for()
    sync_api.expect(page.locator("#stage img").first).to_have_js_property("complete", True)
    seconds = time.perf_counter() - started
    record_property("seconds", seconds)
    print(f"\n{path.stat().st_size / 2**20:.1f} MiB with 200 images open in {seconds:.2f} s")
    assert page.locator("#image").locator("option").count() == 200
