"""Curves of the Gini index are read from the results that have one."""

from benchmarks.reports.analysis.curves import gini_panels


def test_results_without_a_prior_have_no_curve() -> None:
    config = {"dataset": {"name": "lidc"}, "row": "punet"}
    with_prior = {"config": config, "history": [{"step": 3.0, "prior/gini": 0.5}]}
    without = {"config": {**config, "row": "deterministic"}, "history": [{"step": 3.0}]}
    assert gini_panels([with_prior, without]) == {"lidc": {"punet": [([3.0], [0.5])]}}
