"""Calibration after training: a scale of the prior and a temperature, chosen on validation data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probseg.calibration import Calibration
from probseg.datasets.batches import data_title
from probseg.datasets.views import as_dataset
from probseg.errors import DataError, InputError
from probseg.interfaces import Dataset, Evaluation, Metric
from probseg.metrics.evaluation import shared
from probseg.metrics.ged import GED
from probseg.metrics.intervals import Values, mean_interval
from probseg.metrics.mean_maps import mean_maps
from probseg.metrics.model_evaluation import evaluate
from probseg.utils.devices import to_float64
from probseg.utils.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

PRIOR_SCALES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)
TEMPERATURES = tuple(round(2 ** (step / 8), 3) for step in range(-16, 17))  # 0.25 to 4
_LEAST = 1e-12  # probability whose logarithm is taken
_OTHER = 2.0  # temperature that tells whether samples depend on it


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

    @property
    def remarks(self) -> list[str]:
        """What to know before the values are believed."""
        return [remark for one in self.candidates if (remark := one.remark)]

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
    prior_scale: bool = True,
    stratified: bool = False,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> CalibrationResult:
    """Choose a model's :attr:`calibration` on images that it did not learn from, and set it.

    The scale of the prior is the one of :data:`PRIOR_SCALES` with the least GED of n samples; it
    changes how much samples differ. The temperature is then the one of :data:`TEMPERATURES` with
    the least cross-entropy of the annotators' shares and the samples' mean; it changes
    probabilities (Brier score, calibration errors) and not the most probable classes. Of the values
    that are not worse than the best by more than noise (a 95 % bootstrap interval over groups, such
    as patients), the nearest to 1 is taken, for other images differ from these. Save the model to
    keep the result.

    References:
        Guo et al., On Calibration of Modern Neural Networks, 2017 (temperature).
        Breiman et al., Classification and Regression Trees, 1984 (the smallest change that is as
        good).

    Args:
        model: Such as :func:`probseg.fit` returns; an earlier calibration is replaced.
        validation: Images and their annotations. Do not report scores on these.
        n: Samples of each image, as many as the model will be used with.
        prior_scale: Whether to choose the scale, where the model has one.
        stratified: Whether the samples are stratified, as in :func:`probseg.evaluate`.
        device: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".
        seed: Of the samples.
        progress: Whether to show a progress bar where the output is a terminal.

    Raises:
        DataError: There is no image.
        InputError: The model has no calibration or its samples do not depend on it, its prior has
            no scale, or it does not fit the data.
        OptionError: A number is out of range, or the device is not on this machine.
    """
    data = as_dataset(validation)
    if not len(data):
        raise DataError(f"data set {data_title(data)!r} has no image to calibrate on")
    _check_calibrated(model, data)
    how: dict[str, Any] = {
        "n": n,
        "stratified": stratified,
        "device": device,
        "seed": seed,
        "latent": False,
        "progress": False,
    }
    scales = PRIOR_SCALES if prior_scale and model.prior_can_be_scaled else ()
    before, model.calibration = model.calibration, None
    try:
        with progress_bar("calibrating", len(scales) + 1, show=None if progress else False) as step:
            candidates, chosen = [], Calibration()
            if scales:
                values = {}
                for scale in scales:
                    model.calibration = Calibration(prior_scale=scale)
                    values[scale] = _values(model, data, {"ged": GED()}, how)["ged"]
                    step(1)
                candidates.append(Candidates.of("prior_scale", "GED", values, data.groups))
                chosen = Calibration(prior_scale=candidates[-1].chosen)
            model.calibration = chosen
            metrics = {_titled(value): MeanCrossEntropy(value) for value in TEMPERATURES}
            entropies = _values(model, data, metrics, how)
            step(1)
        by_value = {value: entropies[_titled(value)] for value in TEMPERATURES}
        candidates.append(Candidates.of("temperature", "cross-entropy", by_value, data.groups))
        model.calibration = replace(chosen, temperature=candidates[-1].chosen)
    except BaseException:
        model.calibration = before
        raise
    return CalibrationResult(model.calibration, candidates, len(data))


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


def _values(
    model: Any, data: Dataset, metrics: Mapping[str, Metric], how: Mapping[str, Any]
) -> Mapping[str, Values]:
    """Return the values of metrics.

    Raises:
        InputError: One has none.
    """
    scores = evaluate(model, data, metrics=metrics, **how)
    for metric, reason in scores.problems.items():
        raise InputError(f"the model cannot be calibrated, as {metric} has no value: {reason}")
    return scores.per_image


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
    weight, training, before = next(model.parameters()), model.training, model.calibration
    image = data[0].image[None].to(weight)
    drawn = []
    try:
        for temperature in (1.0, _OTHER):
            model.eval().calibration = Calibration(temperature)
            generator = torch.Generator(image.device).manual_seed(0)
            drawn.append(model.sample(image, 1, generator=generator))
    finally:
        model.train(training).calibration = before
    expected = Calibration(_OTHER).of_probabilities(drawn[0])
    if not torch.allclose(drawn[1], expected, atol=1e-3):
        raise InputError(
            f"samples of {model.spec['name']!r} do not depend on its calibration: its sample() "
            "must return self.calibration.probabilities(logits)"
        )
