"""Results made up so that the answer is known."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from made_results import made_result

from benchmarks.jobs.plan import make_experiment
from benchmarks.jobs.results import Result
from benchmarks.suite.definition import read_suite

Scores = Mapping[str, Sequence[float]]
Make = Callable[..., Result]


@pytest.fixture(scope="session")
def make() -> Make:
    """Return a function that makes the result of one cell of the shipped suite."""
    suite = read_suite()

    def make(
        row: str,
        scores: Scores,
        *,
        profile: str = "paper",
        dataset: str = "lidc",
        fold: int = 0,
        seed: int = 0,
        groups: Sequence[str] | None = None,
        curve: Sequence[float] = (),
        projected: Scores | None = None,
        stratified: Scores | None = None,
        **settings: object,
    ) -> Result:
        resolved = {**suite.profiles[profile].resolve(row, dataset), **settings}
        cell = make_experiment(
            suite.models[row],
            resolved,
            profile=profile,
            dataset={"name": dataset},
            fold=fold,
            seed=seed,
        )
        others = {"projected": projected, "stratified": stratified}
        variants = {"base": scores} | {name: one for name, one in others.items() if one}
        kept = {v: {m: [float(x) for x in s] for m, s in c.items()} for v, c in variants.items()}
        gini = {float(step): value for step, value in enumerate(curve, start=1)}
        return made_result(cell, kept, groups=groups, gini=gini)

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
