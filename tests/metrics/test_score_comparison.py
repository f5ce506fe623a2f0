"""Several systems on the same images: their tests, what is refused, and the file."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from probseg.errors import DataError, OptionError
from probseg.metrics.paired import holm
from probseg.metrics.score_comparison import ScoreComparison
from probseg.metrics.scores import Scores

IMAGES = 20


def scored(shift: float = 0.0, seed: int = 0, **changes) -> Scores:
    values = np.random.default_rng(seed).random(IMAGES)
    per_image = {"ged": values + shift, "dice-max": values - shift, "diversity": values}
    return replace(
        Scores(
            per_image=per_image,
            groups=[f"p{i // 2}" for i in range(IMAGES)],
            ids=[f"case{i}" for i in range(IMAGES)],
            samples="4",
            subject="x",
            data="y",
            about={"fingerprint": "e"},
            higher_is_better={"ged": False, "dice-max": True, "diversity": None},
        ),
        **changes,
    )


def test_the_tests_are_scipys_with_holms_correction() -> None:
    systems = {"a": scored(seed=1), "b": scored(seed=2), "c": scored(0.1, seed=3)}
    tests = ScoreComparison(systems).tests
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(t.first, t.second, t.metric) for t in tests] == [
        (*pair, metric) for pair in pairs for metric in ("ged", "dice-max")
    ]
    wanted = [
        stats.wilcoxon(systems[x][metric] - systems[y][metric]).pvalue
        for x, y in pairs
        for metric in ("ged", "dice-max")
    ]
    assert [t.p for t in tests] == pytest.approx(wanted)
    assert [t.adjusted for t in tests] == pytest.approx(holm(wanted))


def test_a_system_that_is_better_on_every_image_is_better_whichever_way_a_metric_points() -> None:
    tests = ScoreComparison({"good": scored(), "bad": scored(0.2)}).tests
    assert [t.better for t in tests] == ["good", "good"]
    assert [round(t.difference, 9) for t in tests] == [-0.2, 0.2]


def test_equal_systems_do_not_differ() -> None:
    tests = ScoreComparison({"one": scored(), "other": scored()}).tests
    assert [(t.better, t.p, t.difference) for t in tests] == [(None, 1.0, 0.0)] * 2


def test_an_image_without_a_value_is_left_out_of_its_test() -> None:
    holed = scored(0.2)
    holed.per_image["ged"][3] = np.nan
    first, second = ScoreComparison({"a": scored(), "b": holed}).tests
    assert (first.images, second.images) == (IMAGES - 1, IMAGES)
    holed.per_image["ged"][:] = np.nan
    assert [t.metric for t in ScoreComparison({"a": scored(), "b": holed}).tests] == ["dice-max"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": [str(i) for i in range(IMAGES)]}, "other images"),
        ({"groups": ["p"] * IMAGES}, "which images are of one group"),
        ({"about": {"fingerprint": "f"}}, "other data"),
        ({"per_image": {"ged": np.zeros(IMAGES)}}, "other metrics"),
    ],
)
def test_what_does_not_compare_is_refused(changes, message) -> None:
    with pytest.raises(DataError, match=message):
        ScoreComparison({"a": scored(), "b": scored(**changes)})


def test_one_system_is_no_comparison() -> None:
    with pytest.raises(OptionError, match="two systems"):
        ScoreComparison({"a": scored()})


def test_different_numbers_of_samples_are_told() -> None:
    (untested,) = ScoreComparison({"a": scored(), "b": scored()}).remarks
    assert untested.startswith("not tested: diversity;")
    *_, told = ScoreComparison({"a": scored(), "b": scored(samples="16")}).remarks
    assert "a 4, b 16" in told and "ged16" in told


def test_the_file_has_a_row_for_each_system_and_image(tmp_path) -> None:
    systems = {"a": scored(seed=1), "b": scored(seed=2)}
    systems["b"].per_image["ged"][0] = np.nan
    ScoreComparison(systems).to_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["system"], r["image"], r["group"]) for r in rows] == [
        (name, f"case{i}", f"p{i // 2}") for name in "ab" for i in range(IMAGES)
    ]
    read = [float(r["ged"]) if r["ged"] else np.nan for r in rows]
    np.testing.assert_array_equal(read, np.concatenate([one["ged"] for one in systems.values()]))
