"""One experiment: open the data, train, evaluate, keep pictures, write the result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import probseg
from benchmarks.arguments import RunOptions
from benchmarks.jobs import pictures, provenance, results
from benchmarks.jobs.card import card_of
from benchmarks.jobs.data import Data, dataset_of, prepare
from benchmarks.jobs.output_folder import held, set_aside
from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.predictors import ModelPredictor, baseline_predictor, make_sampler
from benchmarks.jobs.scoring import PictureRecorder, choose_images, score_dataset
from benchmarks.suite.settings import FROM_DATA, DataSettings, EvaluationSettings
from probseg.cli.train_defaults import class_prior
from probseg.datasets.mask_kinds import ignore_index_of
from probseg.datasets.views import annotated_by
from probseg.errors import CheckpointError
from probseg.interfaces import Dataset
from probseg.metrics.model_evaluation import Predictor
from probseg.sharing.cards import FACTS
from probseg.sharing.checkpoint import save
from probseg.training.execution import choose_execution, deterministic
from probseg.training.fitting import FitResult
from probseg.training.settings import TrainingSettings
from probseg.utils.atomic_files import WriteError, sweep, write_json


@dataclass(frozen=True)
class Trained:
    """A trained model with the course of its training."""

    model: Any
    fit: FitResult
    settings: TrainingSettings

    def summary(self) -> results.TrainingSummary:
        """Return the training of a result, without the history."""
        return results.TrainingSummary(
            spec=self.model.spec,
            parameters=sum(p.numel() for p in self.model.parameters()),
            steps=self.fit.steps,
            best_step=self.fit.best_step,
            best_validation_loss=self.fit.best_validation_loss,
            stopped_early=self.fit.stopped_early,
            micro_batch=self.fit.micro_batch,
        )


def run_experiment(
    experiment: Experiment, options: RunOptions, *, wait: bool = True
) -> results.Result:
    """Do an experiment and write its result or its failure; training goes on where it stopped.

    Of several runs in one folder, one does the experiment and the others read its result.

    Raises:
        BusyError: Another run does this experiment, and ``wait`` is false.
        ProbsegError: The experiment failed in a way that the user can mend.
    """
    dataset = dataset_of(experiment, options.data_root)
    with held(experiment.key, options.out, wait=wait):
        results.set_aside_unusable(experiment, options.out, dataset.fingerprint)
        kept = results.finished_result(experiment, options.out, dataset.fingerprint)
        return kept or _run(experiment, dataset, options)


def _run(experiment: Experiment, dataset: Dataset, options: RunOptions) -> results.Result:
    path = results.result_path(experiment, options.out)
    sweep(path.parent)
    try:
        with deterministic(options.device):
            result = _result(experiment, dataset, options)
            if result.training:
                card_of(result).write(path.with_name(FACTS))
            return results.write_result(path, result)
    except WriteError:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        origin = provenance.collect(options.device)
        failure = results.Result(experiment=experiment, provenance=origin, error=trace)
        results.write_result(path, failure)
        raise


def _result(experiment: Experiment, dataset: Dataset, options: RunOptions) -> results.Result:
    folder = experiment.folder(options.out)
    data = prepare(dataset, DataSettings(**experiment.data), experiment.fold)
    started = time.monotonic()
    write_json(folder / "split.json", asdict(data.split))
    trained = train(experiment, data, options) if experiment.trained else None
    predictor = make_predictor(experiment, data, trained)
    evaluating = time.monotonic()
    recorder = PictureRecorder(choose_images(data.test))
    batch = EvaluationSettings(**experiment.evaluation).evaluation_batch
    scores = score_dataset(recorder.recording(predictor), data.test, batch=batch)
    pictures.save(folder / pictures.FILE, recorder.pictures)
    return results.Result(
        experiment=experiment,
        provenance=provenance.collect(options.device),
        data=data.summary(),
        timings=results.Timings(
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            training_s=trained.fit.seconds if trained else 0.0,
            evaluation_s=time.monotonic() - evaluating,
            wall_s=time.monotonic() - started,
        ),
        training=trained.summary() if trained else None,
        history=[dict(record) for record in trained.fit.history] if trained else [],
        images=results.TestImages(
            [int(index) for index in data.test_index], [str(group) for group in data.test.groups]
        ),
        scores=scores,
        means=results.means(scores),
    )


def make_predictor(experiment: Experiment, data: Data, trained: Trained | None) -> Predictor:
    """Return what predicts for an experiment: its trained model, or its baseline."""
    if trained is None:
        assert experiment.baseline is not None
        return baseline_predictor(
            experiment.baseline, data.source.classes, ignore_index_of(data.source)
        )
    assert experiment.seed is not None
    settings = EvaluationSettings(**experiment.evaluation)
    execution = choose_execution(trained.settings)
    sampler = make_sampler(
        trained.model, settings.n_eval, execution=execution, seed=experiment.seed
    )
    return ModelPredictor(
        replace(sampler, ignore_index=ignore_index_of(data.source)),
        projected=settings.projected,
        stratified=settings.stratified,
        latents=settings.latents,
        others=data.validation,
    )


def train(experiment: Experiment, data: Data, options: RunOptions) -> Trained:
    """Train an experiment's model, going on where an earlier run stopped, and save it.

    Raises:
        ProbsegError: The model cannot be built or trained as the config says.
    """
    folder = experiment.folder(options.out)
    settings = training_settings(experiment, options)
    try:
        trained = _train(experiment, data, settings, folder / "training")
    except CheckpointError as error:  # of other code or data, or damaged
        set_aside(folder / "training", error)
        trained = _train(experiment, data, settings, folder / "training")
    save(trained.model, folder / "model.safetensors")
    return trained


def _train(experiment: Experiment, data: Data, settings: TrainingSettings, out: Path) -> Trained:
    model = build_model(experiment, data.train)
    learnt, held = (annotated_by(d, settings.annotator) for d in (data.train, data.validation))
    # the progress of the run stands where that of the training would
    done = probseg.fit(model, learnt, held, settings=settings, out=out, progress=False)
    return Trained(model, done, settings)


def build_model(experiment: Experiment, train: Dataset) -> Any:
    """Return an experiment's model before training, for the channels and classes of its data."""
    assert experiment.model is not None and experiment.seed is not None
    torch.manual_seed(experiment.seed)  # of the initial weights
    return probseg.build(like=train, **_with_counted_prior(experiment.model, train))


def _with_counted_prior(options: Mapping[str, Any], train: Dataset) -> dict[str, Any]:
    """Return a model's options with the class prior of the data, wherever one is to be counted."""

    def counted(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: counted(key, one) for key, one in value.items()}
        return class_prior(train) if (name, value) == ("class_prior", FROM_DATA) else value

    return {name: counted(name, value) for name, value in options.items()}


def training_settings(experiment: Experiment, options: RunOptions) -> TrainingSettings:
    """Return how an experiment is trained on this machine."""
    here = {"seed": experiment.seed, "device": options.device, "devices": options.devices}
    return TrainingSettings(**{**(experiment.training or {}), **here})
