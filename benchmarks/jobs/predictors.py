"""Predictors: what predicts for a batch of images, a trained model or a baseline.

A baseline needs no training. It turns the annotations (B, A, H, W) of some images into evaluations,
over which every metric is averaged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional

from benchmarks.jobs.scoring import Answers, Predictor
from probseg.datasets.annotators import choose_annotator
from probseg.errors import DataError, OptionError
from probseg.interfaces import Batch, Dataset, Evaluation
from probseg.metrics.model_evaluation import latent_densities
from probseg.training.execution import Execution
from probseg.utils.seeding import seeded


class ModelPredictor:
    """Samples a model under the precision and memory format it was trained in.

    Args:
        model: A ``probseg.interfaces.Model``; it is moved to the device.
        samples: Samples an image, N_eval.
        execution: Device, precision and memory format.
        seed: Of the samples; those of a batch follow from it and the index of its first image.
        projected: Whether to sample the projected prior as well.
        latents: What else to decode in place of the prior's samples, to see whether the model uses
            them: "noise" of N(0, I), "swapped" for those of another image's prior.
        others: Where the other images come from.

    Raises:
        OptionError: Latents are to be replaced, and the model decodes none that it is given.
    """

    def __init__(
        self,
        model: Any,
        samples: int,
        *,
        execution: Execution,
        seed: int,
        projected: bool = False,
        latents: Collection[str] = (),
        others: Dataset | None = None,
    ) -> None:
        self.execution = execution
        self.layout = torch.channels_last if execution.channels_last else torch.contiguous_format
        self.model = model.to(device=execution.device, memory_format=self.layout).eval()
        self.samples = samples
        self.seed = seed
        self.variants = {"base": {}, **({"projected": {"projected": True}} if projected else {})}
        self.latents = latents
        self.others = others
        if latents and not hasattr(model, "decode"):
            raise OptionError(f"{model.spec['name']} decodes no latents, so none can be replaced")

    @torch.no_grad()
    def __call__(self, batch: Batch, start: int) -> Answers:
        """Return one evaluation for each variant."""
        device = self.execution.device
        image = batch.image.to(device).contiguous(memory_format=self.layout)
        masks = batch.masks.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.execution.bf16):
            latents = self._latents(image, masks, start)
            answers = {
                variant: [Evaluation(self._sample(image, start, options), masks, **latents)]
                for variant, options in self.variants.items()
            }
            for name in self.latents:  # the prior did not draw these, so it is no part of them
                answers[name] = [Evaluation(self._decode(name, image, start), masks)]
            return answers

    def _sample(self, image: Tensor, start: int, options: dict[str, bool]) -> Tensor:
        generator = self._generator(start)
        samples: Tensor = self.model.sample(image, self.samples, generator=generator, **options)
        return samples.transpose(0, 1).float()

    def _decode(self, name: str, image: Tensor, start: int) -> Tensor:
        """Return what is decoded from other latents, drawn with the numbers of the base prior's."""
        if name == "noise":
            location = image.new_zeros(len(image), self.model.latent_dim)
            density: Distribution = Independent(Normal(location, torch.ones_like(location)), 1)
        else:
            density = self._prior_of_others(start, len(image))
        with seeded(self._generator(start), self.execution.device):
            latents = density.sample((self.samples,))
        samples: Tensor = self.model.decode(image, latents)
        return samples.transpose(0, 1).float()

    def _prior_of_others(self, start: int, count: int) -> Distribution:
        assert self.others is not None
        indices = [index % len(self.others) for index in range(start, start + count)]
        images = self.others.batch(indices).image.to(self.execution.device)
        density: Distribution = self.model.prior(images.contiguous(memory_format=self.layout))
        return density

    def _latents(self, image: Tensor, masks: Tensor, start: int) -> dict[str, Any]:
        label = choose_annotator(masks, self._generator(start)).long()
        return latent_densities(self.model, image, label)

    def _generator(self, start: int) -> torch.Generator:
        mixed = self.seed * 1_000_003 + start
        return torch.Generator(self.execution.device).manual_seed(mixed)


def baseline_predictor(name: str, classes: int) -> Predictor:
    """Return the predictor of a baseline, whose predictions are certain."""

    def evaluations(masks: Tensor) -> Iterator[Evaluation]:
        for predicted, reference in _compared(name, masks):
            certain = functional.one_hot(predicted.long(), classes).movedim(-1, 2).float()
            yield Evaluation(certain, reference)

    return lambda batch, start: {"base": list(evaluations(batch.masks))}


def _compared(baseline: str, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a baseline predicts, and the annotations that this is compared with.

    The annotators as samples are compared with all of them: a ceiling on the models' own scale,
    as such a "model" has seen all annotations but one.
    """
    if baseline == "always-empty":
        yield torch.zeros_like(masks[:, :1]), masks
        return
    count = masks.shape[1]
    if count < 2:
        raise DataError("leaving one annotator out needs two of them; this data set has one")
    for index in range(count):
        one, rest = masks[:, [index]], masks[:, [i for i in range(count) if i != index]]
        yield (rest, masks) if baseline == "annotators" else (one, rest)
