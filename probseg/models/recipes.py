"""Recipes of the published models, each a choice of parts for the one latent-variable model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from probseg.errors import OptionError
from probseg.interfaces import Backbone, Decoder, Divergence, LatentEncoder, Projector
from probseg.models.choices import check_weighed, help_of
from probseg.models.latent import FlowContext, LatentVariableModel, Parts
from probseg.models.part_pairs import PartPair, build_pair, is_pair
from probseg.models.penalties import Penalty, Space
from probseg.options import check_choice, check_integer, check_number, listing, unknown
from probseg.registry.specs import BuiltPart, Part, Spec, build_part

# Options that stand for two penalties, "kl" and "divergence"; ``penalties`` stands for any.
_SHORT = ("kl", "kl_on", "beta", "divergence", "divergence_on", "gamma")
_OF_PENALTY = ("divergence", "weight", "on")
_SPACES = ("base", "projected", "annotators")
_TERMS = ("cross_entropy", "variability")  # of the loss, beside the penalties
_CHOICES = {
    "project": ("posterior", "both"),
    "kl_on": _SPACES,
    "divergence_on": _SPACES,
    "flow_context": ("image", "own", "posterior"),
    "shared_flow": (True, False),
}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Everything that can be chosen about a latent-variable model.

    Each part is a name, a mapping ``{"name": ..., **options}`` or a ready object. What a model has
    two of (encoders, and projectors unless the flow is shared) can also be given as a mapping
    ``{"prior": part, "posterior": part}``.

    Args:
        in_channels: C, of the image.
        classes: K, the background included.
        latent_dim: L.
        backbone: Turns the image into features.
        encoder: Of the prior and of the posterior.
        decoder: Turns features and a latent sample into logits.
        projector: Pushes base densities forward.
        project: Which of them: ``"posterior"`` or ``"both"``.
        kl: The divergence that ``beta`` weighs.
        kl_on: The space it compares posterior and prior on: ``"base"``, ``"projected"``, or
            ``"annotators"``, the projected posteriors of all annotators of an image together.
        beta: Its weight.
        divergence: The divergence that ``gamma`` weighs.
        divergence_on: The space that it compares on.
        gamma: Its weight.
        penalties: All divergences between posterior and prior, in place of the six options above:
            the name of each loss term to ``{"divergence": part, "weight": number, "on": space}``.
        flow_context: Whose context conditions the projectors: ``"image"``, ``"own"`` or
            ``"posterior"``.
        shared_flow: One projector for both densities.
        reduction: Of the cross-entropy over pixels, ``"pixel-sum"`` or ``"pixel-mean"``; ``beta``
            and ``gamma`` belong to this scale.
        top_k: The share of an image's pixels in its cross-entropy, a random draw of the hardest;
            see :class:`probseg.models.cross_entropy.CrossEntropy`. None counts all.
        all_annotators: Learn from all annotators of an image in each step, in place of one.
        variability: Weight of the term that fits the samples' variance to the annotators'; see
            :class:`probseg.models.variability.Variability`.
        variability_samples: S, the samples of an image for it.
    """

    in_channels: int = 1
    classes: int = 2
    latent_dim: int = 6
    backbone: Part = "unet"
    encoder: Part = "axis-aligned"
    decoder: Part = "fcomb"
    projector: Part = "identity"
    project: str = "both"
    kl: Part = "kl"
    kl_on: Space = "base"
    beta: float = 10.0
    divergence: Part = None
    divergence_on: Space = "projected"
    gamma: float = 0.0
    penalties: Mapping[str, Mapping[str, Any]] | None = None
    flow_context: FlowContext = "image"
    shared_flow: bool = True
    reduction: str = "pixel-sum"
    top_k: float | None = None
    all_annotators: bool = False
    variability: float = 0.0
    variability_samples: int = 8

    def __post_init__(self) -> None:
        """Check what no part checks."""
        lowest = {"in_channels": 1, "classes": 2, "latent_dim": 1, "variability_samples": 2}
        for option, low in lowest.items():
            check_integer(option, getattr(self, option), low=low)
        for option, choices in _CHOICES.items():
            check_choice(option, getattr(self, option), choices)
        for option in ("beta", "gamma", "variability"):
            check_number(option, getattr(self, option), positive=False)
        if self.penalties is not None and not isinstance(self.penalties, Mapping):
            raise OptionError(f"penalties must map names to penalties, not {self.penalties!r}")
        if self.gamma and self.divergence is None:
            raise OptionError(
                f"gamma={self.gamma} has no divergence to weight; pass one too, such as "
                "divergence='sinkhorn'"
            )


_WITHOUT_SHORT = {"divergence": None, "gamma": 0.0}  # whatever a recipe's defaults are


class Recipe:
    """A model as a named point among all choices; calling it builds the model."""

    def __init__(self, name: str, summary: str, defaults: Choices) -> None:
        self.name = name
        self.defaults = defaults
        self.__doc__, self.__signature__ = help_of(defaults, summary)

    def __call__(self, **options: Any) -> LatentVariableModel:
        """Build the model with ``options`` in place of the recipe's defaults.

        Raises:
            UnknownNameError: No part has that name.
            OptionError: An option is unknown, of the wrong type or out of range.
        """
        if options.get("penalties") is not None:
            if short := [option for option in _SHORT if option in options]:
                raise OptionError(
                    f"{self.name} takes penalties or {listing(short)}, not both; write all of them "
                    "as penalties"
                )
            options = {**_WITHOUT_SHORT, **options}
        check_weighed(self.name, options, self.defaults)
        choices = replace(self.defaults, **options)
        if is_pair(choices.projector):
            choices = replace(choices, shared_flow=False)  # equal or not, two were asked for
        parts, networks = _networks(choices)
        penalties, described = _penalties(choices)
        left_out = ("penalties",) if choices.penalties is None else _SHORT
        spec = {name: value for name, value in vars(choices).items() if name not in left_out}
        return LatentVariableModel(
            parts,
            penalties,
            flow_context=choices.flow_context,
            spec={"name": self.name, **spec, **networks, **described},
        )

    def __repr__(self) -> str:
        """The recipe's name."""
        return f"<recipe {self.name}>"


def _networks(c: Choices) -> tuple[Parts, Spec]:
    image, latent = {"in_channels": c.in_channels}, {"latent_dim": c.latent_dim}
    with_label = {"in_channels": c.in_channels + c.classes}
    backbone = build_part("backbones", c.backbone, Backbone, **image)
    encoders = build_pair("encoders", c.encoder, LatentEncoder, image | latent, with_label | latent)
    features = {"in_channels": backbone.part.out_channels}
    decoder = build_part("decoders", c.decoder, Decoder, **features, **latent, classes=c.classes)
    projectors = _projectors(c, encoders)
    parts = Parts(
        backbone=backbone.part,
        prior=encoders.prior.part,
        posterior=encoders.posterior.part,
        decoder=decoder.part,
        prior_projector=projectors.prior.part,
        posterior_projector=projectors.posterior.part,
    )
    return parts, {
        "backbone": backbone.spec,
        "encoder": encoders.spec,
        "decoder": decoder.spec,
        "projector": projectors.spec if c.project == "both" else projectors.posterior.spec,
    }


def _penalties(c: Choices) -> tuple[dict[str, Penalty], Spec]:
    """Return the penalties, and the options that describe them."""
    if c.penalties is not None:
        built = {name: _penalty(name, given) for name, given in c.penalties.items()}
        described = {name: spec for name, (_, spec) in built.items()}
        return {name: penalty for name, (penalty, _) in built.items()}, {"penalties": described}
    kl = build_part("divergences", c.kl, Divergence)
    penalties = {"kl": Penalty(kl.part, c.beta, on=c.kl_on)}
    divergence = BuiltPart(None, None)
    if c.divergence is not None:
        divergence = build_part("divergences", c.divergence, Divergence)
        penalties["divergence"] = Penalty(divergence.part, c.gamma, on=c.divergence_on)
    weighed = {name: penalty for name, penalty in penalties.items() if penalty.weight}
    return weighed, {"kl": kl.spec, "divergence": divergence.spec}


def _penalty(name: str, given: object) -> tuple[Penalty, Spec]:
    if name in _TERMS:
        raise OptionError(
            f"a penalty cannot be called {name!r}, which is the name of another loss term"
        )
    if not isinstance(given, Mapping):
        raise OptionError(f"penalties[{name!r}] must have {listing(_OF_PENALTY)}, not {given!r}")
    for key in given:
        if key not in _OF_PENALTY:
            raise OptionError(unknown(f"option of penalties[{name!r}]", key, _OF_PENALTY))
    if missing := [key for key in _OF_PENALTY if key not in given]:
        raise OptionError(f"penalties[{name!r}] lacks {listing(missing)}")
    on = given["on"]
    weight = check_number(f"the weight of penalties[{name!r}]", given["weight"])
    check_choice(f"on of penalties[{name!r}]", on, _CHOICES["kl_on"])
    divergence = build_part("divergences", given["divergence"], Divergence)
    spec = {"divergence": divergence.spec, "weight": weight, "on": on}
    return Penalty(divergence.part, weight, on=on), spec


def _projectors(c: Choices, encoders: PartPair) -> PartPair:
    widths = [encoder.part.context_features for encoder in encoders]
    context_p = widths[c.flow_context == "posterior"]
    context_q = widths[c.flow_context != "image"]
    fixed_p = {"features": c.latent_dim, "context_features": context_p}
    fixed_q = {"features": c.latent_dim, "context_features": context_q}
    if c.project == "posterior":
        identity = build_part("projectors", "identity", Projector, **fixed_p)
        return PartPair(identity, build_part("projectors", c.projector, Projector, **fixed_q))
    if not c.shared_flow:
        return build_pair("projectors", c.projector, Projector, fixed_p, fixed_q)
    if context_p != context_q:
        raise OptionError(
            f"a shared flow needs contexts of one width, and they have {context_p} and {context_q}"
            "; pass shared_flow=False or flow_context='image'"
        )
    shared = build_part("projectors", c.projector, Projector, **fixed_q)
    return PartPair(shared, shared)


punet = Recipe(
    "punet",
    "Probabilistic U-Net (Kohl et al., NeurIPS 2018): analytic KL, no projector.",
    Choices(),
)
two_step_planar = Recipe(
    "2p-planar",
    "PU-Net whose posterior passes two planar steps (Valiuddin et al., UNSURE 2021).",
    Choices(projector="planar", project="posterior", kl_on="projected", flow_context="posterior"),
)
csae = Recipe(
    "csae",
    "Conditional Sinkhorn Auto-Encoder: both densities projected, eq. (12) of docs/method.md.",
    Choices(projector="planar", divergence="sinkhorn", gamma=10.0),
)
spu_net = Recipe(
    "spu-net",
    "SPU-Net (Valiuddin et al., IEEE TMI 2025): no flow and no KL; the Sinkhorn divergence between "
    "one posterior sample of each annotator of an image and as many of its prior.",
    Choices(
        all_annotators=True,
        beta=0.0,
        divergence={"name": "sinkhorn", "samples": None},
        divergence_on="annotators",
        gamma=10.0,
    ),
)
