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
class ScaleStatistics:
    """How a model uses the latent of one of its scales, averaged over images."""

    latent_dim: int  # L of this scale
    gini: float | None
    effective_rank: float | None
    kl: tuple[float, ...] | None
    active_units: int | None

    def scalars(self) -> dict[str, float]:
        """Return all statistics that are not None as numbers by name; the KL is summed."""
        kl = None if self.kl is None else sum(self.kl)
        single = {
            "gini": self.gini,
            "effective_rank": self.effective_rank,
            "kl": kl,
            "active_units": self.active_units,
        }
        return {name: float(value) for name, value in single.items() if value is not None}


@dataclass(frozen=True)
class LatentStatistics:
    """How a model uses its latent space, averaged over images.

    Of a model with latents at several scales, those of each are in ``scales``, the coarsest first.
    Then ``gini``, ``effective_rank`` and ``kl`` are None, as no single prior has them, and
    ``latent_dim`` and ``active_units`` are sums over the scales.
    """

    latent_dim: int  # L
    gini: float | None  # of the prior's scales, 0 to 1 - 1/L; None of a prior without scales
    effective_rank: float | None  # the same, 1 to L
    diversity: float  # of samples, mean 1 - IoU
    annotator_diversity: float | None  # the same of annotations; None if no image has two
    kl: tuple[float, ...] | None  # (L,) nats; None without a Normal posterior
    active_units: int | None  # None without a posterior, or for a single image
    scales: tuple[ScaleStatistics, ...] = ()  # empty of a model with one latent vector

    def scalars(self) -> dict[str, float]:
        """Return all statistics that are not None as numbers by name, for a log.

        Those of scales are called ``scale_0/gini`` and so on.
        """
        single = {
            "gini": self.gini,
            "effective_rank": self.effective_rank,
            "diversity": self.diversity,
            "active_units": self.active_units,
        }
        scalars = {name: float(value) for name, value in single.items() if value is not None}
        if self.kl is not None:
            scalars |= {"kl": sum(self.kl)} | {f"kl_{i}": kl for i, kl in enumerate(self.kl)}
        return scalars | {
            f"scale_{i}/{name}": value
            for i, scale in enumerate(self.scales)
            for name, value in scale.scalars().items()
        }


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
        model: Has ``sample(image, n, generator=...)``, and ``prior(image)`` and perhaps
            ``posterior``; or ``latents(image, label, generator=...)``, pairs of posterior and prior
            at several scales. Its mode is not changed, so call ``model.eval()`` first.
        batch: Images with all their annotations, on the device of the model.
        samples: N of each image.
        generator: Makes the samples and the choice of an annotator reproducible, and leaves the
            global random state unchanged.
        ignore_index: The value of masks' pixels that nobody labelled.

    Raises:
        InputError: The model has no prior.
    """
    if not has_latents(model):
        raise InputError(
            f"{type(model).__name__} has no prior(image), so it has no latent space to measure; "
            "leave this measurement out for such a model"
        )
    image = batch.image
    batch = batch._replace(masks=as_classes(batch.masks))
    label = annotation(batch, generator=generator).long()
    given = ignoring(ignore_index)
    if hasattr(model, "latents"):
        pairs = model.latents(image, label, generator=generator, **given)
        scales = tuple(ScaleStatistics(**_use(prior, posterior)) for posterior, prior in pairs)
        use = _together(scales)
    else:
        posterior = model.posterior(image, label, **given) if hasattr(model, "posterior") else None
        scales, use = (), _use(model.prior(image), posterior)
    drawn = model.sample(image, samples, generator=generator)
    classes = drawn.shape[2]
    return LatentStatistics(
        **use,
        diversity=_diversity(drawn.argmax(2).transpose(0, 1), classes),
        annotator_diversity=_annotator_diversity(batch, classes, ignore_index),
        scales=scales,
    )


def has_latents(model: object) -> bool:
    """Return whether a model has a latent space that can be measured."""
    return hasattr(model, "prior") or hasattr(model, "latents")


def _use(prior: Distribution, posterior: Distribution | None) -> dict[str, Any]:
    """Return how a latent vector is used, as arguments of the statistics."""
    scale = scale_of(prior)
    return {
        "latent_dim": prior.event_shape.numel(),
        "gini": None if scale is None else gini(scale).mean().item(),
        "effective_rank": None if scale is None else effective_rank(scale).mean().item(),
        "kl": None if posterior is None else _kl(posterior, prior),
        "active_units": None if posterior is None else _active_units(posterior, prior),
    }


def _together(scales: tuple[ScaleStatistics, ...]) -> dict[str, Any]:
    active = [scale.active_units for scale in scales if scale.active_units is not None]
    return {
        "latent_dim": sum(scale.latent_dim for scale in scales),
        **dict.fromkeys(("gini", "effective_rank", "kl")),
        "active_units": sum(active) if len(active) == len(scales) else None,
    }


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
    messages = _unused(statistics, options)
    if statistics.active_units != 0:  # otherwise the same would be said of every scale
        for i, scale in enumerate(statistics.scales):
            of_scale = _unused(scale, options).items()
            messages |= {
                f"{name} of scale {i}": text and f"scale {i}: {text}" for name, text in of_scale
            }
    messages["diversity"] = _no_diversity(statistics, options)
    return {name: message for name, message in messages.items() if message}


def _unused(latent: LatentStatistics | ScaleStatistics, spec: Mapping[str, Any]) -> dict[str, str]:
    return {
        "active units": _no_active_unit(latent, spec),
        "effective rank": _one_dimension(latent, spec),
    }


def _no_active_unit(latent: LatentStatistics | ScaleStatistics, spec: Mapping[str, Any]) -> str:
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


def _one_dimension(latent: LatentStatistics | ScaleStatistics, spec: Mapping[str, Any]) -> str:
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
