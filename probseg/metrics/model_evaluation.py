"""Evaluate a model on a data set: ``probseg.evaluate(model, data)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from probseg.calibration import Calibration, calibration_of
from probseg.datasets.annotators import choose_annotator, complete
from probseg.datasets.batches import data_title, read_batch
from probseg.datasets.mask_kinds import check_ignores, ignore_index_of, is_soft
from probseg.datasets.preprocessing import preprocessing_of
from probseg.datasets.views import as_dataset, spacing_of
from probseg.errors import DataError, InputError
from probseg.interfaces import Batch, Dataset, Evaluation, Metric
from probseg.metrics.score_collector import ScoreCollector, choose_metrics
from probseg.metrics.scores import Scores
from probseg.options import check_integer, named_parameters
from probseg.utils.contexts import evaluating
from probseg.utils.devices import choose_device
from probseg.utils.progress import progress_bar
from probseg.utils.tensors import as_classes, certain, ignoring

# Names, such as "base" for samples of the prior, to evaluations whose scores are averaged.
Predictions = Mapping[str, Sequence[Evaluation]]
Predictor = Callable[[Batch, int], Predictions]  # of a batch and the index of its first image

_MEMORY = 256 << 20  # bytes that the samples of a batch may take
_MOST_IMAGES = 16


def evaluate(
    model: Any,
    data: Dataset,
    n: int = 16,
    *,
    stratified: bool = False,
    metrics: Mapping[str, Metric] | Iterable[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    seed: int = 0,
    latent: bool = True,
    reliability: bool = False,
    progress: bool = True,
) -> Scores:
    """Sample a model for every image of a data set, and score the samples with every metric.

    The images must be what the model learnt from, as far as both say what was done to theirs
    (``preprocessing``); to evaluate it on others on purpose, set ``model.preprocessing = None``
    first. An image is compared with those who annotated it. A metric that fails has no value (NaN)
    on those images, and the result says why; the other metrics keep theirs.

    Args:
        model: A :class:`probseg.interfaces.Model`, or anything with its ``sample``, which may
            return label maps (n, B, H, W) in place of probabilities. It ends where it was, in the
            mode that it was in.
        data: The images and their annotations.
        n: Samples of each image.
        stratified: Draw the samples of an image such that they share out the model's density, as
            ``model.sample(..., stratified=True)`` does; the result says so, for a distance of
            distributions such as GED is smaller then.
        metrics: Names of registered metrics, or metrics by any name; by default those of the
            benchmark, with those of the latent space if the model has one.
        device: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".
        batch_size: Images at a time; by default at most 16, fewer where their samples would take
            more than 256 MiB. The samples of an image depend on it.
        seed: Of the samples.
        latent: Whether to compute the densities of a latent space, which its metrics need; they
            take time.
        reliability: Whether to count as well what a reliability diagram shows
            (``scores.reliability``, :func:`probseg.plots.reliability_diagram`).
        progress: Whether to show a progress bar where the output is a terminal.

    Raises:
        DataError: There is no image.
        InputError: The model was built for other channels or classes, or learnt from images that
            were preprocessed in another way, or returns no segmentations, or has no stratified
            samples.
        OptionError: A number is out of range, or the device is not on this machine.
        UnknownNameError: No metric has that name.
    """
    n = check_integer("n", n)
    seed = check_integer("seed", seed, low=0)
    data = as_dataset(data)
    if not len(data):
        raise DataError(f"data set {data_title(data)!r} has no image to evaluate on")
    _check_fits(model, data)
    remarks = _check_preprocessing(model, data)
    chosen = choose_metrics(metrics, latent=latent and hasattr(model, "prior"))
    size = check_integer("batch_size", batch_size or _batch_size(data, n))
    with _evaluating(model, choose_device(device)) as where:
        sampler = Sampler(
            model,
            n,
            device=where,
            seed=seed,
            stratified=stratified,
            latent=latent,
            ignore_index=ignore_index_of(data),
        )
        collected = collect_scores(
            lambda batch, start: {"base": [sampler(batch, start)]},
            data,
            lambda latent: chosen,
            batch_size=size,
            reliability=reliability,
            progress=progress,
        )["base"]
    title = data_title(data)
    return Scores(
        per_image=collected.values(),
        groups=list(data.groups),
        ids=getattr(data, "ids", None) or [str(index) for index in range(len(data))],
        samples=f"{n} stratified" if stratified else str(n),
        subject=_subject(model),
        data=title if title != data.name else f"{title}: {data.provenance}",
        about={
            "seed": seed,
            "stratified": stratified,
            "calibration": calibration_of(model).to_plain(),
            "batch_size": size,
            "fingerprint": data.fingerprint,
        },
        higher_is_better={name: metric.higher_is_better for name, metric in chosen.items()},
        problems=collected.problems,
        remarks=[*remarks, *_soft_remark(data), *collected.remarks()],
        reliability=collected.reliability,
    )


def collect_scores(
    predict: Predictor,
    data: Dataset,
    choose: Callable[[bool], Mapping[str, Metric]],
    *,
    batch_size: int,
    reliability: bool = False,
    progress: bool = True,
) -> dict[str, ScoreCollector]:
    """Score what is predicted for every image of a data set, batch by batch.

    Args:
        predict: Predicts for the images of a batch; images without an evaluation have no value.
        data: The images and their annotations.
        choose: Returns the metrics, given whether there are densities of a latent space.
        batch_size: Images at a time.
        reliability: Whether to count as well what a reliability diagram shows.
        progress: Whether to show a progress bar where the output is a terminal.
    """
    collected: dict[str, ScoreCollector] = {}
    ignored, spacing = ignore_index_of(data), spacing_of(data)
    with progress_bar("evaluating", len(data), show=None if progress else False) as advance:
        for start, batch in batches(data, batch_size):
            for name, predicted in predict(batch, start).items():
                rows = slice(start, start + len(batch.image))
                own = None if spacing is None else torch.as_tensor(spacing[rows])
                evaluations = [replace(one, ignore_index=ignored, spacing=own) for one in predicted]
                if name not in collected:
                    latent = any(one.prior is not None for one in evaluations)
                    collected[name] = ScoreCollector(choose(latent), reliability=reliability)
                if evaluations:
                    collected[name].add(*evaluations)
                else:
                    collected[name].leave_out(len(batch.image))
            advance(len(batch.image))
    return collected


def batches(data: Dataset, size: int) -> Iterator[tuple[int, Batch]]:
    """Yield a data set in order, with the index of each batch's first image.

    Everybody annotated the images of a batch, which is shorter where the number of annotators
    changes, since metrics compare the annotators that there are. Soft masks become classes.
    """
    for start in range(0, len(data), size):
        read = read_batch(data, range(start, min(start + size, len(data))))
        read = read._replace(masks=as_classes(read.masks))
        for batch in complete(read, ignore_index_of(data)):
            if not batch.masks.shape[1]:
                raise DataError(
                    f"nobody labelled a pixel of an image of data set {data_title(data)!r}; "
                    "leave it out: probseg.datasets.views.subset"
                )
            yield start, batch
            start += len(batch.image)


@dataclass(frozen=True)
class Sampler:
    """Samples a model, which is in evaluation mode on a device, for one batch after another.

    The samples of a batch follow from the seed and the index of the batch's first image.
    """

    model: Any
    n: int  # samples of each image
    device: torch.device
    seed: int = 0
    stratified: bool = False  # see ``PriorModel.sample``
    latent: bool = True  # whether to compute the densities of a latent space
    bf16: bool = False  # under autocast
    channels_last: bool = False  # in memory
    ignore_index: int | None = None  # of the masks

    def __post_init__(self) -> None:
        if self.stratified:
            check_stratified(self.model)

    @torch.no_grad()
    def __call__(self, batch: Batch, start: int) -> Evaluation:
        """Return the samples and, of a model with a latent space, its densities."""
        image, masks, _ = self.place(batch)
        with self.autocast():
            samples = self.sample(image, start)
            densities: dict[str, Any] = {}
            if self.latent:
                densities.update(self._densities(image, masks, start))
        return Evaluation(samples, masks, **densities, ignore_index=self.ignore_index)

    def _densities(self, image: Tensor, masks: Tensor, start: int) -> dict[str, Distribution]:
        """Return the prior and the posterior, if the model has them."""
        densities: dict[str, Distribution] = {}
        if hasattr(self.model, "prior"):
            densities["prior"] = self.model.prior(image)
        if hasattr(self.model, "posterior"):
            label = choose_annotator(masks, self.generator(start)).long()
            options = ignoring(self.ignore_index)
            densities["posterior"] = self.model.posterior(image, label, **options)
        return densities

    def place(self, batch: Batch) -> Batch:
        """Return a batch on the device."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        image = batch.image.to(self.device).contiguous(memory_format=layout)
        return batch._replace(image=image, masks=batch.masks.to(self.device))

    def sample(self, image: Tensor, start: int, **options: Any) -> Tensor:
        """Return samples (B, n, K, H, W) of images on the device."""
        if self.stratified:
            options["stratified"] = True
        samples = self.model.sample(image, self.n, generator=self.generator(start), **options)
        return _probabilities(samples, image, self.n, self.model)

    def generator(self, start: int) -> torch.Generator:
        """Return the random numbers of a batch."""
        return torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + start)

    def autocast(self) -> AbstractContextManager[object]:
        """Let networks compute in the precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()


def check_stratified(model: Any) -> None:
    """Check that a model's ``sample`` takes ``stratified``.

    Raises:
        InputError: It does not.
    """
    if "stratified" not in named_parameters(model.sample):
        name = getattr(model, "spec", {}).get("name", type(model).__name__)
        raise InputError(
            f"{name!r} has no stratified samples, which models with a prior of latents have; leave "
            "stratified out"
        )


def _subject(model: Any) -> str:
    """Return a model's name, with its calibration if it has one."""
    name = str(getattr(model, "spec", {}).get("name", type(model).__name__))
    calibration = calibration_of(model)
    return name if calibration == Calibration() else f"{name} ({calibration})"


def _soft_remark(data: Dataset) -> list[str]:
    return ["soft masks were compared as the nearest class, above 0.5"] * is_soft(data)


def _check_fits(model: Any, data: Dataset) -> None:
    for option, wants in (("in_channels", data.channels), ("classes", data.classes)):
        has = getattr(model, option, wants)  # a stranger's model need not say
        if has != wants:
            raise InputError(
                f"the model has {option}={has}, but data set {data_title(data)!r} needs "
                f"{option}={wants}; evaluate it on data like those that it was trained on"
            )
    check_ignores(model, ignore_index_of(data))


def _check_preprocessing(model: Any, data: Dataset) -> list[str]:
    """Return a remark on what is no fault but may surprise.

    Raises:
        InputError: The data give the model other images than those that it learnt from.
    """
    learnt, given = preprocessing_of(model), preprocessing_of(data)
    if learnt is None:
        return []
    if given and (differences := learnt.differences(given) + learnt.mask_differences(given)):
        raise InputError(
            f"the model learnt from other images than data set {data_title(data)!r} has: "
            f"{'; '.join(differences)}; {learnt.remedy}, or set model.preprocessing = None to "
            "evaluate it on these on purpose"
        )
    shape = tuple(data[0].image.shape[-2:])
    if learnt.shape and learnt.shape != shape:
        sizes = ["{}x{}".format(*size) for size in (learnt.shape, shape)]
        return [f"the model learnt from images of {sizes[0]} pixels, these have {sizes[1]}"]
    return []


def _batch_size(data: Dataset, n: int) -> int:
    """Return how many images' samples fit into the bound, as a function of the data alone."""
    height, width = data[0].image.shape[-2:]
    image = n * data.classes * height * width * 4  # bytes
    return max(1, min(_MOST_IMAGES, _MEMORY // image))


@contextmanager
def _evaluating(model: Any, device: torch.device) -> Iterator[torch.device]:
    """Put a model on a device in evaluation mode, and back afterwards."""
    if not isinstance(model, nn.Module):
        yield device
        return
    parameter = next(model.parameters(), None)
    before = None if parameter is None else parameter.device
    try:
        with evaluating(model.to(device)):
            yield device
    finally:
        model.to(before)


def _probabilities(samples: Tensor, image: Tensor, n: int, model: Any) -> Tensor:
    """Return what a model sampled as (B, n, K, H, W)."""
    size = (n, len(image), *image.shape[-2:])
    if not samples.is_floating_point() and tuple(samples.shape) == size:
        classes = int(getattr(model, "classes", samples.max() + 1))
        samples = certain(samples, classes)
    if samples.ndim != 5 or (*samples.shape[:2], *samples.shape[3:]) != size:
        raise InputError(
            f"model.sample must return probabilities ({n}, {len(image)}, K, H, W) or integer "
            f"labels {size}, not {samples.dtype} of shape {tuple(samples.shape)}"
        )
    return samples.transpose(0, 1).float()
