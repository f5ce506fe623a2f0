"""Curves of the Gini index are read from the results that have one."""

from dataclasses import replace

from benchmarks.reports.dataset_results import GINI, training_curves


def test_results_without_a_prior_have_no_curve(make) -> None:
    scores = {"ged": [0.5]}
    with_prior = make("punet", scores, curve=[0.5])
    without = replace(make("deterministic", scores), history=[{"step": 3.0}])
    assert training_curves([with_prior, without], GINI) == {"lidc": {"punet": [([1.0], [0.5])]}}
