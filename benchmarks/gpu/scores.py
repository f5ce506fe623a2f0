"""The part ``scores``: metrics of the models that ``train`` left, on the test patients."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import PartOptions, PartResults
from benchmarks.jobs import provenance
from benchmarks.jobs.data import Data, open_dataset, prepare, thin
from benchmarks.jobs.predictors import ModelPredictor
from benchmarks.jobs.results import finite, means
from benchmarks.jobs.scoring import PictureRecorder, Scores, batches, choose_images, score_dataset
from benchmarks.suite.settings import DataSettings
from probseg import load
from probseg.datasets.views import Subset
from probseg.interfaces import Dataset
from probseg.metrics.evaluation import evaluate
from probseg.training.execution import choose_execution
from probseg.training.settings import TrainingSettings
from probseg.utils.atomic_files import atomic_file

FEW, MANY = 16, 100  # samples
OF_MANY = ("ged", "hungarian-iou", "diversity")
BATCH = {FEW: 32, MANY: 16}  # images
TRIED = 64  # images that are timed to see how many there is time for
REHEARSAL_IMAGES = 8  # images


def run(options: PartOptions) -> None:
    """Score every model that the paper's run kept, on as many images as the time allows."""
    results = PartResults(options.out, "scores", keep=False)
    results["provenance"] = provenance.collect(options.device).to_json()
    pattern = "cells/*/*/*/*/training/best.safetensors"
    checkpoints = sorted((options.out / "run-paper").glob(pattern))
    folders = {path.parents[2].name: path.parent for path in checkpoints}
    for name, folder in folders.items():
        results[name] = history(folder)
    _draw_gini(results.values, list(folders), options.out)
    if not folders:
        raise SystemExit("no model was trained yet: run the part train first")
    data = _data(next(iter(folders.values())), options)
    predictors = {name: _predictors(folder, options) for name, folder in folders.items()}
    first = next(iter(predictors.values()))
    images = REHEARSAL_IMAGES if options.small else _images(data.test, first, len(folders), options)
    test = Subset(data.test, thin(range(len(data.test)), images, seed=0))
    recorders: dict[str, PictureRecorder] = {}
    for name, (few, many) in predictors.items():
        recorders[name] = PictureRecorder(choose_images(test))
        started = time.monotonic()
        scores = {
            str(FEW): score_dataset(few, test, batch=BATCH[FEW], watch=recorders[name].watch),
            str(MANY): _score_many(many, test),
        }
        seconds = time.monotonic() - started
        write_images(options.out, name, scores)
        outcome: dict[str, Any] = {"images": len(test), "of": len(data.test), "seconds": seconds}
        outcome["means"] = {count: means(finite(values)) for count, values in scores.items()}
        results[name] = results.values[name] | outcome
        print(name, outcome, flush=True)
        _draw_samples(recorders, options.out)
    results["finished"] = True


def history(folder: Path) -> dict[str, Any]:
    """Return how far a model was trained, from its training's folder."""
    records = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    best = min(records, key=lambda record: record["validation/loss"])
    return {
        "steps": records[-1]["step"],
        "training_seconds": records[-1]["seconds"],
        "best_step": best["step"],
        "best_validation_loss": best["validation/loss"],
        "settings": json.loads((folder / "run.json").read_text(encoding="utf-8")),
        "history": records,
    }


def _predictors(folder: Path, options: PartOptions) -> tuple[ModelPredictor, ModelPredictor]:
    model: Any = load(folder / "best.safetensors")
    execution = choose_execution(TrainingSettings(device=options.device))
    projected = model.spec.get("flow_context") in ("image", "own")
    return (
        ModelPredictor(model, FEW, execution=execution, seed=0, projected=projected),
        ModelPredictor(model, MANY, execution=execution, seed=0),
    )


def _images(
    test: Dataset,
    predictors: tuple[ModelPredictor, ModelPredictor],
    models: int,
    options: PartOptions,
) -> int:
    """Return how many test images can be scored in the time that is left."""
    tried = Subset(test, thin(range(len(test)), TRIED, seed=0))
    for _ in range(2):  # the first compiles
        started = time.monotonic()
        score_dataset(predictors[0], tried, batch=BATCH[FEW])
        _score_many(predictors[1], tried)
        seconds = (time.monotonic() - started) / len(tried)
    print(f"{seconds:.4f} s an image", flush=True)
    fitting = int(0.7 * options.seconds_left() / models / seconds)
    return max(min(fitting, len(test)), min(TRIED, len(test)))


def _score_many(predict: ModelPredictor, test: Dataset) -> Scores:
    scores: Scores = {"base": {name: [] for name in OF_MANY}}
    for start, batch in batches(test, BATCH[MANY]):
        for name, values in evaluate(predict(batch, start)["base"][0], OF_MANY).items():
            scores["base"][name].extend(values.tolist())
    return scores


def write_images(out: Path, name: str, scores: Mapping[str, Scores]) -> None:
    """Write each image's scores, which take some megabytes, beside the page's numbers."""
    with atomic_file(out / f"scores-{name}.json.gz") as file:
        file.write_bytes(gzip.compress(json.dumps(finite(scores)).encode(), mtime=0))


def _data(training: Path, options: PartOptions) -> Data:
    """Return the data of a training's cell, split as in its run."""
    name = training.parents[2].name
    settings = DataSettings(crop=16 if options.small else None)  # split by patient
    return prepare(open_dataset(name, root=options.data_root), settings, 0)


def _draw_gini(values: Mapping[str, Any], names: Sequence[str], out: Path) -> None:
    from benchmarks.reports.figures import COLOURS, write_figure
    from probseg.plots import gini_curves

    curves = {}
    for name in names:
        rounds = [r for r in values[name]["history"] if "prior/gini" in r]
        if len(rounds) > 1:
            curves[name] = [([r["step"] for r in rounds], [r["prior/gini"] for r in rounds])]
    if curves:
        figure = gini_curves({"profile paper, fold 0, seed 0": curves}, colours=COLOURS)
        write_figure(out / "gini.png", figure)


def _draw_samples(recorders: Mapping[str, PictureRecorder], out: Path) -> None:
    from benchmarks.reports.figures import case_of, overview, write_figure

    indices = next(iter(recorders.values())).pictures
    cases = [case_of({n: r.pictures[i] for n, r in recorders.items()}) for i in indices]
    write_figure(out / "samples.png", overview(cases, title="test images, profile paper, fold 0"))
