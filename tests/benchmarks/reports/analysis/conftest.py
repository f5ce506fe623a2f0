"""Results made up so that the answer is known."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from benchmarks.jobs.cells import Cell, configure
from benchmarks.jobs.results import means
from benchmarks.suite.definition import read_suite

Scores = Mapping[str, Sequence[float]]
Make = Callable[..., dict]


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
        **settings: object,
    ) -> dict:
        entry = suite.models[row]
        resolved = {**suite.profiles[profile].resolve(row, dataset), **settings}
        config = configure(entry, resolved, dataset={"name": dataset}, fold=fold, seed=seed)
        cell = Cell({"profile": profile, **config})
        images = len(next(iter(scores.values())))
        variants = {"base": scores} | ({"projected": projected} if projected else {})
        kept = {v: {m: [float(x) for x in s] for m, s in c.items()} for v, c in variants.items()}
        return {
            "schema": 1,
            "status": "finished",
            "key": cell.key,
            "config": cell.config,
            "error": None,
            "data": {
                "fingerprint": "ab12",
                "provenance": "made up for a test",
                "split": "by patient",
                "train": 8,
                "validation": 4,
                "test": images,
            },
            "provenance": {"versions": {}, "git": {"revision": None, "dirty": None}, "machine": {}},
            "timings": {"wall_s": 1.0},
            "training": {"stopped_early": True} if entry.build else None,
            "history": [{"step": i + 1, "prior/gini": g} for i, g in enumerate(curve)],
            "images": {
                "index": list(range(images)),
                "group": list(groups or map(str, range(images))),
            },
            "scores": kept,
            "means": means(kept),
        }

    return make


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
