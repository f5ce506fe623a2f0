"""One cell's job: train or load, evaluate, keep pictures, write the result."""

from __future__ import annotations

import time
import traceback
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.execution.locks import held
from benchmarks.execution.place import Place
from benchmarks.jobs import pictures, provenance
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.data import Data, prepare
from benchmarks.jobs.picture_recorder import PictureRecorder, choose_images
from benchmarks.jobs.predictors import ModelPredictor, baseline_predictor
from benchmarks.jobs.results import (
    Result,
    TestImages,
    Timings,
    finished,
    make_room,
    means,
    result_path,
    write_result,
)
from benchmarks.jobs.scoring import Predictor, Scorer, Scores
from benchmarks.jobs.train import Trained, train
from probseg.interfaces import Dataset
from probseg.training.determinism import deterministic
from probseg.training.execution import choose_execution
from probseg.utils.atomic_files import WriteError, sweep, write_json


def run(cell: Cell, dataset: Dataset, place: Place, *, wait: bool = True) -> Result:
    """Do a cell and write its result or its failure; training goes on where it stopped.

    Of several runs in one folder, one does the cell and the others find its result.

    Args:
        cell: What to do.
        dataset: On what.
        place: Where.
        wait: Whether to wait for another run that is at work on the cell.

    Raises:
        BusyError: Another run is at work on the cell, and there was to be no waiting.
        ProbsegError: Something the user can mend.
    """
    with held(cell.key, place.out, wait=wait):
        make_room(cell, place.out, dataset.fingerprint)
        kept = finished(cell, place.out, dataset.fingerprint)
        return kept or _attempt(cell, dataset, place)


def _attempt(cell: Cell, dataset: Dataset, place: Place) -> Result:
    path = result_path(cell, place.out)
    sweep(path.parent)
    try:
        with deterministic(place.device):
            return write_result(path, _do(cell, dataset, place))
    except WriteError:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        origin = provenance.collect(place.device)
        write_result(path, Result(cell=cell, provenance=origin, error=trace))
        raise


def _do(cell: Cell, dataset: Dataset, place: Place) -> Result:
    folder = cell.folder(place.out)
    data = prepare(dataset, cell.data_settings, cell.fold)
    started = time.monotonic()
    write_json(folder / "split.json", asdict(data.split))
    trained = train(cell, data, place) if cell.trained else None
    predictor = make_predictor(cell, data, trained, place)
    evaluating = time.monotonic()
    scores = _score(cell, data, predictor, folder)
    return Result(
        cell=cell,
        provenance=provenance.collect(place.device),
        data=data.summary(),
        timings=Timings(
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            training_s=trained.fit.seconds if trained else 0.0,
            evaluation_s=time.monotonic() - evaluating,
            wall_s=time.monotonic() - started,
        ),
        training=trained.summary() if trained else None,
        history=[dict(record) for record in trained.fit.history] if trained else [],
        images=TestImages(
            index=[int(index) for index in data.test_index],
            group=[str(group) for group in data.test.groups],
        ),
        scores=scores,
        means=means(scores),
    )


def make_predictor(cell: Cell, data: Data, trained: Trained | None, place: Place) -> Predictor:
    """Return what predicts for a cell: its trained model, or its baseline."""
    if trained is None:
        assert cell.baseline is not None
        return baseline_predictor(cell.baseline, data.source.classes)
    assert cell.seed is not None
    settings = cell.evaluation_settings
    return ModelPredictor(
        trained.model,
        settings.n_eval,
        execution=choose_execution(trained.settings),
        seed=cell.seed,
        projected=settings.projected,
        latents=settings.latents,
        others=data.validation,
    )


def _score(cell: Cell, data: Data, predictor: Predictor, folder: Path) -> Scores:
    recorder = PictureRecorder(choose_images(data.test))
    batch = cell.evaluation_settings.evaluation_batch
    scores = Scorer(predictor, batch=batch, watch=recorder.watch).run(data.test)
    pictures.save(folder / pictures.FILE, recorder.pictures)
    return scores
