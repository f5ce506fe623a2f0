"""A latent model that learns from all annotations at once, without a posterior."""

from __future__ import annotations

from torch import Generator, Tensor
from torch.distributions import Distribution, MixtureSameFamily

from probseg.encoders.mixture import Mixture
from probseg.errors import OptionError
from probseg.interfaces import Backbone, Decoder, LatentEncoder
from probseg.models.prior import PriorModel, draw_latents
from probseg.models.set_training import SetTrained, build_set_loss, warn_of_few
from probseg.options import check_choice, check_integer
from probseg.registry.specs import Part, build_part
from probseg.utils.seeding import seeded
from probseg.utils.tensors import cropped, padded, probabilities


class EnergyModel(SetTrained, PriorModel):
    r"""A prior and a decoder, trained by a loss between sets of masks; no posterior is needed.

    .. math:: L = D(\{\hat y_1, \dots, \hat y_S\}, \{y_1, \dots, y_A\}), \quad
        \hat y_s = p(y | z_s, x), \quad z_s \sim p(z | x)

    Each step decodes S samples of an image and compares them with the masks of all its annotators.
    Of a prior that is a mixture, S / G samples are drawn of each of its G experts, and weighed by
    the expert's weight, which so gets a gradient.

    Args:
        in_channels: C.
        classes: K, the background included.
        latent_dim: L.
        backbone: Turns the image into features.
        encoder: Of the prior.
        decoder: Turns features and a latent sample into logits.
        set_loss: How far samples are from annotations; ``"energy"`` is a proper scoring rule.
        samples: S, in training; at least two, whose distance is what the spread is estimated from.
        stratified: Whether the latents of training share out the prior, see
            :mod:`probseg.models.stratified`, or are independent; those of several experts are.

    Raises:
        UnknownNameError: No part has that name.
        OptionError: An option is unknown, of the wrong type or out of range, or the experts of the
            prior do not divide S.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        classes: int = 2,
        latent_dim: int = 6,
        backbone: Part = "unet",
        encoder: Part = "axis-aligned",
        decoder: Part = "fcomb",
        set_loss: Part = "energy",
        samples: int = 8,
        stratified: bool = True,
    ) -> None:
        numbers = {"in_channels": in_channels, "latent_dim": latent_dim, "samples": samples}
        for option, value in numbers.items():
            check_integer(option, value, low=2 if option == "samples" else 1)
        check_choice("stratified", stratified, (True, False))
        image, latent = {"in_channels": in_channels}, {"latent_dim": latent_dim}
        network = build_part("backbones", backbone, Backbone, **image)
        prior = build_part("encoders", encoder, LatentEncoder, **image, **latent)
        if isinstance(prior.part, Mixture):
            _check_experts(prior.part.experts, samples)
        of_features = {"in_channels": network.part.out_channels, "classes": classes}
        logits = build_part("decoders", decoder, Decoder, **of_features, **latent)
        compared = build_set_loss(set_loss, stratified=stratified)
        if getattr(prior.part, "experts", 1) == 1:
            warn_of_few(compared.part, samples)
        super().__init__(
            {
                "name": "energy",
                **numbers,
                "classes": classes,
                "backbone": network.spec,
                "encoder": prior.spec,
                "decoder": logits.spec,
                "set_loss": compared.spec,
                "stratified": stratified,
            }
        )
        self.backbone, self.prior_encoder, self.decoder = network.part, prior.part, logits.part
        self.set_loss, self.samples, self.stratified = compared.part, samples, stratified

    def training_samples(
        self, image: Tensor, generator: Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return S decoded samples of the prior, and the weights of its experts or None."""
        x = padded(image, self.backbone.stride)
        prior, _ = self.prior_encoder(x)
        features = self.backbone(x)
        with seeded(generator, image.device):
            latent, weights = even_sample(prior, self.samples, stratified=self.stratified)
        return probabilities(cropped(self.decoder(features, latent), image)), weights


def even_sample(
    density: Distribution, samples: int, *, stratified: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return samples (S, B, L) of a density, and the weights (G, B) of a mixture's experts.

    Of a mixture, as many samples come from each expert, one expert's after the other's. Those of
    several experts are independent: an expert draws a few, and stratified ones of these few are
    further apart than two draws of its density are on average.

    Raises:
        OptionError: The number of experts does not divide S.
    """
    if not isinstance(density, MixtureSameFamily):
        return draw_latents(density, samples, stratified=stratified), None
    weights: Tensor = density.mixture_distribution.probs.mT
    experts = len(weights)
    _check_experts(experts, samples)
    components = density.component_distribution
    each = draw_latents(components, samples // experts, stratified=stratified and experts == 1)
    return each.movedim(2, 0).flatten(0, 1), weights  # from (S / G, B, G, L)


def _check_experts(experts: int, samples: int) -> None:
    """Check that each of a mixture's experts can draw as many samples.

    Raises:
        OptionError: It cannot.
    """
    if samples % experts:
        raise OptionError(
            f"samples must be a multiple of the prior's {experts} experts, such as "
            f"samples={-(-samples // experts) * experts}, not {samples}"
        )
