"""Correlations against scipy and a bootstrap that draws patients one by one."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.reports.analysis.correlation import coefficient, correlations
from benchmarks.reports.analysis.rules import Evidence
from benchmarks.reports.dataset_results import by_dataset


def test_values_are_scipys(rng) -> None:
    x, y = rng.normal(size=(2, 40))
    y += x
    names = np.arange(40).astype(str)
    assert coefficient(x, y, names).value == pytest.approx(stats.pearsonr(x, y).statistic)
    ranked = coefficient(stats.rankdata(x), stats.rankdata(y), names)
    assert ranked.value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_the_interval_draws_patients(rng) -> None:
    groups = np.repeat(np.arange(25), 4)
    x = rng.normal(size=25)[groups] + 0.2 * rng.normal(size=100)
    y = x + rng.normal(size=25)[groups]
    drawn = []
    for _ in range(1500):
        images = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(0, 25, 25)])
        drawn.append(np.corrcoef(x[images], y[images])[0, 1])
    low, high = np.quantile(drawn, (0.025, 0.975))
    found = coefficient(x, y, groups.astype(str))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.05)


def test_what_does_not_vary_has_no_correlation() -> None:
    assert np.isnan(coefficient(np.ones(9), np.arange(9.0), np.arange(9).astype(str))).all()


def test_far_from_zero_is_as_good_as_near(rng) -> None:
    x, y = rng.normal(size=(2, 30))
    names = np.arange(30).astype(str)
    far = coefficient(x + 1e6, 1e-4 * y - 3e3, names)
    assert far == pytest.approx(coefficient(x, y, names), abs=1e-3)


def test_over_cells_every_training_is_a_point(make, rng) -> None:
    rows = {"punet": 0.4, "2p-planar": 0.3, "csae": 0.2, "csae-own": 0.1}
    results = []
    for row, gini in rows.items():
        for fold in range(3):
            cost = gini + 0.01 * rng.random(6)
            results.append(make(row, {"gini": cost, "w-iou": 1 + 2 * cost}, fold=fold))
    results.append(make("deterministic", {"w-iou": rng.random(6)}))
    found = [c for c in correlations(*by_dataset(results)) if c.over == "cells"]
    assert [(len(c.rows), c.points) for c in found] == [(3, 9), (4, 12)]
    assert all(c.pearson.value == pytest.approx(1) for c in found)


def test_over_images_each_row_is_asked_alone(make, rng) -> None:
    gini = rng.random(12)
    rows = {"punet": 1 - gini, "csae": gini}
    results = [make(row, {"gini": gini, "w-iou": cost}) for row, cost in rows.items()]
    found = {c.rows: c for c in correlations(*by_dataset(results)) if c.over == "images"}
    assert found["punet",].spearman.value == pytest.approx(-1)
    assert found["csae",].spearman.value == pytest.approx(1)


@pytest.mark.parametrize(("folds", "listed"), [(3, []), (5, ["cells"])])
def test_correlations_over_fewer_than_ten_trainings_are_not_listed(
    make, rng, folds, listed
) -> None:
    results = [
        make(row, {"gini": rng.random(12), "w-iou": rng.random(12)}, fold=fold)
        for row in ("punet", "csae")
        for fold in range(folds)
    ]
    evidence = Evidence.of(*by_dataset(results))
    assert [c.over for c in evidence.listed if c.over == "cells"] == listed
    assert {c.over for c in evidence.listed} == {"images", *listed}


def test_few_images_have_no_correlation_listed(make, rng) -> None:
    scores = {"gini": rng.random(9), "w-iou": rng.random(9)}
    results = [make(row, scores) for row in ("punet", "csae")]
    evidence = Evidence.of(*by_dataset(results))
    assert evidence.correlations and not evidence.listed
