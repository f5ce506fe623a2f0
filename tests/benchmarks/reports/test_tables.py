"""Tables: means over folds as numpy computes them, marked and captioned."""

import csv
import io

import numpy as np
import pytest
from rich.console import Console

from benchmarks.reports.tables import tabulate, to_csv, to_markdown, to_rich

GED = {"punet": [0.31, 0.27, 0.35], "csae": [0.25, 0.29, 0.24], "always-empty": [0.1]}


def make_result(row: str, fold: int, ged: float, **means: float):
    trained = row != "always-empty"
    return {
        "config": {
            "profile": "quick",
            "row": row,
            "fold": fold if trained else None,
            "seed": 0 if trained else None,
            "dataset": {"name": "contours"},
            "model": {"name": row} if trained else None,
        },
        "data": {"provenance": "rendered images", "split": "by patient, seed 0", "test": 9},
        "provenance": {"git": {"revision": "0123456789abcdef", "dirty": fold == 2}},
        "means": {"base": {"ged": ged, "gini": None, **means}},
    }


@pytest.fixture
def table():
    results = [
        make_result(row, fold, ged)
        for row, values in GED.items()
        for fold, ged in enumerate(values)
    ]
    notes = {"csae": "the proposal", "other": "not run"}
    (made,) = tabulate(results, competing=["punet", "csae"], notes=notes)
    return made


def test_mean_and_sample_standard_deviation_over_folds(table) -> None:
    for row in table.rows:
        summary = row.values["ged"]
        assert summary.mean == pytest.approx(np.mean(GED[row.name]))
        if len(GED[row.name]) > 1:
            assert summary.sd == pytest.approx(np.std(GED[row.name], ddof=1))
        else:
            assert summary.sd is None
        assert "gini" not in row.values


def test_csv_carries_full_precision(table) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv([table]))))
    assert [line["row"] for line in lines] == list(GED)
    assert [float(line["mean"]) for line in lines] == [np.mean(v).item() for v in GED.values()]
    assert [int(line["cells"]) for line in lines] == [3, 3, 1]


def test_the_best_of_the_models_is_bold_and_baselines_are_not(table) -> None:
    text = to_markdown([table])
    assert "**0.260 ± 0.026**" in text
    assert text.count("**") == 2
    assert "| 0.100 |" in text


def test_the_caption_says_what_a_reader_must_know(table) -> None:
    text = to_markdown([table])
    for part in ("rendered images", "by patient", "quick", "Folds 0, 1, 2", "seeds 0", "9 test"):
        assert part in text
    assert "- csae: the proposal." in text
    assert "not run" not in text
    assert "012345678, 012345678 with changes" in text


def test_the_projected_prior_is_a_row_of_its_own() -> None:
    result = make_result("csae", 0, 0.3)
    result["means"]["projected"] = {"ged": 0.2}
    (made,) = tabulate([result], competing=["csae"])
    assert [(row.name, row.values["ged"].mean) for row in made.rows] == [
        ("csae", 0.3),
        ("csae (projected prior)", 0.2),
    ]


def test_each_data_set_has_its_table() -> None:
    one, other = make_result("csae", 0, 0.3), make_result("csae", 0, 0.6)
    other["config"]["dataset"]["name"] = "lidc"
    made = tabulate([one, other], competing=[])
    assert [(t.dataset, t.rows[0].values["ged"].mean) for t in made] == [
        ("contours", 0.3),
        ("lidc", 0.6),
    ]


def test_the_terminal_shows_every_number_in_80_columns(table) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(to_rich(table))
    text = console.export_text()
    assert all(number in text for number in ("0.310", "± 0.040", "0.260", "± 0.026", "0.100"))
