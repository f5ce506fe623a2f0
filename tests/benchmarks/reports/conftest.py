"""Results that no model made: real configurations of the suite, with drawn scores and pictures."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from made_results import made_result

from benchmarks.jobs.pictures import FILE
from benchmarks.jobs.plan import Experiment, plan_experiments
from benchmarks.jobs.results import Result, result_path, write_result
from benchmarks.reports.analysis import analyse
from benchmarks.reports.html.report_page import write_report as page
from benchmarks.reports.results_table import results_table, summarise
from benchmarks.reports.runs import RunResults
from benchmarks.suite.definition import read_suite

METRICS = ("w-iou", "w-dice", "w-hausdorff", "w-cross-entropy", "gini", "ged", "hungarian-iou")
MODELS = ("punet", "2p-planar", "csae")


class DrawnRun(NamedTuple):
    folder: Path
    results: list[Result]


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


def _gini(cell: Experiment, draw: np.random.Generator) -> dict[float, float]:
    if not cell.trained or cell.row == "deterministic":
        return {}
    values = draw.random(10) / 2
    return {5.0 * (i + 1): value for i, value in enumerate(values.tolist())}


def _result(cell: Experiment, draw: np.random.Generator, images: int, revision: str) -> Result:
    return made_result(
        cell,
        _scores(draw, images),
        groups=[f"case {i}" for i in range(images)],
        gini=_gini(cell, draw),
        provenance="drawn at random, and not <b>real</b>",
        revision=revision,
        dirty=True,
    )


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
    ) -> DrawnRun:
        folder, draw = tmp_path_factory.mktemp("run"), np.random.default_rng(seed)
        suite = read_suite()
        profile = suite.profiles["quick"]
        profile.overrides.clear()
        profile.overrides.update(overrides)
        cells = plan_experiments(
            suite, profile, datasets=datasets, rows=rows, folds=folds, seeds=(0,)
        )
        results, images = [], max(pictures, 12)
        for cell in cells:
            result = _result(cell, draw, images, revision)
            results.append(write_result(result_path(cell, folder), result))
            pages = {place: _page(draw, size) for place in range(pictures)}
            arrays = {f"{place}/{k}": v for place, page in pages.items() for k, v in page.items()}
            if pages and cell.trained:
                np.savez_compressed(cell.folder(folder) / FILE, **arrays)
        return DrawnRun(folder, results)

    return make


def report(results, folder: Path, out: Path, *, competing=MODELS, notes=None) -> Path:
    """Write the report of results whose pictures lie in a folder, and return its path."""
    run = RunResults(results, competing, notes or {})
    scores = summarise(results, competing=competing, notes=notes)
    return page(run, map(results_table, scores), analyse(results), out, folder=folder)


@pytest.fixture(scope="session")
def write_report():
    """The function that writes a report."""
    return report


@pytest.fixture(scope="session")
def make_report(make_run, tmp_path_factory: pytest.TempPathFactory):
    """A function that draws a run and writes its report."""

    def make(*arguments, **options) -> Path:
        run = make_run(*arguments, **options)
        return report(run.results, run.folder, tmp_path_factory.mktemp("report"))

    return make
