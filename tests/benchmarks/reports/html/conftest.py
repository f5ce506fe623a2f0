"""Results that no model made: real configurations of the suite, with drawn scores and pictures."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.jobs.cells import Cell, plan
from benchmarks.jobs.pictures import FILE
from benchmarks.jobs.results import (
    SCHEMA_VERSION,
    Result,
    digest,
    finite,
    means,
    result_path,
    write_result,
)
from benchmarks.suite.definition import read_suite

METRICS = ("w-iou", "w-dice", "w-hausdorff", "w-cross-entropy", "gini", "ged", "hungarian-iou")
MODELS = ("punet", "2p-planar", "csae")


class Run(NamedTuple):
    folder: Path
    finished: list


def _page(draw: np.random.Generator, size: int) -> dict:
    y, x = np.mgrid[:size, :size] / size - 0.5
    discs = [(x - a) ** 2 + (y - b) ** 2 < 0.04 for a, b in draw.normal(scale=0.1, size=(12, 2))]
    masks = np.array(discs[:4], dtype=np.uint8)
    labels = np.array(discs[4:], dtype=np.uint8)
    labels[0] = 0
    return {
        "image": draw.random((1, size, size)).astype(np.float16),
        "masks": masks,
        "labels": labels,
        "mean": labels.mean(0).astype(np.float16),
        "sd": labels.std(0).astype(np.float16),
    }


def _scores(draw: np.random.Generator, images: int) -> dict:
    scores = {metric: draw.random(images).tolist() for metric in METRICS}
    scores["ged"][0] = math.nan
    return {"base": scores}


def _history(cell: Cell, draw: np.random.Generator) -> list:
    if not cell.trained or cell.row == "deterministic":
        return []
    values = draw.random(10) / 2
    return [{"step": 5.0 * (i + 1), "prior/gini": v} for i, v in enumerate(values.tolist())]


def _result(cell: Cell, draw: np.random.Generator, images: int, revision: str) -> dict:
    scores = _scores(draw, images)
    content = {
        "schema": SCHEMA_VERSION,
        "status": "finished",
        "key": cell.key,
        "config": cell.to_json(),
        "error": None,
        "data": {
            "fingerprint": "5" * 64,
            "provenance": "drawn at random, and not <b>real</b>",
            "split": "by patient, seed 0, 3 folds",
            "train": 100,
            "validation": 20,
            "test": images,
        },
        "provenance": {
            "versions": {"python": "3.11.2", "torch": "2.6.0"},
            "git": {"revision": revision, "dirty": True},
            "machine": {"device": "cpu", "processor": "an abacus", "cores": 2, "threads": 1},
        },
        "timings": {"finished": "2025-01-02T03:04:05+00:00", "training_s": 61.0},
        "training": None,
        "history": _history(cell, draw),
        "images": {"index": list(range(images)), "group": [f"case {i}" for i in range(images)]},
        "scores": scores,
        "means": means(scores),
    }
    content = finite(content)
    return {**content, "digest": digest(content)}


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory):
    """A function that draws a run: cells and results, with pictures on the disk."""

    def make(
        datasets=("lidc", "ambiguous-shapes"),
        rows=(*MODELS, "always-empty"),
        *,
        folds=(0, 1),
        pictures: int = 3,
        size: int = 16,
        seed: int = 0,
        revision: str = "0123456789abcdef",
        **overrides,
    ) -> Run:
        folder, draw = tmp_path_factory.mktemp("run"), np.random.default_rng(seed)
        suite = read_suite()
        profile = suite.profiles["quick"]
        profile.overrides.clear()
        profile.overrides.update(overrides)
        cells = plan(suite, profile, datasets=datasets, rows=rows, folds=folds, seeds=(0,))
        finished, images = [], max(pictures, 12)
        for cell in cells:
            result = _result(cell, draw, images, revision)
            finished.append(
                (cell, write_result(result_path(cell, folder), Result.from_json(result)))
            )
            pages = {place: _page(draw, size) for place in range(pictures)}
            arrays = {f"{place}/{k}": v for place, page in pages.items() for k, v in page.items()}
            if pages and cell.trained:
                np.savez_compressed(cell.folder(folder) / FILE, **arrays)
        return Run(folder, finished)

    return make


@pytest.fixture(scope="session")
def make_report(make_run, tmp_path_factory: pytest.TempPathFactory):
    """A function that draws a run and writes its report."""
    from benchmarks.reports.html import write_report

    def make(*arguments, **options) -> Path:
        run = make_run(*arguments, **options)
        out = tmp_path_factory.mktemp("report")
        return write_report(run.finished, run.folder, out, competing=MODELS, notes={})

    return make
