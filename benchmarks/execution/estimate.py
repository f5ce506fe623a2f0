"""How long experiments take.

That is known from the validation rounds that they, or others like them, have kept, or estimated
from a few real steps on the real data. Nothing imports torch before it is needed.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.arguments import RunOptions
from benchmarks.execution.local import pools, threads
from benchmarks.jobs.plan import Experiment
from benchmarks.suite.settings import DataSettings, EvaluationSettings
from probseg.utils.progress import progress_bar

StepTimes = Mapping[str, float]  # kind of experiment to seconds a step

STEPS = 5  # that are timed, after as many others


class Estimate(NamedTuple):
    """What an experiment takes if its training does not stop early."""

    step: float  # seconds, with a share of the validation rounds and of the evaluation
    memory: int  # bytes at the peak: of its GPU, or else of its process


def kind(experiment: Experiment) -> str:
    """Return what experiments share that differ in nothing but fold and seed."""
    return replace(experiment, fold=None, seed=None).key


def validation_rounds(experiment: Experiment, out: Path) -> list[dict[str, Any]]:
    """Return the records of an experiment's validation rounds, as far as they can be read."""
    path = experiment.folder(out) / "training" / "history.json"
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return records if isinstance(records, list) else []


def max_steps(experiment: Experiment) -> int:
    """Return after how many steps an experiment's training ends at the latest, 0 for none."""
    if experiment.training is None:
        return 0
    if "max_steps" in experiment.training:
        return int(experiment.training["max_steps"])
    from probseg.training.settings import TrainingSettings

    return TrainingSettings.max_steps


def step_times(experiments: Iterable[Experiment], out: Path) -> dict[str, float]:
    """Return the seconds a step of each kind that was trained a round, with validation."""
    seen: dict[str, list[float]] = {}
    for experiment in experiments:
        records = validation_rounds(experiment, out)
        if experiment.trained and records:
            last = records[-1]
            seen.setdefault(kind(experiment), []).append(last["seconds"] / last["step"])
    return {name: statistics.fmean(values) for name, values in seen.items()}


def seconds_left(
    experiments: Sequence[Experiment], out: Path, times: StepTimes, *, at_once: int
) -> float | None:
    """Return how long experiments will train if none stops early, or None where no step was timed.

    A kind of experiment without a time counts as the mean of the others.
    """
    if not times:
        return None
    usual = statistics.fmean(times.values())
    each = [steps_left(one, out) * times.get(kind(one), usual) for one in experiments]
    return max([sum(each) / max(at_once, 1), *each], default=0.0)


def steps_left(experiment: Experiment, out: Path) -> int:
    """Return the steps until an experiment's training ends at the latest."""
    records = validation_rounds(experiment, out)
    done = int(records[-1]["step"]) if records else 0
    return max(0, max_steps(experiment) - done)


def duration(seconds: float) -> str:
    """Return a time in one or two units.

    >>> duration(42), duration(660), duration(7500), duration(200_000)
    ('42 s', '11 min', '2 h 5 min', '2 days 7 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def estimate_all(
    options: RunOptions, experiments: Iterable[Experiment]
) -> dict[str, Estimate | str]:
    """Return what each kind of trained experiment takes, or in one line why that is unknown.

    Each is measured in a new process, whose memory is then its own.
    """
    kinds = {kind(experiment): experiment for experiment in experiments if experiment.trained}
    found = {}
    with progress_bar("estimating", len(kinds)) as advance:
        for key, experiment in kinds.items():
            advance(0, experiment.label)
            with pools(1) as ((pool,), _):
                found[key] = pool.submit(estimate, options, experiment).result()
            advance(1)
    return found


def estimate(options: RunOptions, experiment: Experiment) -> Estimate | str:
    """Train an experiment for a few steps, predict a batch of its test images, and keep nothing."""
    from probseg.errors import ProbsegError

    try:
        with threads(options.threads_per_experiment):
            return _estimate(options, experiment)
    except ProbsegError as error:
        return str(error).splitlines()[0]


def _estimate(options: RunOptions, experiment: Experiment) -> Estimate:
    from benchmarks.jobs.data import dataset_of, prepare
    from benchmarks.jobs.experiment import Trained, build_model, make_predictor, training_settings
    from benchmarks.jobs.scoring import score_dataset
    from probseg.datasets.views import Subset
    from probseg.training.execution import choose_execution
    from probseg.training.fitting import fit

    dataset = dataset_of(experiment, options.data_root)
    data = prepare(dataset, DataSettings(**experiment.data), experiment.fold)
    settings = training_settings(experiment, options)
    size = settings.batch_size
    few = replace(settings, max_steps=2 * STEPS, validate_every=STEPS)
    model = build_model(experiment, data.train)
    seen = Subset(data.validation, range(len(data.validation))[:size])
    done = fit(model, data.train, seen, few, progress=False)
    warm, steady = (record["seconds"] for record in done.history)
    step = (steady - warm) / STEPS
    rounds = ceil(settings.max_steps / (settings.validate_every or ceil(len(data.train) / size)))
    validating = rounds * ceil(len(data.validation) / size) * step  # a batch takes less than a step
    batch = EvaluationSettings(**experiment.evaluation).evaluation_batch
    first = Subset(data.test, range(len(data.test))[:batch])
    started = time.monotonic()
    predictor = make_predictor(experiment, data, Trained(model, done, settings))
    score_dataset(predictor, first, batch=batch)
    evaluating = (time.monotonic() - started) * len(data.test) / len(first)
    device = str(choose_execution(settings).device)
    return Estimate(step + (validating + evaluating) / settings.max_steps, peak_memory(device))


def peak_memory(device: str) -> int:
    """Return the bytes that were in use at the most: on a GPU, or by this process."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # of getrusage
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
