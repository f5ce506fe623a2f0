"""The report as a file: valid, closed to the network, and true to the numbers."""

import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import html5lib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from benchmarks.jobs.pictures import compact
from benchmarks.reports.dataset_results import GINI, LOSS
from benchmarks.reports.figures import COLOURS
from benchmarks.reports.html import sample_browser, training_charts
from benchmarks.tables import number
from probseg.plots import CLASSES

EVIL = '<script>alert("1")</script>'
masks = arrays(
    np.uint8, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 3)
)


class Elements(HTMLParser):
    """Every element, its attributes, and the text inside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found, self.scripts, self._script = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs)))
        self._script = tag == "script"
        if self._script:
            self.scripts.append("")

    def handle_data(self, data) -> None:
        if self._script:
            self.scripts[-1] += data

    def handle_endtag(self, tag) -> None:
        self._script = False


@pytest.fixture(scope="module")
def path(make_report) -> Path:
    return make_report()


@pytest.fixture(scope="module")
def text(path) -> str:
    return path.read_text(encoding="utf-8")


def renamed(run, row: str):
    """The run with a row of another name."""
    return [
        replace(result, experiment=replace(result.experiment, row=row)) for result in run.results
    ]


def pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def test_the_page_is_valid_html(text) -> None:
    html5lib.HTMLParser(strict=True).parse(text)  # raises at the first fault
    ids = [attributes["id"] for _, attributes in Elements(text).found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_labels_and_links_lead_to_something(text) -> None:
    found = [attributes for _, attributes in Elements(text).found]
    ids = {attributes.get("id") for attributes in found}
    named = {name for a in found for name in (a.get("aria-labelledby") or "").split()}
    linked = {a["href"][1:] for a in found if (a.get("href") or "").startswith("#")}
    assert named and named <= ids
    assert linked and linked <= ids


def test_the_page_names_no_other_place_and_its_policy_allows_none(text) -> None:
    page = Elements(text)
    places = [a[key] for _, a in page.found for key in ("src", "href", "xlink:href") if key in a]
    assert places and all(place.startswith(("#", "data:")) for place in places)
    assert "@import" not in text and not re.search(r"url\((?!#|data:)", text)
    policy = next(a["content"] for _, a in page.found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    code = page.scripts[-1]
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_are_text_wherever_they_stand(make_run, write_report, tmp_path, text) -> None:
    run = make_run(("ambiguous-shapes",), ("csae",))
    results = renamed(run, EVIL)
    for old, new in zip(run.results, results, strict=True):
        folders = old.experiment.folder(run.folder), new.experiment.folder(tmp_path)
        folders[1].mkdir(parents=True)
        (folders[0] / "pictures.npz").rename(folders[1] / "pictures.npz")
    path = write_report(results, tmp_path, tmp_path, competing=[EVIL], notes={EVIL: EVIL})
    page = Elements(path.read_text(encoding="utf-8"))
    assert page.scripts == Elements(text).scripts  # the page's own and no other
    assert "alert" not in page.scripts[0]
    assert any(attributes.get("data-part") == EVIL for _, attributes in page.found)
    html5lib.HTMLParser(strict=True).parse(path.read_text(encoding="utf-8"))
    assert not any(tag == "b" and attributes for tag, attributes in page.found)


def test_missing_values_are_dashes_that_sort_nowhere(make_report) -> None:
    assert number(float("nan"), ".2f").value is number(None, ".2f").value is None
    assert number(-0.5, "+.2f").text == "−0.50"
    text = make_report(rows=("punet", "annotators")).read_text(encoding="utf-8")
    assert "NaN" not in re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert 'data-sort="nan"' not in text and 'data-sort="None"' not in text


def test_a_run_of_baselines_alone_has_neither_curves_nor_samples(make_report) -> None:
    text = make_report(rows=("always-empty",), pictures=0).read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    assert 'id="curves"' not in text and 'id="samples"' not in text
    assert 'id="tables"' in text and 'id="provenance"' in text


def test_the_same_results_make_the_same_bytes(make_run, write_report, tmp_path) -> None:
    run = make_run(("lidc",), ("punet",))
    pages = []
    for name in ("one", "other"):
        out = tmp_path / name
        pages.append(write_report(run.results, run.folder, out, competing=[]))
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_provenance_names_every_revision_and_setting(make_run, write_report, tmp_path) -> None:
    one, other = make_run(rows=("punet",)), make_run(rows=("csae",), revision="fedcba9876543210")
    results = [*one.results, *other.results]
    text = write_report(results, one.folder, tmp_path, competing=[]).read_text("utf-8")
    for fact in ("0123456789abcdef", "fedcba9876543210", "an abacus", "torch 2.6.0", "by patient"):
        assert fact in text
    assert "not &lt;b&gt;real&lt;/b&gt;" in text
    assert "&#34;latent_dim&#34;: 6" in text


def test_a_curve_of_one_record_is_told_too() -> None:
    chart = training_charts.chart("lidc", GINI, {"csae": [([2], [0.25])]})
    assert chart.summary.endswith("lidc, over training: csae from 0.25 to 0.25")


def test_a_chart_tells_where_the_mean_over_the_cells_begins_and_ends() -> None:
    late = [([5, 10], [0.1, 0.3]), ([5, 10], [0.2, 0.6])]  # nothing is known before half the time
    models = {"csae": late, "punet": [([0, 1], [0.5, -0.25])]}
    chart = training_charts.chart("lidc", LOSS, models)
    assert chart.title == "Loss on the validation images, lidc"
    assert chart.summary.endswith("training: csae from 0.15 to 0.45; punet from 0.5 to -0.25")
    assert ">−0.2</text>" in chart.svg  # a loss may be negative
    assert all(f">{name}</text>" in chart.svg for name in ("csae", "punet"))  # the legend
    assert COLOURS["csae"].lower() in chart.svg


@given(masks)
@settings(max_examples=30, deadline=None)
def test_a_segmentation_is_filled_and_bordered_and_clear_elsewhere(labels) -> None:
    shown = pixels(sample_browser._outlined(labels, "#0072B2"))
    cross = ndimage.generate_binary_structure(2, 1)
    inner = np.zeros(labels.shape, dtype=bool)
    for name in (1, 2, 3):
        inner |= ndimage.binary_erosion(labels == name, cross)
    opacity = np.where(labels == 0, 0, np.where(inner, 90, 255))
    assert np.array_equal(shown[..., 3], opacity)
    assert (shown[labels == 1][:, :3] == [0x00, 0x72, 0xB2]).all()


def test_maps_and_images_are_shown_on_their_scales() -> None:
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    lightness = pixels(sample_browser._map(ramp, 1.0))[..., :3].sum(-1).ravel()
    assert (np.diff(lightness) > 0).all()
    assert np.array_equal(
        pixels(sample_browser._map(ramp / 2, 0.5)), pixels(sample_browser._map(ramp, 1.0))
    )
    grey = pixels(sample_browser._grey(np.stack([ramp, 1 - ramp])))[..., 0].ravel()
    assert grey[0] == 0 and grey[-1] == 255 and (np.diff(grey) >= 0).all()


@pytest.mark.parametrize("kept", [lambda picture: picture, compact])
def test_several_classes_and_colour_images_are_shown_in_colour(kept) -> None:
    masks = np.array([[[0, 1, 2, 4]], [[0, 1, 3, 4]]], dtype=np.uint8)
    image = np.linspace(0, 1, 12).reshape(3, 1, 4)[::-1].astype(np.float16)
    flat = np.zeros((1, 4), dtype=np.float16)
    picture = {"image": image, "masks": masks, "labels": masks, "mean": flat, "sd": flat}
    shown = sample_browser.encode({"csae": kept(picture)}, classes=5)
    row = pixels(shown["models"]["csae"]["samples"][1])[0, 1:]
    colours = [f"#{r:02X}{g:02X}{b:02X}" for r, g, b, _ in row]
    assert colours == [CLASSES[k] for k in (0, 2, 3)]
    assert colours == [shown["classes"][f"class {k}"] for k in (1, 3, 4)]
    assert shown["annotators"]["samples"] == shown["models"]["csae"]["samples"]
    assert list(shown["classes"]) == ["class 1", "class 2", "class 3", "class 4"]
    seen = np.moveaxis(pixels(shown["image"])[..., :3], -1, 0) / 255
    assert seen == pytest.approx(image.astype(float), abs=0.01)


@pytest.mark.parametrize("kept", [lambda picture: picture, compact])
def test_what_nobody_labelled_is_hatched_and_told(kept) -> None:
    masks = np.ma.masked_equal(np.array([[[1, 0, 255]], [[1, 255, 255]]], dtype=np.uint8), 255)
    flat = np.zeros((1, 3), dtype=np.float16)
    picture = {"image": flat[None], "masks": masks, "labels": masks.data % 2}
    shown = sample_browser.encode({"csae": kept({**picture, "mean": flat, "sd": flat})})
    greys = {(150, 150, 150, 255), (90, 90, 90, 255)}
    annotators = shown["annotators"]
    tiles = [*annotators["samples"], annotators["mean"], annotators["sd"]]
    hatched = [[tuple(pixel) in greys for pixel in pixels(tile)[0].tolist()] for tile in tiles]
    assert hatched == [[False, False, True], [False, True, True], *[[False, False, True]] * 2]
    assert shown["unlabelled"] and annotators["areas"] == [0.3333] * 2
    assert not greys & set(map(tuple, pixels(shown["models"]["csae"]["mean"])[0].tolist()))


def words(text: str) -> str:
    """What a reader sees of a page."""
    page = html5lib.parse(text, namespaceHTMLElements=False)
    for one in [*page.iter("script"), *page.iter("style")]:
        one.text = ""
    return " ".join("".join(page.itertext()).split())


def test_nothing_is_said_of_the_paper_where_its_data_were_not_run(make_report, text) -> None:
    assert "The paper's claims" in words(text)
    other = words(make_report(("ambiguous-shapes", "contours")).read_text(encoding="utf-8"))
    assert "paper" not in other.lower()
    assert "claim" not in other.lower()


def test_claims_on_data_that_were_not_run_are_left_out(text) -> None:
    assert "LIDC" in words(text)
    assert "qubiq" not in words(text).lower()


def test_the_answer_opens_the_page_and_says_how_little_it_rests_on(make_report) -> None:
    shown = words(make_report(("contours",), folds=(0,)).read_text(encoding="utf-8"))
    start, samples = shown.index("The answer"), shown.index("Samples", shown.index("The answer"))
    opening = shown[start:samples]
    assert "cannot be told from noise in any of them" in opening  # drawn at random
    assert "12 images of 12 patients or cases. These are few" in opening
    assert "Each model was trained once" in opening
    assert "For scale, Ŵ (1 − IoU) of the other rows: always-empty 0." in opening


def test_one_model_is_compared_with_nothing(make_report) -> None:
    shown = words(make_report(("contours",), ("csae",)).read_text(encoding="utf-8"))
    assert "csae is the only model that was trained, so that nothing is compared" in shown
