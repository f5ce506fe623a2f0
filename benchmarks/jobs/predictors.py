"""Predictors of the benchmark: a trained model with its variants, and baselines.

A baseline needs no training. It turns the annotations (B, A, H, W) of some images into evaluations,
over which every metric is averaged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from probseg.errors import DataError, OptionError
from probseg.interfaces import Batch, Dataset, Evaluation
from probseg.metrics.model_evaluation import (
    Predictions,
    Predictor,
    Sampler,
    check_stratified,
)
from probseg.training.execution import Execution
from probseg.utils.seeding import seeded
from probseg.utils.tensors import certain


def make_sampler(model: Any, n: int, *, execution: Execution, seed: int) -> Sampler:
    """Return what samples a model, now moved to the device, as it was trained."""
    layout = torch.channels_last if execution.channels_last else torch.contiguous_format
    model.to(device=execution.device, memory_format=layout).eval()
    return Sampler(model, n, seed=seed, **execution._asdict())


@dataclass(frozen=True)
class ModelPredictor:
    """Samples a model: its prior ("base"), and whatever else is asked for.

    Raises:
        OptionError: Latents are to be replaced, and the model decodes none that it is given.
        InputError: Samples are to be stratified, and the model has no such ones.
    """

    sampler: Sampler
    projected: bool = False  # whether to sample the projected prior as well
    stratified: bool = False  # whether to draw stratified samples as well
    # What else to decode in place of the prior's samples, to see whether the model uses them:
    # "noise" of N(0, I), "swapped" for those of another image's prior.
    latents: Collection[str] = ()
    others: Dataset | None = None  # where the other images come from

    def __post_init__(self) -> None:
        model = self.sampler.model
        if self.latents and not hasattr(model, "decode"):
            raise OptionError(f"{model.spec['name']} decodes no latents, so none can be replaced")
        if self.stratified:
            check_stratified(model)

    @torch.no_grad()
    def __call__(self, batch: Batch, start: int) -> Predictions:
        """Return one evaluation for each variant."""
        batch = self.sampler.place(batch)
        with self.sampler.autocast():
            base = self.sampler(batch, start)
            predictions = {"base": [base]}
            if self.projected:
                samples = self.sampler.sample(batch.image, start, projected=True)
                predictions["projected"] = [replace(base, probabilities=samples)]
            alone = replace(base, prior=None, posterior=None)  # whose scores "base" has
            if self.stratified:
                samples = self.sampler.sample(batch.image, start, stratified=True)
                predictions["stratified"] = [replace(alone, probabilities=samples)]
            for name in self.latents:
                samples = self._decode(name, batch.image, start)
                predictions[name] = [replace(alone, probabilities=samples)]
        return predictions

    def _decode(self, name: str, image: Tensor, start: int) -> Tensor:
        """Return what is decoded from other latents, drawn with the numbers of the base prior's."""
        model = self.sampler.model
        if name == "noise":
            location = image.new_zeros(len(image), model.latent_dim)
            density: Distribution = Independent(Normal(location, torch.ones_like(location)), 1)
        else:
            density = self._prior_of_others(start, len(image))
        with seeded(self.sampler.generator(start), self.sampler.device):
            latents = density.sample((self.sampler.n,))
        samples: Tensor = model.decode(image, latents)
        return samples.transpose(0, 1).float()

    def _prior_of_others(self, start: int, count: int) -> Distribution:
        assert self.others is not None
        indices = [index % len(self.others) for index in range(start, start + count)]
        images = self.sampler.place(self.others.batch(indices)).image
        density: Distribution = self.sampler.model.prior(images)
        return density


class TooFewAnnotatorsError(DataError):
    """A baseline compares annotators with each other, and an image has a single one."""


def baseline_predictor(name: str, classes: int, ignore_index: int | None = None) -> Predictor:
    """Return the predictor of a baseline, whose predictions are certain.

    Where an annotator did not label, the annotation as a prediction is background.
    """

    def evaluations(masks: Tensor) -> Iterator[Evaluation]:
        for predicted, reference in _compared(name, masks):
            labelled = predicted.where(predicted < classes, 0)
            yield Evaluation(certain(labelled, classes), reference, ignore_index=ignore_index)

    return lambda batch, start: {"base": list(evaluations(batch.masks))}


def _compared(baseline: str, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a baseline predicts, and the annotations that this is compared with.

    The annotators as samples are compared with all of them, as models are. It has seen all
    annotations but one, so that of many annotators hardly a model comes near; yet it is no bound:
    of two annotators it is one mask, and its masks are certain where they are wrong.
    """
    if baseline == "always-empty":
        yield torch.zeros_like(masks[:, :1]), masks
        return
    count = masks.shape[1]
    if count < 2:
        raise TooFewAnnotatorsError("leaving one annotator out needs two of them")
    for index in range(count):
        one, rest = masks[:, [index]], masks[:, [i for i in range(count) if i != index]]
        yield (rest, masks) if baseline == "annotators" else (one, rest)
