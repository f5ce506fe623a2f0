"""The health of a latent space on a few images, and in words what is wrong with it."""

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
from probseg.metrics.latent import active_units, effective_rank, gini, kl_per_dimension

_ONE = 1.1  # effective rank: 2 % of the spread in a second dimension
_ALIKE = 0.1  # of the annotators' diversity
_AGREED = 0.02  # diversity of annotators who agree, to whom the samples need not differ either


@dataclass(frozen=True)
class Health:
    """What a model makes of its latent space, averaged over images."""

    latent_dim: int  # L
    gini: float  # of the prior's scales, 0 to 1 - 1/L
    effective_rank: float  # of the prior's scales, 1 to L
    diversity: float  # of samples, mean 1 - IoU
    annotators: float | None  # the annotations' diversity; None for a single annotator
    kl: tuple[float, ...] | None  # (L,) nats; None without a Normal posterior
    active: int | None  # active units; None without a posterior, or for a single image

    def values(self) -> dict[str, float]:
        """Return everything that is known as numbers by name, as for a log."""
        known = {
            "gini": self.gini,
            "effective_rank": self.effective_rank,
            "diversity": self.diversity,
        }
        if self.active is not None:
            known["active_units"] = float(self.active)
        if self.kl is not None:
            known |= {"kl": sum(self.kl)} | {f"kl_{i}": value for i, value in enumerate(self.kl)}
        return known


@torch.no_grad()
def latent_health(
    model: Any, batch: Batch, *, samples: int = 8, generator: Generator | None = None
) -> Health:
    """Measure a model with a prior on a few images.

    A latent dimension is active where the annotation moves the posterior's mean, as in
    :func:`probseg.metrics.latent.active_units`. The prior here depends on the image, so the mean
    is taken in its units, ``(μ_q − μ_p) / σ_p``: with the prior N(0, I) of that paper it is the
    mean itself.

    Args:
        model: Has ``prior(image)``, ``sample(image, n, generator=...)`` and perhaps
            ``posterior``. It is measured as it is, so bring it into evaluation mode.
        batch: Images with everybody's annotations, on the model's device.
        samples: N of each image.
        generator: Makes samples, and the choice of an annotator, reproducible, and leaves the
            global random state alone.

    Raises:
        InputError: The model has no prior.
    """
    if not hasattr(model, "prior"):
        raise InputError(
            f"{type(model).__name__} has no prior(image), so it has no latent space to measure; "
            "leave this out for such a model"
        )
    image = batch.image
    label = annotation(batch, generator=generator).long()
    prior = model.prior(image)
    posterior = model.posterior(image, label) if hasattr(model, "posterior") else None
    drawn = model.sample(image, samples, generator=generator)
    classes = drawn.shape[2]
    scale = prior.stddev.flatten(1)
    return Health(
        latent_dim=scale.shape[1],
        gini=gini(scale).mean().item(),
        effective_rank=effective_rank(scale).mean().item(),
        diversity=_diversity(drawn.argmax(2).transpose(0, 1), classes),
        annotators=_annotators_diversity(batch, classes),
        kl=None if posterior is None else _kl(posterior, prior),
        active=None if posterior is None else _active(posterior, prior),
    )


def complaints(health: Health, spec: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return what looks like a collapse: each sign's name, and in words what usually helps.

    Args:
        health: What was measured.
        spec: The model's description, whose settings the advice then names.
    """
    known = spec or {}
    found = {
        "active units": _no_active_unit(health, known),
        "effective rank": _one_dimension(health, known),
        "diversity": _no_diversity(health, known),
    }
    return {name: words for name, words in found.items() if words}


def _no_active_unit(health: Health, spec: Mapping[str, Any]) -> str:
    if health.active is None or health.active > 0:
        return ""
    told = "" if health.kl is None else f" (KL {sum(health.kl):.2g} nats)"
    scale = (
        " and reduction='pixel-sum', as beta weighs H·W times more against a mean over pixels"
        if spec.get("reduction") == "pixel-mean"
        else ""
    )
    return (
        f"no latent dimension is active{told}: the annotation does not move the posterior, which "
        f"has collapsed onto the prior. What usually helps: a lower beta{_now(spec, 'beta')}, or "
        f"one that starts low and rises (KL annealing){scale}"
    )


def _one_dimension(health: Health, spec: Mapping[str, Any]) -> str:
    if health.latent_dim == 1 or health.effective_rank >= _ONE:
        return ""
    return (
        f"the prior's effective rank is {health.effective_rank:.2f} of {health.latent_dim}: one "
        "dimension carries all the spread. What usually helps: the Sinkhorn divergence between "
        f"the projected densities with more weight, gamma{_now(spec, 'gamma')}; or fewer latent "
        f"dimensions{_now(spec, 'latent_dim')}"
    )


def _no_diversity(health: Health, spec: Mapping[str, Any]) -> str:
    wanted = 0.1 if health.annotators is None else health.annotators
    if wanted < _AGREED or health.diversity > _ALIKE * wanted:
        return ""
    beside = "" if health.annotators is None else f", the annotators' {health.annotators:.2g}"
    context = spec.get("flow_context", "image")
    leaks = context != "image" and spec.get("kl_on") == "base"
    leak = f"; flow_context='image' (it is {context!r})" if leaks else ""
    helps = (
        f"a lower beta{_now(spec, 'beta')}, and more steps"
        if health.active == 0
        else f"more steps, or a larger beta{_now(spec, 'beta')}, by which the prior learns what "
        f"the posterior does{leak}"
    )
    return (
        f"the samples of an image are all but equal (diversity {health.diversity:.2g}{beside}). "
        f"What usually helps: {helps}"
    )


def _now(spec: Mapping[str, Any], option: str) -> str:
    return f" (it is {spec[option]})" if option in spec else ""


def _diversity(labels: Tensor, classes: int) -> float:
    return sample_diversity(labels, classes=classes).mean().item()


def _annotators_diversity(batch: Batch, classes: int) -> float | None:
    if batch.masks.shape[1] == 1:
        return None
    each = [_diversity(part.masks, classes) * len(part.masks) for part in complete(batch)]
    return sum(each) / len(batch.masks)


def _kl(posterior: Distribution, prior: Distribution) -> tuple[float, ...] | None:
    try:
        return tuple(kl_per_dimension(posterior, prior).mean(0).tolist())
    except InputError:  # no axis-aligned Normals
        return None


def _active(posterior: Distribution, prior: Distribution) -> int | None:
    moved = (posterior.mean - prior.mean) / prior.stddev
    return int(active_units(moved).sum()) if len(moved) > 1 else None
