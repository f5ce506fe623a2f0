"""Curves of the Gini index are read from the results that have one."""

from dataclasses import replace

from benchmarks.reports.dataset_results import GINI, LOSS, training_curves


def test_results_without_a_prior_have_no_curve(make) -> None:
    scores = {"ged": [0.5]}
    with_prior = make("punet", scores, curve=[0.5])
    without = replace(make("deterministic", scores), history=[{"step": 3.0}])
    assert training_curves([with_prior, without], GINI) == {"lidc": {"punet": [([1.0], [0.5])]}}


def test_losses_of_different_objectives_share_no_panel(make) -> None:
    def trained(row: str, *terms: str):
        record = {f"validation/{term}": 2.0 for term in ("loss", *terms)}
        return replace(make(row, {"ged": [0.5]}), history=[{"step": 3.0, **record}])

    latent = [trained("punet", "cross_entropy", "kl"), trained("csae", "cross_entropy", "x")]
    assert set(training_curves(latent, LOSS)) == {"lidc"}
    panels = training_curves([*latent, trained("csae-own", "set_loss", "ged")], LOSS)
    assert {panel: set(rows) for panel, rows in panels.items()} == {
        "lidc: cross-entropy and penalties": {"punet", "csae"},
        "lidc: set loss": {"csae-own"},  # a metric that was monitored is no term
    }
