"""Calibration after training: a scale of the prior and a temperature, chosen on validation data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from probseg.calibration import Calibration, samples_follow
from probseg.datasets.batches import data_title
from probseg.datasets.mask_kinds import is_soft
from probseg.datasets.views import as_dataset
from probseg.errors import DataError, InputError, OptionError
from probseg.interfaces import Dataset, Evaluation, Metric
from probseg.metrics.evaluation import shared
from probseg.metrics.ged import GED
from probseg.metrics.intervals import Values, mean_interval
from probseg.metrics.mean_maps import mean_maps
from probseg.metrics.model_evaluation import evaluate
from probseg.metrics.scores import FEW_GROUPS, Scores
from probseg.utils.contexts import evaluating
from probseg.utils.devices import to_float64
from probseg.utils.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

PRIOR_SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)
TEMPERATURES = tuple(round(2 ** (step / 8), 3) for step in range(-16, 17))  # 0.25 to 4
_LEAST = 1e-12  # probability whose logarithm is taken
_MANY = 1_000_000  # samples, whose GED is that of the model


@dataclass(frozen=True)
class Candidates:
    """The values of one number that were tried, and what each gave.

    Args:
        number: Its name in :class:`probseg.calibration.Calibration`.
        measure: What the best value has least of.
        means: Value to the mean of the measure over the images.
        best: The value of the least mean.
        chosen: The value nearest to 1 that is not worse than the best by more than noise.
    """

    number: str
    measure: str
    means: Mapping[float, float]
    best: float
    chosen: float

    @classmethod
    def of(
        cls, number: str, measure: str, values: Mapping[float, Values], groups: Sequence[str]
    ) -> Candidates:
        """Compare values (N,) of each candidate on the same images."""

        def change(value: float) -> float:
            return abs(math.log(value))

        means = {value: float(each.mean()) for value, each in values.items()}
        best = min(means, key=lambda value: (means[value], change(value)))

        def as_good(value: float) -> bool:
            low, _ = mean_interval(values[value] - values[best], groups)
            return value == best or not low > 0  # of one group it is NaN

        return cls(number, measure, means, best, min(filter(as_good, means), key=change))

    @property
    def remark(self) -> str | None:
        """What to know before the value is believed."""
        if self.chosen != self.best:
            return (
                f"{self.number} {self.best:g} has the least {self.measure} on these images, but "
                f"not less than {self.chosen:g} by more than noise"
            )
        if self.chosen in (min(self.means), max(self.means)):
            return f"{self.number} {self.chosen:g} is the last value that was tried"
        return None


@dataclass(frozen=True)
class CalibrationResult:
    """What :func:`calibrate` chose, and from what."""

    calibration: Calibration
    candidates: Sequence[Candidates]
    images: int
    remarks: Sequence[str] = ()
    """What to know before the values are believed."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield a table of what was chosen."""
        from rich.table import Table
        from rich.text import Text

        lines = [f"chosen on {self.images} images", *self.remarks]
        table = Table(title="Calibration", caption=Text("\n".join(lines)))
        table.add_column("number")
        for heading in ("chosen", "measure", "at 1", "as chosen", "at the best"):
            table.add_column(heading, justify="left" if heading == "measure" else "right")
        for one in self.candidates:
            means = (f"{one.means[value]:.4f}" for value in (1.0, one.chosen, one.best))
            name = one.number.replace("_", " ")
            table.add_row(name, f"{one.chosen:g}", one.measure, *means)
        yield table


def calibrate(
    model: Any,
    validation: Dataset,
    n: int = 16,
    *,
    scale_prior: bool = True,
    stratified: bool = False,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> CalibrationResult:
    """Choose a model's :attr:`calibration` on images that it did not learn from, and set it.

    The scale of the prior is the one of :data:`PRIOR_SCALES` with the least GED; it changes how
    much samples differ. GED is that of very many samples, estimated without bias, for that of a few
    samples is least where they differ too little. The temperature is then the one of
    :data:`TEMPERATURES` with the least cross-entropy of the annotators' shares and the samples'
    mean; it changes probabilities (Brier score, calibration errors), and not the most probable
    classes of a sample. Of the values that are not worse than the best by more than noise (a 95 %
    bootstrap interval over groups, such as patients), the nearest to 1 is taken, for other images
    differ from these. Save the model to keep the result.

    References:
        Guo et al., On Calibration of Modern Neural Networks, 2017 (temperature).
        Breiman et al., Classification and Regression Trees, 1984 (the smallest change that is as
        good).

    Args:
        model: Such as :func:`probseg.fit` returns; an earlier calibration is replaced.
        validation: Images and their annotations. Do not report scores on these.
        n: Samples of each image.
        scale_prior: Whether to choose the scale, where the model has one; else it is 1.
        stratified: Whether the samples are stratified, as in :func:`probseg.evaluate`.
        device: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".
        seed: Of the samples.
        progress: Whether to show a progress bar where the output is a terminal.

    Raises:
        DataError: There is no image.
        InputError: The model has no calibration or its samples do not depend on it, its prior has
            no scale, it does not fit the data, or these have soft masks.
        OptionError: A number is out of range, or the device is not on this machine.
    """
    data = as_dataset(validation)
    if not len(data):
        raise DataError(f"data set {data_title(data)!r} has no image to calibrate on")
    if is_soft(data):
        raise InputError(
            f"data set {data_title(data)!r} has soft masks, and a model is calibrated by the share "
            "of annotators who agree; give masks of classes (threshold= makes them)"
        )
    scales = PRIOR_SCALES if scale_prior and _has_scale(model) else ()
    if scales and n == 1:
        raise OptionError(
            "the scale of the prior needs n=2 or more, since a single sample has no spread; pass "
            "scale_prior=False for the temperature alone"
        )
    _check_calibrated(model, data)
    how: dict[str, Any] = {
        "n": n,
        "stratified": stratified,
        "device": device,
        "seed": seed,
        "latent": False,
        "progress": False,
    }
    # of stratified samples GED is taken as it is, with each sample's distance to itself
    metrics: dict[str, Metric] = {"ged": GED() if stratified else GED(samples=_MANY)}
    before, model.calibration = model.calibration, None
    try:
        with progress_bar("calibrating", len(scales) + 1, show=None if progress else False) as step:
            candidates, chosen = [], Calibration()
            if scales:
                values = {}
                for scale in scales:
                    model.calibration = Calibration(prior_scale=scale)
                    values[scale] = _scores(model, data, metrics, how)["ged"]
                    step(1)
                candidates.append(Candidates.of("prior_scale", "GED", values, data.groups))
                chosen = Calibration(prior_scale=candidates[-1].chosen)
            model.calibration = chosen
            entropies = {_titled(value): MeanCrossEntropy(value) for value in TEMPERATURES}
            scores = _scores(model, data, entropies, how)
            step(1)
        by_value = {value: scores[_titled(value)] for value in TEMPERATURES}
        candidates.append(Candidates.of("temperature", "cross-entropy", by_value, data.groups))
        model.calibration = replace(chosen, temperature=candidates[-1].chosen)
    except BaseException:
        model.calibration = before
        raise
    groups = len(set(data.groups))
    few = [f"the choice is rough, as the images are of few groups: {groups}"] * (
        groups < FEW_GROUPS
    )
    remarks = [*few, *scores.remarks, *(one.remark for one in candidates if one.remark)]
    return CalibrationResult(model.calibration, candidates, len(data), remarks)


@dataclass(frozen=True)
class MeanCrossEntropy:
    r"""The mean over pixels of −Σ_k q_k log p_k, with the samples at a temperature.

    Here p is the samples' mean probability of a class and q the share of the annotators who gave
    the pixel that class. Pixels that nobody labelled are left out.

    Args:
        temperature: Of the samples, whose logits are divided by it.
    """

    temperature: float = 1.0
    higher_is_better = False

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return the mean of each image, (B,)."""
        means = shared(evaluation, mean_maps)
        samples = Calibration(self.temperature).of_probabilities(evaluation.probabilities)
        p = to_float64(samples.mean(1)).clamp(min=_LEAST)
        entropy = -(means.annotators * p.log()).sum(1)  # of what nobody labelled 0
        return entropy.sum((1, 2)) / means.labelled.sum((1, 2))


def _titled(temperature: float) -> str:
    return f"the cross-entropy at the temperature {temperature:g}"


def _scores(
    model: Any, data: Dataset, metrics: Mapping[str, Metric], how: Mapping[str, Any]
) -> Scores:
    """Return the values of metrics, each of which has one on every image.

    Raises:
        InputError: One has not.
    """
    scores = evaluate(model, data, metrics=metrics, **how)
    for metric, reason in scores.problems.items():
        raise InputError(f"the model cannot be calibrated, as {metric} has no value: {reason}")
    for metric, values in scores.items():
        if not np.isfinite(values).all():
            raise InputError(
                f"the model cannot be calibrated, as {metric} is not finite on an image; are its "
                "weights and samples?"
            )
    return scores


def _has_scale(model: Any) -> bool:
    """Return whether a model has a prior whose scale can be multiplied."""
    return bool(getattr(model, "prior_can_be_scaled", False))


@torch.no_grad()
def _check_calibrated(model: Any, data: Dataset) -> None:
    """Check that a model has a calibration, and that its samples depend on it.

    Raises:
        InputError: It has none, or they do not.
    """
    if not isinstance(getattr(model, "calibration", None), Calibration):
        raise InputError(
            f"a model of class {type(model).__name__} has no calibration; models of probseg have "
            "one, and so have subclasses of probseg.models.base.ProbabilisticModel"
        )
    image = data[0].image[None].to(next(model.parameters()))
    with evaluating(model):
        follow = samples_follow(model, image)
    if not follow:
        raise InputError(
            f"samples of {model.spec['name']!r} do not depend on its calibration: its sample() "
            "must return self.calibration.probabilities(logits)"
        )
