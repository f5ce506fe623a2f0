"""The two hierarchical models, each a choice of parts and of penalties for one class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from probseg.backbones.blocks import freeze_unused
from probseg.errors import OptionError
from probseg.interfaces import Divergence, Projector, Pyramid
from probseg.models.choices import check_weighed, help_of
from probseg.models.hierarchical import (
    HierarchicalModel,
    HierarchicalParts,
    ScalePenalty,
    rounded,
)
from probseg.models.hierarchical_decoder import TopDown, check_scales, output_layer
from probseg.models.part_pairs import PartPair, build_pair
from probseg.models.penalties import DensityPair, check_comparable, is_shipped
from probseg.options import check_integer, check_number
from probseg.projectors.flow import Identity
from probseg.registry.specs import BuiltPart, Part, Spec, build_part, plain

_PROBE = 64  # pixels of an image that shows what a pyramid reads


@dataclass(frozen=True, kw_only=True)
class HierarchicalChoices:
    """Everything that can be chosen about a hierarchical model.

    A part is a name or a mapping ``{"name": ..., **options}``; the pyramid can also be given as a
    mapping ``{"prior": part, "posterior": part}``. Weights are one number for all scales, or a list
    of one for each, the coarsest first.

    Args:
        in_channels: C, of the image.
        classes: K, the background included.
        pyramid: Turns the image, and for the posterior the image and the label, into features.
        scales: How many of its levels have a latent, from the coarsest on; fewer than its levels.
        latent_channels: c, the numbers of a latent at each position.
        block: Of the decoder, ``"plain"`` (convolutions and ReLUs) or ``"residual"``.
        depth: Convolutions of a plain level of the decoder, or residual blocks of a residual one.
        norm: Of the decoder: ``None``, ``"batch"``, ``"group"`` or ``"instance"``.
        log_scale_bound: Largest absolute value of the latents' log sigma.
        projector: Pushes both densities of a scale forward, given the prior's features, pooled.
        image_size: Of images in training, a number or [H, W]; a projector needs it, since it has a
            fixed number of dimensions. ``build(like=data)`` gives that of the data.
        kl: The divergence between base densities that ``beta`` weighs.
        beta: Its weight; with 1 and ``"pixel-sum"`` the loss is the negative ELBO.
        divergence: The divergence between projected densities that ``gamma`` weighs.
        gamma: Its weight.
        class_prior: K frequencies whose logarithm is the initial bias of the logits.
        reduction: Of the cross-entropy over pixels, ``"pixel-sum"`` or ``"pixel-mean"``; ``beta``
            and ``gamma`` belong to this scale.
        top_k: The share of hard pixels that count, see
            :class:`probseg.models.cross_entropy.CrossEntropy`; Kohl et al. (2019) take .02.
    """

    in_channels: int = 1
    classes: int = 2
    pyramid: Part = "unet"
    scales: int = 4
    latent_channels: int = 1
    block: str = "plain"
    depth: int = 3
    norm: str | None = None
    log_scale_bound: float = 5.0
    projector: Part = "identity"
    image_size: int | Sequence[int] | None = None
    kl: Part = "kl"
    beta: float | Sequence[float] = 1.0
    divergence: Part = None
    gamma: float | Sequence[float] = 0.0
    class_prior: Sequence[float] | None = None
    reduction: str = "pixel-sum"
    top_k: float | None = None

    def __post_init__(self) -> None:
        """Check what no part checks."""
        lows = {"in_channels": 1, "classes": 2, "scales": 1, "latent_channels": 1}
        for option, low in lows.items():
            check_integer(option, getattr(self, option), low=low)
        for option in ("beta", "gamma"):
            self.weights(option)
        if any(self.weights("gamma")) and self.divergence is None:
            raise OptionError(
                f"gamma={self.gamma} has no divergence to weight; pass one too, such as "
                "divergence='sinkhorn'"
            )

    def weights(self, option: str) -> tuple[float, ...]:
        """Return the weights of all scales, ``"beta"`` or ``"gamma"``."""
        given = getattr(self, option)
        each = tuple(given) if isinstance(given, (list, tuple)) else self.scales * (given,)
        if len(each) != self.scales:
            raise OptionError(
                f"{option}={given} must be a number, or {self.scales} numbers, one for each scale, "
                "the coarsest first"
            )
        return tuple(check_number(option, weight, positive=False) for weight in each)

    @property
    def sides(self) -> tuple[int, int] | None:
        """(H, W) of the images in training, or None."""
        given = self.image_size
        if given is None:
            return None
        sides = tuple(given) if isinstance(given, (list, tuple)) else (given, given)
        if len(sides) != 2:
            raise OptionError(f"image_size is a number or [H, W], not {given!r}")
        height, width = (check_integer("image_size", side) for side in sides)
        return height, width


class HierarchicalRecipe:
    """A hierarchical model as a named point among all choices; calling it builds the model."""

    def __init__(self, name: str, summary: str, defaults: HierarchicalChoices) -> None:
        self.name = name
        self.defaults = defaults
        self.__doc__, self.__signature__ = help_of(defaults, summary)

    def __call__(self, **options: Any) -> HierarchicalModel:
        """Build the model with ``options`` in place of the recipe's defaults.

        Raises:
            UnknownNameError: No part has that name.
            OptionError: An option is unknown, of the wrong type or out of range.
        """
        check_weighed(self.name, options, self.defaults)
        choices = replace(self.defaults, **options)
        parts, networks = _networks(choices)
        penalties, compared = _penalties(choices)
        _check_densities(choices, parts, penalties)
        flows = any(not isinstance(one, Identity) for one in parts.projectors)
        chosen = {name: plain(value) for name, value in vars(choices).items()}
        return HierarchicalModel(
            parts,
            penalties,
            image_size=choices.sides if flows else None,
            spec={"name": self.name, **chosen, **networks, **compared},
        )

    def __repr__(self) -> str:
        """The recipe's name."""
        return f"<recipe {self.name}>"


def _networks(c: HierarchicalChoices) -> tuple[HierarchicalParts, Spec]:
    image, with_label = ({"in_channels": n} for n in (c.in_channels, c.in_channels + c.classes))
    pyramids = build_pair("pyramids", c.pyramid, Pyramid, image, with_label)
    _check_levels(c.scales, pyramids)
    of_prior, of_posterior = (pyramid.part.channels for pyramid in pyramids)
    _freeze_unused(pyramids.posterior.part, c)
    of_decoder = {name: getattr(c, name) for name in ("block", "depth", "norm", "log_scale_bound")}
    latents: Any = {"scales": c.scales, "latent_channels": c.latent_channels, **of_decoder}
    prior = TopDown(of_prior, doublings=len(of_prior) - 1, **latents)
    posterior = TopDown(of_posterior, doublings=c.scales - 1, **latents)
    projectors, described = _projectors(c, pyramids)
    logits = output_layer(of_prior[0], c.classes, c.class_prior)
    parts = HierarchicalParts(
        prior_pyramid=pyramids.prior.part,
        posterior_pyramid=pyramids.posterior.part,
        prior_decoder=prior,
        posterior_decoder=posterior,
        projectors=projectors,
        logits=logits,
    )
    return parts, {"pyramid": pyramids.spec, "projector": described}


def _check_levels(scales: int, pyramids: PartPair) -> None:
    """Check that both pyramids have the same levels, and one finer than the last latent.

    Raises:
        OptionError: They have not.
    """
    levels, of_posterior = (len(pyramid.part.channels) for pyramid in pyramids)
    if levels != of_posterior:
        raise OptionError(
            f"the prior's pyramid has {levels} levels and the posterior's {of_posterior}; give "
            "both as many"
        )
    check_scales(scales, levels)


def _freeze_unused(pyramid: Any, c: HierarchicalChoices) -> None:
    """Freeze what the posterior does not read: it goes up to its last latent only."""
    stride: int = pyramid.stride
    if isinstance(pyramid, nn.Module):
        side = max(math.ceil(_PROBE / stride), 2) * stride  # a normalisation needs two pixels
        image = torch.zeros(1, c.in_channels + c.classes, side, side)
        freeze_unused(pyramid, image, last=c.scales)


def _projectors(c: HierarchicalChoices, pyramids: PartPair) -> tuple[list[Projector], Spec]:
    """Return the projector of each scale, and what describes them."""
    if not isinstance(c.projector, (str, Mapping)):
        raise OptionError(
            f"the model has {c.scales} projectors, and {type(c.projector).__name__} is one ready "
            "object; pass a name, or a mapping with a name"
        )
    built = [
        build_part("projectors", c.projector, Projector, features=features, context_features=width)
        for features, width in zip(_dimensions(c, pyramids), _contexts(c, pyramids), strict=True)
    ]
    if c.sides is None and not all(isinstance(one.part, Identity) for one in built):
        raise OptionError(
            f"the projector {built[0].spec['name']!r} has a fixed number of dimensions, which "
            "follows from the size of the images: pass image_size, such as image_size=64 or [H, W]"
        )
    return [one.part for one in built], built[0].spec


def _contexts(c: HierarchicalChoices, pyramids: PartPair) -> list[int]:
    return list(reversed(pyramids.prior.part.channels))[: c.scales]


def _dimensions(c: HierarchicalChoices, pyramids: PartPair) -> list[int]:
    """Return c·h·w of each scale; without a size of images, as if the coarsest had one position."""
    stride = math.lcm(*(pyramid.part.stride for pyramid in pyramids))
    height, width = rounded(c.sides or (stride, stride), stride)
    halvings = reversed(range(len(pyramids.prior.part.channels)))
    each = [c.latent_channels * (height >> level) * (width >> level) for level in halvings]
    return each[: c.scales]


def _penalties(c: HierarchicalChoices) -> tuple[dict[str, ScalePenalty], Spec]:
    """Return the penalties that have a weight, and what describes their divergences."""
    kl = build_part("divergences", c.kl, Divergence)
    divergence = BuiltPart(None, None)
    if c.divergence is not None:
        divergence = build_part("divergences", c.divergence, Divergence)
    each = {
        f"kl_{scale}": ScalePenalty(kl.part, weight, on="base", scale=scale)
        for scale, weight in enumerate(c.weights("beta"))
    } | {
        f"divergence_{scale}": ScalePenalty(divergence.part, weight, on="projected", scale=scale)
        for scale, weight in enumerate(c.weights("gamma"))
    }
    penalties = {name: penalty for name, penalty in each.items() if penalty.weight}
    return penalties, {"kl": kl.spec, "divergence": divergence.spec}


@torch.no_grad()
def _check_densities(
    c: HierarchicalChoices, parts: HierarchicalParts, penalties: Mapping[str, ScalePenalty]
) -> None:
    """Check that each divergence compares densities as it will get them, before any step.

    What somebody else's projector gives is left to the first step.

    Raises:
        OptionError: It does not.
    """
    pyramids = PartPair(
        BuiltPart(parts.prior_pyramid, None), BuiltPart(parts.posterior_pyramid, None)
    )
    sizes, widths = _dimensions(c, pyramids), _contexts(c, pyramids)
    for penalty in penalties.values():
        density: Distribution = Independent(Normal(torch.zeros(1, sizes[penalty.scale]), 1.0), 1)
        if penalty.on == "projected":
            projector = parts.projectors[penalty.scale]
            if not is_shipped(projector):
                continue
            density = projector(density, torch.zeros(1, widths[penalty.scale]))
        check_comparable(penalty.divergence, DensityPair(density, density))


hierarchical = HierarchicalRecipe(
    "hierarchical",
    "Hierarchical Probabilistic U-Net (Kohl et al., 2019): latents at several scales.",
    HierarchicalChoices(),
)
hierarchical_csae = HierarchicalRecipe(
    "hierarchical-csae",
    "cSAE of several resolutions: at each scale both densities projected, and compared.",
    HierarchicalChoices(projector="planar", divergence="sinkhorn", gamma=10.0, image_size=64),
)
