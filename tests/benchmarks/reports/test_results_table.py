"""The results table: means over folds as numpy computes them, marked and captioned."""

import csv
import io

import numpy as np
import pytest
from made_results import made_result
from rich.console import Console

from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.results import Result
from benchmarks.reports.results_table import results_table, summarise, values_csv
from probseg.reports.tables import to_markdown, to_terminal

GED = {"punet": [0.31, 0.27, 0.35], "csae": [0.25, 0.29, 0.24], "always-empty": [0.1]}


def make_result(row: str, fold: int, ged: float, **options) -> Result:
    trained = row not in ("always-empty", "annotators", "one-annotator")
    cell = Experiment(
        profile="quick",
        row=row,
        dataset=options.pop("dataset", "contours"),
        fold=fold if trained else None,
        seed=0 if trained else None,
        model={"name": row} if trained else None,
        baseline=None if trained else row,
        training=options.pop("training", {}) if trained else None,
    )
    scores = {"base": {"ged": [ged] * 9, "gini": [None] * 9}, **options}
    provenance, revision = "rendered images", "0123456789abcdef"
    return made_result(cell, scores, provenance=provenance, revision=revision, dirty=fold == 2)


@pytest.fixture
def scores():
    results = [
        make_result(row, fold, ged)
        for row, values in GED.items()
        for fold, ged in enumerate(values)
    ]
    notes = {"csae": "the proposal", "other": "not run"}
    (made,) = summarise(results, competing=["punet", "csae"], notes=notes)
    return made


def test_mean_and_sample_standard_deviation_over_folds(scores) -> None:
    for row in scores.rows:
        summary = row.values["ged"]
        assert summary.mean == pytest.approx(np.mean(GED[row.name]))
        if len(GED[row.name]) > 1:
            assert summary.sd == pytest.approx(np.std(GED[row.name], ddof=1))
        else:
            assert summary.sd is None
        assert "gini" not in row.values


def test_csv_carries_full_precision(scores) -> None:
    lines = list(csv.DictReader(io.StringIO(values_csv([scores]))))
    assert [line["row"] for line in lines] == list(GED)
    assert [float(line["mean"]) for line in lines] == [np.mean(v).item() for v in GED.values()]
    assert [int(line["cells"]) for line in lines] == [3, 3, 1]


def test_the_best_of_the_models_is_bold_and_baselines_are_not(scores) -> None:
    text = to_markdown(results_table(scores))
    assert "**0.260 ± 0.026**" in text
    assert text.count("**") == 2
    assert "| 0.100 |" in text


def test_the_caption_says_what_a_reader_must_know(scores) -> None:
    text = to_markdown(results_table(scores))
    for part in ("rendered images", "by patient", "quick", "Folds 0, 1, 2", "seeds 0", "9 test"):
        assert part in text
    assert "- csae: the proposal." in text
    assert "not run" not in text
    assert "012345678, 012345678 with changes" in text


def test_the_caption_says_in_which_settings_rows_are_not_alike() -> None:
    short, long = {"max_steps": 50, "validate_every": 5}, {"max_steps": 100, "validate_every": 10}
    results = [
        make_result("punet", 0, 0.3, training={**long, "clip": 1}),
        make_result("csae", 0, 0.3, training={**short, "clip": 1}),
        make_result("csae", 1, 0.3, training={**short, "clip": 1}),
        make_result("energy", 0, 0.3, training={**long, "clip": 1, "augment": "flips"}),
        make_result("always-empty", 0, 0.9),
    ]
    (made,) = summarise(results, competing=[])
    assert "Different max_steps: 50 (csae); 100 (the others)." in made.caption
    assert "Different augment: flips (energy); default (the others)." in made.caption
    assert made.caption.count("Different") == 2


def test_the_projected_prior_is_a_row_of_its_own() -> None:
    result = make_result("csae", 0, 0.3, projected={"ged": [0.2] * 9})
    (made,) = summarise([result], competing=["csae"])
    assert [(row.name, row.values["ged"].mean) for row in made.rows] == [
        ("csae", 0.3),
        ("csae (projected prior)", 0.2),
    ]


def test_each_data_set_has_its_table() -> None:
    one, other = make_result("csae", 0, 0.3), make_result("csae", 0, 0.6, dataset="lidc")
    made = summarise([one, other], competing=[])
    assert [(t.dataset, t.rows[0].values["ged"].mean) for t in made] == [
        ("contours", 0.3),
        ("lidc", 0.6),
    ]


def test_the_terminal_shows_every_number_in_80_columns(scores) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_terminal(results_table(scores), narrow=True))
    text = console.export_text()
    assert all(number in text for number in ("0.310", "± 0.040", "0.260", "± 0.026", "0.100"))


def test_a_lower_gini_index_is_not_marked_as_the_best() -> None:
    results = [
        make_result(row, 0, 0.3, base={"ged": [ged] * 9, "gini": [gini] * 9})
        for row, ged, gini in (("punet", 0.2, 0.3), ("csae", 0.4, 0.1))
    ]
    text = to_markdown(results_table(*summarise(results, competing=["punet", "csae"])))
    assert "**0.200**" in text and "**0.100**" not in text
    assert "| Gini σ |" in text


def test_the_samples_diversity_stands_beside_that_of_all_annotators() -> None:
    own = {"annotator-diversity": [0.4] * 9}  # over all of them; without one of them .35 and .3
    results = [
        make_result("punet", 0, 0.3, base={"diversity": [0.5] * 9, **own}),
        make_result(
            "one-annotator", 0, 0.3, base={"diversity": [0.0] * 9, "annotator-diversity": [0.3] * 9}
        ),
        make_result("annotators", 0, 0.3, base={"diversity": [0.35] * 9, **own}),
    ]
    (made,) = summarise(results, competing=["punet"])
    assert [row.values["diversity"].mean for row in made.rows] == [0.5, 0.0, 0.4]
    assert "Diversity of the annotators 0.400." in made.caption


def test_nothing_is_said_of_the_diversity_of_a_single_annotator() -> None:
    result = make_result("punet", 0, 0.3, base={"annotator-diversity": [None] * 9})
    (made,) = summarise([result], competing=["punet"])
    assert "annotators" not in made.caption
