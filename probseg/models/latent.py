"""The one latent-variable model: PU-Net, 2p-planar and the cSAE differ in their parts only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution

from probseg.encoders.axis_aligned import AxisAligned
from probseg.errors import InputError, OptionError
from probseg.interfaces import Backbone, Decoder, LatentEncoder, Projector
from probseg.models.annotations import Annotations
from probseg.models.annotator_mixture import AnnotatorMixture, repeated
from probseg.models.cross_entropy import CrossEntropy
from probseg.models.penalties import DensityPair, Penalty, Space, check_comparable, is_shipped
from probseg.models.prior import PriorModel, sample_density
from probseg.models.variability import Variability
from probseg.options import check_number
from probseg.projectors.flow import Identity
from probseg.utils.contexts import kept_buffers, normalisation_errors
from probseg.utils.seeding import seeded
from probseg.utils.tensors import cropped, one_hot, padded, probabilities

FlowContext = Literal["image", "own", "posterior"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The networks of a latent-variable model."""

    backbone: Backbone
    prior: LatentEncoder  # sees the image
    posterior: LatentEncoder  # sees the image and the one-hot label
    decoder: Decoder
    prior_projector: Projector
    posterior_projector: Projector


class Encoded(NamedTuple):
    """What the two encoders say of B images and their labels, B or A * B."""

    q: Distribution
    context_q: Tensor
    p: Distribution
    context_p: Tensor

    @property
    def annotators(self) -> int:
        """A, or one."""
        return len(self.context_q) // len(self.context_p)


class LatentVariableModel(PriorModel):
    r"""A model of a prior p(z | x) that learns with a posterior q(z | x, y).

    .. math:: L = -\log p(y | \hat z, x) + \sum_i w_i D_i(q, p), \quad \hat z \sim \hat q

    Training decodes a sample of the projected posterior, eq. (12) of docs/method.md; sampling
    decodes the base prior and needs no projector. Every method takes images (B, C, H, W) of any H
    and W and labels (B, H, W) of integer classes, and raises an ``InputError`` for others. A label
    may be soft as well, floating probabilities (B, K, H, W). Pixels of the label that are
    ``ignore_index`` count for nothing, and the posterior sees no class there.

    A model of all annotators, whose spec has ``all_annotators``, takes masks (B, A, H, W) in
    :meth:`loss` only. It decodes a sample of each annotator's posterior, and averages the terms
    over the annotators who labelled the image.

    Args:
        parts: The networks.
        penalties: Name of the loss term to what it penalises.
        flow_context: Whose context conditions the projectors: that of the ``"image"`` (the
            prior's) for both, each its ``"own"``, or the ``"posterior"``'s for both.
        spec: Plain data such that ``build(**spec)`` gives the same architecture. The loss reads
            ``reduction`` of it, and ``top_k``, ``all_annotators``, ``variability`` and
            ``variability_samples`` if it has them.

    Raises:
        OptionError: A penalty or the variability needs all annotators and the model has one, the
            prior's flow reads a label where a penalty compares it with all of them, or a divergence
            does not compare such densities.
    """

    def __init__(
        self,
        parts: Parts,
        penalties: Mapping[str, Penalty],
        *,
        flow_context: FlowContext,
        spec: dict[str, Any],
    ) -> None:
        super().__init__(spec)
        self.cross_entropy = CrossEntropy(spec["reduction"], top_k=spec.get("top_k"))
        self.backbone = parts.backbone
        self.prior_encoder = parts.prior
        self.posterior_encoder = parts.posterior
        self.decoder = parts.decoder
        self.prior_projector = parts.prior_projector
        self.posterior_projector = parts.posterior_projector
        self.penalties = dict(penalties)
        self.flow_context = flow_context
        self.all_annotators = bool(spec.get("all_annotators"))
        self.soft_labels = not self.all_annotators
        self.variability = _variability(spec)
        self._check_spaces()
        # registers the parameters of a divergence that learns
        self.divergences = nn.ModuleDict(
            {n: p.divergence for n, p in penalties.items() if isinstance(p.divergence, nn.Module)}
        )
        self._check_densities()

    def loss(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted terms of the training objective, eq. (12) of docs/method.md.

        Their sum is minimised. They are ``"cross_entropy"``, one scalar for each penalty,
        multiplied by its weight, and ``"variability"`` if the model has that. A model of all
        annotators takes their masks (B, A, H, W) as the label; those of an annotator who is absent
        are ``ignore_index`` everywhere.
        """
        image = self._image(image, values=False)
        label = self._label(label, image, values=False, ignore_index=ignore_index)
        given = Annotations.of_all(label) if self.all_annotators else Annotations(label)
        with self._networks_seeded(generator, image):
            x, y = self._padded(image, given.label)
            encoded = self._encoded(x, y)
            spaces = self._spaces(encoded, given)
            features = self.backbone(x)
            with seeded(generator, image.device):
                latent = spaces["projected"].q.rsample().unflatten(0, given.shape)
            logits = cropped(self.decoder(features, latent), image)
            with seeded(generator if self.cross_entropy.draws else None, image.device):
                terms = {"cross_entropy": self._cross_entropy(logits, given)}
            with seeded(generator, image.device):
                terms |= self._penalties(spaces, given)
            if self.variability is None:
                return terms
            with seeded(generator, image.device):
                latent = encoded.p.rsample(torch.Size((self.variability.samples,)))
            samples = probabilities(cropped(self.decoder(features, latent), image))
            return terms | {"variability": self.variability(samples, label)}

    @torch.no_grad()
    def reconstruct(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Return probabilities (B, K, H, W) decoded from a sample of the projected posterior."""
        image = self._image(image, values=True)
        label = self._annotation(label, image, values=True, ignore_index=ignore_index)
        with kept_buffers(self), self._networks_seeded(generator, image):
            x, y = self._padded(image, label)
            posterior = self._densities(x, y)[1].q
            with seeded(generator, image.device):
                latent = sample_density(posterior)
            logits = cropped(self.decoder(self.backbone(x), latent), image)
            return self.calibration.probabilities(logits)

    def posterior(
        self, image: Tensor, label: Tensor, *, ignore_index: int | None = None
    ) -> Distribution:
        """Return the base posterior q(z | x, y), batch (B,) and event (L,)."""
        return self.densities(image, label, ignore_index=ignore_index)[0].q

    def densities(
        self, image: Tensor, label: Tensor, *, ignore_index: int | None = None
    ) -> tuple[DensityPair, DensityPair]:
        """Return posterior and prior on the base space, and on the projected one."""
        image = self._image(image, values=True)
        label = self._annotation(label, image, values=True, ignore_index=ignore_index)
        with kept_buffers(self), normalisation_errors():
            return self._densities(*self._padded(image, label))

    def _densities(self, image: Tensor, one_hot: Tensor) -> tuple[DensityPair, DensityPair]:
        return self._pairs(self._encoded(image, one_hot))

    def _encoded(self, image: Tensor, one_hot: Tensor) -> Encoded:
        """Encode images (B, C, H, W) and labels (B, K, H, W) or (A * B, K, H, W)."""
        images = _repeat(image, len(one_hot) // len(image))
        q, posterior = self.posterior_encoder(torch.cat([images, one_hot], dim=1))
        return Encoded(q, posterior, *self.prior_encoder(image))

    def _pairs(self, encoded: Encoded) -> tuple[DensityPair, DensityPair]:
        """Return the pairs on the base space and on the projected one, of each label."""
        p = repeated(encoded.p, encoded.annotators)
        posterior, prior = encoded.context_q, _repeat(encoded.context_p, encoded.annotators)
        contexts = {
            "image": (prior, prior),
            "own": (posterior, prior),
            "posterior": (posterior, posterior),
        }
        context_q, context_p = contexts[self.flow_context]
        projected_q = self.posterior_projector(encoded.q, context_q)
        return DensityPair(encoded.q, p), DensityPair(
            projected_q, self.prior_projector(p, context_p)
        )

    def _spaces(self, encoded: Encoded, given: Annotations) -> dict[Space, DensityPair]:
        base, projected = self._pairs(encoded)
        spaces: dict[Space, DensityPair] = {"base": base, "projected": projected}
        if given.present is not None and self._compares_annotators:
            mixture = AnnotatorMixture(projected.q, given.present)
            prior = self._project(encoded.p, encoded.context_p)
            spaces["annotators"] = DensityPair(mixture, prior)
        return spaces

    def _project(self, prior: Distribution, context: Tensor) -> Distribution:
        if self._prior_reads_label:
            raise InputError(
                "the projected prior of this model reads the posterior's context, which needs a "
                "label; sample the base prior, or build with flow_context='image'"
            )
        return self.prior_projector(prior, context)

    def _cross_entropy(self, logits: Tensor, given: Annotations) -> Tensor:
        """Return the scalar of logits (B, K, H, W) or (A, B, K, H, W)."""
        if given.present is None:
            return self.cross_entropy(logits, given.label)
        each = self.cross_entropy.of_images(logits.flatten(0, 1), given.label)
        return given.average(each)

    def _penalties(
        self, spaces: Mapping[Space, DensityPair], given: Annotations
    ) -> dict[str, Tensor]:
        terms = {}
        with torch.autocast(next(self.parameters()).device.type, enabled=False):
            for name, penalty in self.penalties.items():
                each = penalty.divergence(*spaces[penalty.on])
                mean = each.mean() if penalty.on == "annotators" else given.average(each)
                terms[name] = penalty.weight * mean
        return terms

    @property
    def _compares_annotators(self) -> bool:
        return any(penalty.on == "annotators" for penalty in self.penalties.values())

    def _check_spaces(self) -> None:
        """Check that what needs all annotators has them.

        Raises:
            OptionError: It has not.
        """
        everybody = "needs a model of all annotators; pass all_annotators=True"
        if self.variability is not None and not self.all_annotators:
            raise OptionError(
                f"variability={self.variability.weight} compares samples with several annotators "
                f"of an image and {everybody}, or leave variability out"
            )
        for name in (name for name, one in self.penalties.items() if one.on == "annotators"):
            if not self.all_annotators:
                raise OptionError(
                    f"the penalty {name!r} compares on 'annotators' and {everybody}, or compare on "
                    "'projected'"
                )
            if self._prior_reads_label:
                raise OptionError(
                    f"the penalty {name!r} compares all annotators of an image with one prior, and "
                    "the prior's flow reads a label; pass flow_context='image', or compare on "
                    "'projected'"
                )

    @torch.no_grad()
    def _check_densities(self) -> None:
        """Check that each divergence compares densities as it will get them, before any step.

        It is known which these are of the encoders and projectors that probseg ships, and left to
        the first step of others.

        Raises:
            OptionError: It does not.
        """
        both = (self.posterior_encoder, self.prior_encoder)
        encoders = [encoder for encoder in both if isinstance(encoder, AxisAligned)]
        parts = (*both, self.posterior_projector, self.prior_projector)
        if len(encoders) < len(both) or not all(is_shipped(part) for part in parts):
            return
        weight = next(self.parameters())
        with kept_buffers(self), torch.random.fork_rng(devices=[]):
            contexts = (weight.new_zeros(1, encoder.context_features) for encoder in encoders)
            posterior, prior = (
                encoder.density(context)
                for encoder, context in zip(encoders, contexts, strict=True)
            )
            one = weight.new_ones(1, 1, dtype=torch.bool)
            present = one if self.all_annotators else None
            spaces = self._spaces(Encoded(*posterior, *prior), Annotations(one, present))
        for penalty in self.penalties.values():
            check_comparable(penalty.divergence, spaces[penalty.on])

    @property
    def _prior_reads_label(self) -> bool:
        return self.flow_context == "posterior" and not isinstance(self.prior_projector, Identity)

    def _padded(self, image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image and the one-hot label minus one half, padded to the stride."""
        centred = one_hot(label, self.classes).to(image.dtype) - 0.5
        return padded(image, self.backbone.stride), padded(centred, self.backbone.stride)


def _repeat(tensor: Tensor, times: int) -> Tensor:
    return tensor if times == 1 else torch.cat([tensor] * times)


def _variability(spec: Mapping[str, Any]) -> Variability | None:
    weight = check_number("variability", spec.get("variability", 0.0), positive=False)
    if not weight:
        return None
    return Variability(
        weight, samples=spec.get("variability_samples", 8), reduction=spec["reduction"]
    )
