"""Plans: which experiments there are, and when two are the same."""

import json
from dataclasses import replace

from benchmarks.jobs.plan import Experiment, plan_experiments
from benchmarks.suite.definition import read_suite


def make_plan(**changes):
    suite = read_suite()
    options = {"datasets": ["contours"], "rows": ["csae"], "folds": [0], "seeds": [0]} | changes
    profile = options.pop("profile", suite.profiles["quick"])
    return plan_experiments(suite, profile, **options)


def test_an_experiment_for_every_fold_and_seed_and_one_for_an_untrained_baseline() -> None:
    experiments = make_plan(rows=["csae", "always-empty"], folds=[0, 2], seeds=[0, 1])
    rows = [(experiment.row, experiment.fold, experiment.seed) for experiment in experiments]
    trained = [("csae", fold, seed) for fold in (0, 2) for seed in (0, 1)]
    assert sorted(rows, key=str) == sorted([*trained, ("always-empty", None, None)], key=str)


def test_keys_differ_where_any_choice_does() -> None:
    suite = read_suite()
    quick = suite.profiles["quick"]
    variants = [
        make_plan(),
        make_plan(folds=[1]),
        make_plan(seeds=[1]),
        make_plan(rows=["csae-own"]),
        make_plan(datasets=["lidc"]),
        make_plan(profile=suite.profiles["paper"]),
        *(
            make_plan(profile=replace(quick, overrides={key: value}))
            for key, value in {"gamma": 3, "max_steps": 7, "n_eval": 9, "crop": 32}.items()
        ),
    ]
    keys = [experiments[0].key for experiments in variants]
    assert len(set(keys)) == len(keys)


def test_the_key_depends_on_the_content_only() -> None:
    experiment = make_plan()[0]
    reordered = json.loads(json.dumps(dict(reversed(experiment.to_json().items()))))
    assert Experiment.from_json(reordered).key == experiment.key


def test_a_baseline_ignores_how_others_are_trained(tmp_path) -> None:
    quick = read_suite().profiles["quick"]
    one, two = (
        make_plan(rows=["annotators"], profile=replace(quick, overrides=overrides))[0]
        for overrides in ({}, {"learning_rate": 0.5, "beta": 3})
    )
    assert one.folder(tmp_path) == two.folder(tmp_path)
