"""Paired tests of rows: what is averaged, left out and compared with what."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmarks.reports.analysis import analyse
from benchmarks.reports.analysis.paired import TEST_COLUMNS, paired_tests
from benchmarks.reports.analysis.rules import is_best
from benchmarks.reports.dataset_results import by_dataset, by_image
from probseg.reports.tables import Table, to_markdown


def test_folds_and_seeds_are_averaged_image_by_image_first(make, rng) -> None:
    scores = {(row, f): rng.random(12) for row in ("csae", "punet") for f in range(3)}
    results = [make(row, {"w-iou": s}, fold=f) for (row, f), s in scores.items()]
    (dataset,) = by_dataset(results)
    (test,) = (t for t in paired_tests(dataset) if t.metric == "w-iou")
    mean = {row: np.mean([scores[row, f] for f in range(3)], 0) for row in ("csae", "punet")}
    assert test.p == pytest.approx(stats.wilcoxon(mean["csae"], mean["punet"]).pvalue)
    assert test.difference == pytest.approx((mean["csae"] - mean["punet"]).mean())
    assert (test.first, test.second, test.cells, test.images) == ("csae", "punet", 3, 12)


def test_only_folds_that_both_have_are_compared(make, rng) -> None:
    shared, lone = rng.random(9), rng.random(9) + 5
    cells = [make("csae", {"ged": shared}, fold=0), make("csae", {"ged": lone}, fold=1)]
    (dataset,) = by_dataset([*cells, make("punet", {"ged": shared}, fold=0)])
    (test,) = paired_tests(dataset)
    assert (test.difference, test.cells) == (0, 1)


def test_an_image_without_a_value_is_left_out(make) -> None:
    with_gap = make("punet", {"ncc": [0.5, 0.25, 0.75]})
    with_gap = replace(with_gap, scores={"base": {"ncc": [0.5, None, 0.75]}})
    other = make("punet", {"ncc": [0.25, 0.25, 0.25]}, fold=1)
    assert by_image([with_gap, other], "ncc") == {0: 0.375, 2: 0.5}


def test_profiles_and_data_are_never_compared(make, rng) -> None:
    one, quick = (make("csae", {"ged": rng.random(9)}, profile=p) for p in ("paper", "quick"))
    elsewhere = make("punet", {"ged": rng.random(9)})
    elsewhere = replace(elsewhere, data=replace(elsewhere.data, fingerprint="cd34"))
    found = by_dataset([one, quick, elsewhere])
    assert len(found) == 3
    assert not any(map(paired_tests, found))


def test_better_needs_interval_and_p_and_knows_the_direction(make, rng) -> None:
    base = rng.random(40)
    lower = base - 0.2 + 0.01 * rng.random(40)
    results = [
        make("csae", {"ged": lower, "ncc": lower, "gini": base + 1e-3 * rng.normal(size=40)}),
        make("punet", {"ged": base, "ncc": base, "gini": base}),
    ]
    tests = {t.metric: t for t in paired_tests(*by_dataset(results))}
    assert (tests["ged"].better, tests["ncc"].better) == ("csae", "punet")
    assert tests["gini"].better is None


def test_an_ablation_does_not_change_the_papers_p_values(make, rng) -> None:
    papers = [make(row, {"ged": rng.random(20)}) for row in ("csae", "2p-planar", "punet")]
    more = [make(row, {"ged": rng.random(20)}) for row in ("csae-own", "csae-two-flows")]
    alone = paired_tests(*by_dataset(papers))
    beside = paired_tests(*by_dataset([*more, *papers]))
    assert beside[: len(alone)] == alone
    assert len(beside) == 10


def test_stratified_samples_are_compared_with_stratified_ones_as_a_family_of_their_own(
    make, rng
) -> None:
    base, third = rng.random(40), make("2p-planar", {"ged": rng.random(40)})
    rows = {"csae": base - 0.3, "punet": base}
    results = [make(r, {"ged": rng.random(40)}, stratified={"ged": v}) for r, v in rows.items()]
    *others, test = paired_tests(*by_dataset([*results, third]))
    assert (test.first, test.second) == ("csae (stratified samples)", "punet (stratified samples)")
    assert test.better == test.first and test.adjusted == test.p
    assert others == paired_tests(*by_dataset([*unstratified(results), third]))


def unstratified(results):
    return [replace(r, scores={"base": r.scores["base"]}) for r in results]


def test_a_lower_gini_index_is_told_and_not_called_better(make, rng) -> None:
    base = rng.random(40)
    results = [make(row, {"gini": base + step}) for row, step in (("csae", 0.0), ("punet", 0.1))]
    (evidence,) = analyse(results).evidence
    test = evidence.test("csae", "punet", "gini")
    assert (test.lower, test.better) == ("csae", None)
    shown = to_markdown(Table.of(TEST_COLUMNS, [test]))
    assert "**" not in shown
    holds, why = is_best(evidence, "csae", rivals=["punet"], metric="gini")
    assert holds and "cSAE is lower" in why and "better" not in why
