"""Fit a model to annotations: ``fit(model, train, validation, settings)``."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import nn

from probseg.calibration import Calibration, calibration_of
from probseg.datasets.batches import data_title
from probseg.datasets.mask_kinds import check_ignores, is_soft
from probseg.datasets.preprocessing import Preprocessing, preprocessing_of
from probseg.datasets.views import Annotated, as_dataset
from probseg.errors import InputError, OptionError
from probseg.interfaces import Dataset
from probseg.options import check_options, listing, named_parameters
from probseg.training.annealing import tell_long_annealing
from probseg.training.checkpoints import (
    CODE,
    Run,
    RunCheckpoint,
    load_best,
    read_run,
)
from probseg.training.data import TrainingData
from probseg.training.distributed import process_errors
from probseg.training.execution import choose_execution, deterministic, kept_memory
from probseg.training.latent_health import tell_one_annotator
from probseg.training.module import TrainingModule
from probseg.training.monitor import MetricMonitor, Monitor, Record
from probseg.training.settings import LOSS, TrainingSettings
from probseg.training.trainer import (
    StepProgress,
    make_trainer,
    run_trainer,
    silenced_lightning,
)
from probseg.utils.atomic_files import sweep, write_json
from probseg.utils.progress import progress_bar

logger = logging.getLogger("probseg.training")

# Settings that may differ between a run and the one that goes on from it, by schedule: a cosine's
# end decides every step.
_CHANGEABLE = {
    "constant": ("max_steps", "device", "devices"),
    "cosine": ("device", "devices"),
}


# Settings that older runs do not have, and what those did.
_ADDED = {
    "monitor": LOSS,
    "annealing": 0,
    "annealing_cycles": 1,
    "geco": None,
    "geco_rate": 0.01,
    "geco_decay": 0.99,
}


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The result of a training run.

    Each record of ``history`` is one validation round: "step", "seconds" (of training so far),
    "train/<term>" (mean over the steps since the last one), "validation/<term>",
    "train/gradient_norm" (before clipping), and "prior/gini" for a model with a prior, or
    "prior/scale_0/gini" and so on for one with several. The sum of the terms is "loss"; in
    training, of the terms times their weights (``annealing``, ``geco``). With ``geco`` there are
    "train/geco_multiplier", the cross-entropy's weight, and "train/geco_constraint", by which share
    it costs more than it is to, as a moving average.
    """

    best_validation_loss: float  # at the best step
    best_value: float  # of what was monitored
    best_step: int
    best_path: Path | None  # of the model with the best weights, for probseg.load
    steps: int
    seconds: float
    stopped_early: bool
    micro_batch: int | None  # images at a time since memory ran out; None where it never did
    history: list[Record] = field(repr=False)


def fit(
    model: nn.Module,
    train: Dataset,
    validation: Dataset,
    settings: TrainingSettings | None = None,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> FitResult:
    """Minimise the sum of the model's loss terms, and leave its best weights in it.

    Each step draws one annotator per image, unless ``settings.annotator`` says otherwise. A round
    of validation follows every ``settings.validate_every`` steps; the run ends after
    ``settings.patience`` rounds without a lower validation loss (or a better metric:
    ``settings.monitor``), or after ``settings.max_steps``.
    With ``out``, an interrupted run goes on from its last complete round when it is called again;
    on a CPU the result is then the one of an uninterrupted run, to the bit. Where memory runs out,
    a step is taken again with half as many images at a time, and so are all later ones.

    The model gets the ``preprocessing`` of the training data, which its files carry.

    Args:
        model: A :class:`probseg.interfaces.Model`; it ends on the CPU, in evaluation mode.
        train: Images to learn from.
        validation: Images that decide when to stop and which weights are best.
        settings: How to train; by default as :class:`TrainingSettings` is made of ``options``.
        out: Folder for ``best.safetensors``, ``last.ckpt``, ``history.json``, ``run.json`` (what
            was trained, how and on what) and TensorBoard's log; None keeps nothing.
        progress: Whether to show a progress bar where the output is a terminal.
        callbacks: More of Lightning's, such as :class:`probseg.training.LatentHealth`; what they
            log is part of the history's records.
        **options: Those of :class:`TrainingSettings`: ``batch_size``, ``max_steps``, …

    Raises:
        OptionError: An option is unknown or out of range, or there are settings as well.
        InputError: The model does not take the data's channels or classes, soft masks, or pixels
            that nobody labelled; it has no weights in single precision to train; or the images of
            the two data sets were preprocessed in different ways.
        DataError: A data set is empty, or holds NaN or unknown classes.
        NonFiniteError: The loss or its gradient became NaN or infinite.
        MemoryLimitError: Not even one image at a time fits into the memory.
        CheckpointError: ``out`` holds another run, or a corrupt checkpoint.
        WriteError: ``out`` cannot be written.
    """
    _check_place(options, model)
    settings = _settings(settings, options)
    monitor = Monitor.of(settings)
    model = _trainable(model)
    train, validation = (as_dataset(data) for data in (train, validation))
    for dataset in (train, validation):
        _check_fits(model, dataset)
    _check_alike(train, validation)
    if monitor.name != LOSS:
        measure = MetricMonitor(monitor, validation, seed=settings.seed)
        callbacks = [measure, *callbacks]
    tell_one_annotator(model, train)
    tell_long_annealing(
        settings.annealing, cycles=settings.annealing_cycles, max_steps=settings.max_steps
    )
    if settings.annotator != "random":
        train, validation = (Annotated(side, settings.annotator) for side in (train, validation))
    everybody = getattr(model, "all_annotators", False)
    data = TrainingData(train, validation, settings, absent=everybody)
    _check_labels(model, data)
    _drop_calibration(model)
    identity = _identity(model, data)
    with ExitStack() as stack:
        folder = Path(out or stack.enter_context(tempfile.TemporaryDirectory())).expanduser()
        run = read_run(folder, identity, monitor)
        if isinstance(getattr(model, "preprocessing", None), (Preprocessing, NoneType)):
            learnt: Any = preprocessing_of(train)
            model.preprocessing = learnt
        sweep(folder)
        if not run.is_over(settings):
            write_json(folder / "run.json", identity)
            checkpoint = RunCheckpoint(folder, run, identity, settings)
            if progress and settings.devices == 1:  # other processes cannot reach the terminal
                bar = progress_bar("training", settings.max_steps, completed=run.steps)
                callbacks = [StepProgress(stack.enter_context(bar)), *callbacks]
            _train(model, data, run, checkpoint=checkpoint, callbacks=callbacks, log=bool(out))
            # other processes kept theirs in their own memory
            run = read_run(folder, identity, monitor)
        best = load_best(model.eval(), folder)
        return _result(run, settings, best if out else None)


def _drop_calibration(model: Any) -> None:
    """Take away the calibration, which was chosen for the weights before training."""
    calibration = calibration_of(model)
    if calibration != Calibration():
        logger.warning(
            "the model's calibration (%s) is dropped, as training changes the weights that it was "
            "chosen for; call probseg.calibrate afterwards",
            calibration,
        )
        model.calibration = None


def _check_place(options: Iterable[str], model: Any) -> None:
    """Check that no option is one of the model, which is built already.

    Raises:
        OptionError: One is.
    """
    spec = getattr(model, "spec", {})
    for option in options:
        if option not in named_parameters(TrainingSettings) and option in spec:
            raise OptionError(
                f"fit has no option {option!r}, which is one of the model: give it to "
                f"probseg.build({spec['name']!r}, {option}=…)"
            )


def _settings(settings: TrainingSettings | None, options: dict[str, Any]) -> TrainingSettings:
    if settings is None:
        return TrainingSettings(**check_options(TrainingSettings, options, owner="fit"))
    if options:
        raise OptionError(
            f"fit takes settings or {', '.join(options)}, not both; put them into the settings"
        )
    return settings


def _train(
    model: nn.Module,
    data: TrainingData,
    run: Run,
    *,
    checkpoint: RunCheckpoint,
    callbacks: Sequence[Callback],
    log: bool,
) -> None:
    """Go on from what ``run`` left to the end of training."""
    execution = choose_execution(data.settings)
    steps = data.settings.max_steps - run.steps
    rounds = len(run.history) + -(-steps // data.steps_per_validation)
    module = TrainingModule(
        model.train(),
        data.settings,
        channels_last=execution.channels_last,
        micro_batch=run.micro_batch,
        ignore_index=data.ignore_index,
    )
    with (
        deterministic(execution.device),
        torch.random.fork_rng([execution.device] if execution.device.type == "cuda" else []),
        silenced_lightning(),
        kept_memory(),
        process_errors(),
    ):
        trainer = make_trainer(
            *(data.settings, execution, checkpoint), rounds=rounds, callbacks=callbacks, log=log
        )
        run_trainer(trainer, module, data, ckpt_path=run.checkpoint, weights_only=True)


def _identity(model: Any, data: TrainingData) -> dict[str, Any]:
    """Return what a run must share with the one that it goes on from, as plain data."""
    settings = asdict(data.settings)
    for name, default in _ADDED.items():
        if settings[name] == default:
            del settings[name]
    changeable = _CHANGEABLE[data.settings.schedule]
    # the first difference is the one that is told, and other data mean other options as well
    identity = {
        "seed": settings["seed"],
        "annotator": settings["annotator"],  # of whom the fingerprints tell, too
        "training data": data.train.fingerprint,
        "validation data": data.validation.fingerprint,
        **{name: settings[name] for name in settings if name not in changeable},
        "training code": CODE,
        "model": model.spec,
    }
    return dict(json.loads(json.dumps(identity)))


def _trainable(model: nn.Module) -> nn.Module:
    """Return the model without ``torch.compile``'s wrapper, whose weights can be trained.

    Raises:
        InputError: None of its weights is to be trained, or one is not in single precision.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise InputError(
            "no weight of the model is to be trained, as requires_grad is False for all of them; "
            "call model.requires_grad_(True), or on the part that is to be trained"
        )
    if other := {str(weight.dtype) for weight in weights} - {str(torch.float32)}:
        raise InputError(
            f"fit trains weights in torch.float32, and the model has {listing(other)}; call "
            "model.float() first (precision='bf16' computes in half precision all the same)"
        )
    original: nn.Module = getattr(model, "_orig_mod", model)
    if original is not model:
        logger.warning(
            "torch.compile(model) compiles only model(...), which fit does not call; to compile "
            "the networks, pass compile=True"
        )
    return original


def _check_fits(model: Any, dataset: Dataset) -> None:
    for option in ("in_channels", "classes"):
        has, wants = getattr(model, option), getattr(dataset, option.removeprefix("in_"))
        if has != wants:
            raise InputError(
                f"the model has {option}={has}, but data set {data_title(dataset)!r} needs "
                f"{option}={wants}; build the model with that"
            )


def _check_alike(train: Dataset, validation: Dataset) -> None:
    """Check that nothing was done to the images of one data set only."""
    learnt, judged = preprocessing_of(train), preprocessing_of(validation)
    names = ("the training data", "the validation data")
    if learnt and judged and (differences := learnt.differences(judged, names)):
        raise InputError(f"{'; '.join(differences)}; open both data sets in the same way")


def _check_labels(model: Any, data: TrainingData) -> None:
    """Check that the loss of a model takes soft labels and pixels to ignore, if the data have any.

    Raises:
        InputError: It does not.
    """
    model_class = type(model).__name__
    for dataset in (data.train, data.validation):
        if is_soft(dataset) and not getattr(model, "soft_labels", False):
            raise InputError(
                f"data set {data_title(dataset)!r} has soft masks, which the loss of {model_class} "
                f"does not take; make two classes of them (threshold=0.5){_soft_too(model)}"
            )
        if is_soft(dataset) and dataset.classes != 2:
            raise InputError(
                f"soft masks are of two classes, but data set {data_title(dataset)!r} has "
                f"{dataset.classes}; learn a model for each class"
            )
    check_ignores(model, data.ignore_index)


def _soft_too(model: Any) -> str:
    if getattr(model, "all_annotators", False):
        return ""
    return (
        ", or, if the loss takes probabilities (B, K, H, W) as labels, set soft_labels = True in "
        "its class"
    )


def _result(run: Run, settings: TrainingSettings, best_path: Path | None) -> FitResult:
    monitor = Monitor.of(settings)
    best = monitor.best(run.history)
    return FitResult(
        best_validation_loss=best[Monitor().key],
        best_value=best[monitor.key],
        best_step=int(best["step"]),
        best_path=best_path,
        steps=run.steps,
        seconds=run.history[-1]["seconds"],
        stopped_early=run.stopped_early(settings),
        micro_batch=run.micro_batch,
        history=run.history,
    )
