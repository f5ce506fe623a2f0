"""The report as a file: valid, closed to the network, and true to the numbers."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import html5lib
import pytest

from benchmarks.reports.dataset_results import GINI, LOSS
from benchmarks.reports.figures import COLOURS
from benchmarks.reports.html import training_charts
from probseg.reports.tables import number

EVIL = '<script>alert("1")</script>'


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
    assert any(attributes.get("data-part") == f"of {EVIL}" for _, attributes in page.found)
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


def test_published_numbers_stand_beside_those_of_the_same_data(make_report, text) -> None:
    assert "Published on lidc-v1" in words(text) and "MoSE (2023) 0.218" in words(text)
    other = make_report(("ambiguous-shapes", "contours")).read_text(encoding="utf-8")
    assert "Published" not in words(other)


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
