"""A prior of latents at several scales that learns from all annotations, without a posterior."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, Tensor

from probseg.interfaces import Pyramid
from probseg.models.hierarchical_decoder import TopDown, check_scales, output_layer
from probseg.models.hierarchical_prior import HierarchicalPrior
from probseg.models.hierarchical_sampling import Sampled
from probseg.models.set_training import SetTrained, build_set_loss, warn_of_few
from probseg.options import check_choice, check_integer
from probseg.registry.specs import Part, build_part
from probseg.utils.seeding import seeded
from probseg.utils.tensors import cropped, padded, probabilities


class HierarchicalEnergyModel(SetTrained, HierarchicalPrior):
    r"""A hierarchical prior, trained by a loss between sets of masks; no posterior is needed.

    .. math:: L = D(\{\hat y_1, \dots, \hat y_S\}, \{y_1, \dots, y_A\}), \quad
        \hat y_s = p(y | z_s, x), \quad z_s \sim \prod_i p(z_i | z_{<i}, x)

    It is :class:`probseg.models.energy.EnergyModel` with a latent of c numbers at each position of
    several scales, as of :class:`probseg.models.hierarchical.HierarchicalModel`. The decoder runs
    for each of the S samples, so a step costs several times that of either.

    Args:
        in_channels: C.
        classes: K, the background included.
        pyramid: Turns the image into features of several levels.
        scales: How many of its levels have a latent, from the coarsest on; fewer than its levels.
        latent_channels: c, the numbers of a latent at each position.
        block: Of the decoder, ``"plain"`` (convolutions and ReLUs) or ``"residual"``.
        depth: Convolutions of a plain level of the decoder, or residual blocks of a residual one.
        norm: Of the decoder: ``None``, ``"batch"``, ``"group"`` or ``"instance"``.
        log_scale_bound: Largest absolute value of the latents' log sigma.
        class_prior: K frequencies whose logarithm is the initial bias of the logits.
        set_loss: How far samples are from annotations; ``"energy"`` is a proper scoring rule.
        samples: S, in training; at least two, whose distance is what the spread is estimated from.
        stratified: Whether the latents of training share out the prior, see
            :mod:`probseg.models.stratified`, or are independent.

    Raises:
        UnknownNameError: No part has that name.
        OptionError: An option is unknown, of the wrong type or out of range.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        classes: int = 2,
        pyramid: Part = "unet",
        scales: int = 4,
        latent_channels: int = 1,
        block: str = "plain",
        depth: int = 3,
        norm: str | None = None,
        log_scale_bound: float = 5.0,
        class_prior: Sequence[float] | None = None,
        set_loss: Part = "energy",
        samples: int = 4,
        stratified: bool = False,
    ) -> None:
        sizes = {"in_channels": in_channels, "scales": scales, "latent_channels": latent_channels}
        for option, value in sizes.items():
            check_integer(option, value)
        check_integer("classes", classes, low=2)
        check_integer("samples", samples, low=2)
        check_choice("stratified", stratified, (True, False))
        features = build_part("pyramids", pyramid, Pyramid, in_channels=in_channels)
        channels = features.part.channels
        check_scales(scales, len(channels))
        of_decoder = {"block": block, "depth": depth, "norm": norm}
        compared = build_set_loss(set_loss, stratified=stratified)
        warn_of_few(compared.part, samples)
        super().__init__(
            {
                "name": "hierarchical-energy",
                **sizes,
                "classes": classes,
                "pyramid": features.spec,
                **of_decoder,
                "log_scale_bound": log_scale_bound,
                "class_prior": None if class_prior is None else list(class_prior),
                "set_loss": compared.spec,
                "samples": samples,
                "stratified": stratified,
            },
            pyramid=features.part,
            decoder=TopDown(
                channels,
                scales=scales,
                latent_channels=latent_channels,
                doublings=len(channels) - 1,
                block=block,
                depth=depth,
                norm=norm,
                log_scale_bound=log_scale_bound,
            ),
            logits=output_layer(channels[0], classes, class_prior),
        )
        self.set_loss, self.samples, self.stratified = compared.part, samples, stratified

    def training_samples(
        self, image: Tensor, generator: Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return S decoded samples of the prior, and None: all weigh alike."""
        decoded = Sampled(self.decoder, self.pyramid(padded(image, self.stride)))
        with seeded(generator, image.device):
            noise = decoded.draw(self.samples, stratified=self.stratified)
        drawn = probabilities(cropped(self.logits(decoded(noise)), image))
        return drawn.unflatten(0, (self.samples, len(image))), None
