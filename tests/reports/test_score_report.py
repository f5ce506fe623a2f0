"""The page of `probseg score`: valid, closed to the network, true to the numbers, and clicked."""

import html5lib
import numpy as np
import pytest
from PIL import Image

from probseg.metrics.scores import Scores
from probseg.reports.score_report import _chosen, _ranked
from tests.helpers.browser import CHROMIUM, chromium

EVIL = "<i>evil"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Annotations, two systems and images of twelve cases, one system with a name like HTML."""
    root = tmp_path_factory.mktemp("score")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24]
    for case in range(12):
        (root / "images").mkdir(exist_ok=True)
        pixels = random.integers(256, size=(24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"case{case}.png")
        for side, count, spread in (("annotations", 3, 0.1), ("good", 4, 0.1), ("bad", 20, 0.9)):
            folder = root / side / f"case{case}"
            folder.mkdir(parents=True)
            for number in range(count):
                mask = np.hypot(y - 12, x - 12) < 6 * random.uniform(1 - spread, 1 + spread)
                Image.fromarray(mask.astype(np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def report(folders, make_command):
    path = folders / "scores.html"
    status, output, error = make_command(
        *("score", "--samples", str(folders / "good"), f"{EVIL}={folders / 'bad'}"),
        *("--annotations", str(folders / "annotations"), "--images", str(folders / "images")),
        *("--report", str(path), "--metrics", "ged", "annotator-diversity", "hungarian-iou"),
    )
    assert status == 0, error
    assert f"pictures and tables are in {path}" in " ".join(output.split())
    return path


@pytest.fixture(scope="module")
def make_command():
    """`probseg` in this process, for fixtures of a module."""
    import contextlib
    import io

    from probseg.cli import main

    def run(*arguments: str):
        output, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
            status = main(list(arguments))
        return status, output.getvalue(), error.getvalue()

    return run


def test_the_page_is_valid_and_asks_nothing_of_a_network(report):
    text = report.read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)  # raises at the first fault
    assert "default-src &#39;none&#39;" in text and "http" not in text.replace("http-equiv", "")
    assert EVIL not in text and "&lt;i&gt;evil" in text


def test_the_page_says_what_was_compared_and_who_is_better(report):
    text = " ".join(report.read_text(encoding="utf-8").split())
    assert "12 images of 12 groups" in text
    assert "the numbers of samples an image differ (good 4, " in text
    assert "<b>good</b></span> is better in ged" in text


def test_the_page_draws_and_tells_the_reliability_of_all_images(report, folders):
    text = report.read_text(encoding="utf-8")
    sides = (folders / "annotations", folders / "good")
    drawn, good = (
        np.array([[_mask(file) for file in sorted(case.iterdir())] for case in cases])
        for cases in (sorted(side.iterdir(), key=lambda f: int(f.name[4:])) for side in sides)
    )
    p, q = good.mean(1).ravel(), drawn.mean(1).ravel()
    bins = np.minimum((p * 15).astype(int), 14)
    gaps = [abs((p - q)[bins == b].sum()) for b in range(15)]
    assert 'id="reliability"' in text and f"good (error {sum(gaps) / len(p):.3f})" in text
    assert f"{q[bins == 14].mean():.2f} at {p[bins == 14].mean():.2f}" in text


def _mask(file):
    return np.asarray(Image.open(file))


def test_one_system_has_a_page_without_an_answer(folders, make_command, tmp_path):
    path = tmp_path / "one.html"
    status, _, error = make_command(
        *("score", "--samples", str(folders / "good")),
        *("--annotations", str(folders / "annotations"), "--report", str(path)),
    )
    assert status == 0, error
    text = path.read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    assert 'id="answer"' not in text and "Scores of good" in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--images", "{root}/images"], "--images is for the pictures of --report"),
        (["--report", "{root}"], "is a folder; give a file"),
        (["--report", "{root}/r.html", "--images", "{root}/good"], "holds no images ID.png"),
        (["--samples", "{root}/good", "{root}/good"], "twice"),
    ],
)
def test_what_makes_no_sense_is_told(folders, make_command, more, message):
    given = ["score", "--annotations", str(folders / "annotations")]
    if "--samples" not in more:
        given += ["--samples", str(folders / "good")]
    status, _, error = make_command(*given, *(one.format(root=folders) for one in more))
    assert status in (1, 2) and message in error


def test_an_image_of_another_size_is_refused(folders, make_command, tmp_path):
    for case in range(12):
        Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / f"case{case}.png")
    status, _, error = make_command(
        *("score", "--samples", str(folders / "good")),
        *("--annotations", str(folders / "annotations"), "--images", str(tmp_path)),
        *("--report", str(tmp_path / "r.html")),
    )
    assert status == 1 and "has (5, 7) pixels, its masks (24, 24)" in error
    assert not (tmp_path / "r.html").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_reader_turns_pages_hides_a_system_and_sorts(report):
    pytest.importorskip("playwright", reason="Playwright is not installed")
    heard = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(report.as_uri())
        shown = page.locator("article.case:visible h3")
        first = shown.inner_text()
        page.click("#next")
        assert shown.count() == 1 and shown.inner_text() != first
        page.keyboard.press("ArrowLeft")
        assert shown.inner_text() == first
        page.get_by_role("checkbox", name="good").uncheck()
        assert not page.locator("section.block[data-part='of good']:visible").count()
        table = page.locator("table.sortable").last
        table.locator("th button", has_text="difference").click()
        values = table.locator("tbody td:nth-child(4)").evaluate_all(
            "cells => cells.map(c => Number(c.dataset.sort))"
        )
        assert values == sorted(values) and len(values) > 1
    assert heard == []


def test_pictures_are_chosen_by_disagreement_only_where_it_is_known() -> None:
    nan = float("nan")
    values = {"annotator-diversity": np.array([nan, 0.2, nan, 0.1])}
    scores = Scores(
        per_image=values, ids=list("abcd"), groups=list("abcd"), samples="2", subject="", data=""
    )
    assert _ranked(scores) and _chosen(scores) == [3, 1]
    scores = Scores(
        per_image={"annotator-diversity": np.full(4, nan)},
        ids=list("abcd"),
        groups=list("abcd"),
        samples="2",
        subject="",
        data="",
    )
    assert not _ranked(scores) and _chosen(scores) == [0, 1, 2, 3]
