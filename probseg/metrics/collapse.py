"""Statistics of a latent space on a few images, and warnings where it has collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.distributions import Distribution

from probseg.datasets.annotators import annotation, complete
from probseg.errors import InputError
from probseg.interfaces import Batch
from probseg.metrics.ged import sample_diversity
from probseg.metrics.latent import (
    active_units,
    effective_rank,
    gini,
    kl_per_dimension,
    scale_of,
)
from probseg.utils.tensors import as_classes, ignoring

_LOW_RANK = 1.1  # effective rank with 2 % of the spread in a second dimension
_LOW_DIVERSITY = 0.1  # of the annotators' diversity
_AGREEMENT = 0.02  # diversity of annotators who agree, so that latents have nothing to tell


@dataclass(frozen=True)
class LatentStatistics:
    """How a model uses its latent space, averaged over images."""

    latent_dim: int  # L
    gini: float | None  # of the prior's scales, 0 to 1 - 1/L; None of a prior without scales
    effective_rank: float | None  # the same, 1 to L
    diversity: float  # of samples, mean 1 - IoU
    annotator_diversity: float | None  # the same of annotations; None if no image has two
    kl: tuple[float, ...] | None  # (L,) nats; None without a Normal posterior
    active_units: int | None  # None without a posterior, or for a single image

    def scalars(self) -> dict[str, float]:
        """Return all statistics that are not None as numbers by name, for a log."""
        single = {
            "gini": self.gini,
            "effective_rank": self.effective_rank,
            "diversity": self.diversity,
            "active_units": self.active_units,
        }
        scalars = {name: float(value) for name, value in single.items() if value is not None}
        if self.kl is not None:
            scalars |= {"kl": sum(self.kl)} | {f"kl_{i}": kl for i, kl in enumerate(self.kl)}
        return scalars


@torch.no_grad()
def latent_statistics(
    model: Any,
    batch: Batch,
    *,
    samples: int = 8,
    generator: Generator | None = None,
    ignore_index: int | None = None,
) -> LatentStatistics:
    """Measure the latent space of a model with a prior on a few images.

    A latent dimension is active where the annotation moves the posterior's mean, as in
    :func:`probseg.metrics.latent.active_units`. The prior here depends on the image, so the mean
    is taken in its units, ``(μ_q − μ_p) / σ_p``; with the prior N(0, I) of Burda et al. that is
    the mean itself.

    Args:
        model: Has ``prior(image)``, ``sample(image, n, generator=...)`` and perhaps
            ``posterior``. Its mode is not changed, so call ``model.eval()`` first.
        batch: Images with all their annotations, on the device of the model.
        samples: N of each image.
        generator: Makes the samples and the choice of an annotator reproducible, and leaves the
            global random state unchanged.
        ignore_index: The value of masks' pixels that nobody labelled.

    Raises:
        InputError: The model has no prior.
    """
    if not hasattr(model, "prior"):
        raise InputError(
            f"{type(model).__name__} has no prior(image), so it has no latent space to measure; "
            "leave this measurement out for such a model"
        )
    image = batch.image
    batch = batch._replace(masks=as_classes(batch.masks))
    label = annotation(batch, generator=generator).long()
    given = ignoring(ignore_index)
    prior = model.prior(image)
    posterior = model.posterior(image, label, **given) if hasattr(model, "posterior") else None
    drawn = model.sample(image, samples, generator=generator)
    classes = drawn.shape[2]
    scale = scale_of(prior)
    return LatentStatistics(
        latent_dim=prior.event_shape.numel(),
        gini=None if scale is None else gini(scale).mean().item(),
        effective_rank=None if scale is None else effective_rank(scale).mean().item(),
        diversity=_diversity(drawn.argmax(2).transpose(0, 1), classes),
        annotator_diversity=_annotator_diversity(batch, classes, ignore_index),
        kl=None if posterior is None else _kl(posterior, prior),
        active_units=None if posterior is None else _active_units(posterior, prior),
    )


def collapse_warnings(
    statistics: LatentStatistics, spec: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Return a message for each sign of a collapse, under its name, with what usually helps.

    Where annotators do not differ, or images have a single one, there is none: the image says all
    that there is to know of an annotation, so that a model may rightly leave its latents unused.

    Args:
        statistics: Of the latent space.
        spec: The spec of the model; the messages name its present settings.
    """
    options, annotators = spec or {}, statistics.annotator_diversity
    if annotators is None or annotators < _AGREEMENT:
        return {}
    messages = {
        "active units": _no_active_unit(statistics, options),
        "effective rank": _one_dimension(statistics, options),
        "diversity": _no_diversity(statistics, options),
    }
    return {name: message for name, message in messages.items() if message}


def _no_active_unit(latent: LatentStatistics, spec: Mapping[str, Any]) -> str:
    if latent.active_units is None or latent.active_units > 0:
        return ""
    kl = "" if latent.kl is None else f" (KL {sum(latent.kl):.2g} nats)"
    scale = (
        " and reduction='pixel-sum', as beta weighs H·W times more against a mean over pixels"
        if spec.get("reduction") == "pixel-mean"
        else ""
    )
    return (
        f"no latent dimension is active{kl}: the annotation does not move the posterior, which "
        f"has collapsed onto the prior. What usually helps: a lower beta{_now(spec, 'beta')}, or "
        f"one that starts low and rises (KL annealing){scale}"
    )


def _one_dimension(latent: LatentStatistics, spec: Mapping[str, Any]) -> str:
    rank = latent.effective_rank
    if latent.latent_dim == 1 or rank is None or rank >= _LOW_RANK:
        return ""
    return (
        f"the prior's effective rank is {rank:.2f} of {latent.latent_dim}: one "
        "dimension carries all the spread. What usually helps: the Sinkhorn divergence between "
        f"the projected densities with more weight, gamma{_now(spec, 'gamma')}; or fewer latent "
        f"dimensions{_now(spec, 'latent_dim')}"
    )


def _no_diversity(latent: LatentStatistics, spec: Mapping[str, Any]) -> str:
    annotators = latent.annotator_diversity
    if annotators is None or latent.diversity > _LOW_DIVERSITY * annotators:
        return ""
    context = spec.get("flow_context", "image")
    leaks = context != "image" and spec.get("kl_on") == "base"
    image_context = f"; flow_context='image' (it is {context!r})" if leaks else ""
    advice = (
        f"a lower beta{_now(spec, 'beta')}, and more steps"
        if latent.active_units == 0
        else f"more steps, or a larger beta{_now(spec, 'beta')}, by which the prior learns what "
        f"the posterior does{image_context}"
    )
    return (
        f"the samples of an image are all but equal (diversity {latent.diversity:.2g}, the "
        f"annotators' {annotators:.2g}). "
        f"What usually helps: {advice}"
    )


def _now(spec: Mapping[str, Any], option: str) -> str:
    return f" (it is {spec[option]})" if option in spec else ""


def _diversity(labels: Tensor, classes: int, ignore_index: int | None = None) -> float:
    return sample_diversity(labels, classes=classes, ignore_index=ignore_index).mean().item()


def _annotator_diversity(batch: Batch, classes: int, ignore_index: int | None) -> float | None:
    parts = [part.masks for part in complete(batch, ignore_index) if part.masks.shape[1] > 1]
    if not parts:
        return None
    each = [_diversity(masks, classes, ignore_index) * len(masks) for masks in parts]
    return sum(each) / sum(map(len, parts))


def _kl(posterior: Distribution, prior: Distribution) -> tuple[float, ...] | None:
    try:
        return tuple(kl_per_dimension(posterior, prior).mean(0).tolist())
    except InputError:  # no axis-aligned Normals
        return None


def _active_units(posterior: Distribution, prior: Distribution) -> int | None:
    try:
        moved = (posterior.mean - prior.mean) / prior.stddev
    except NotImplementedError:  # a flow has no mean in closed form
        return None
    return int(active_units(moved).sum()) if len(moved) > 1 else None
