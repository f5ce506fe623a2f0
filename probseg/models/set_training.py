"""Training by a loss between sets of masks: an image's samples, and everybody's annotations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from probseg.errors import OptionError
from probseg.interfaces import SetLoss
from probseg.models.base import ProbabilisticModel
from probseg.options import named_parameters
from probseg.registry import registry
from probseg.registry.specs import BuiltPart, Part, build_part
from probseg.utils.seeding import seeded

FEWEST_STRATIFIED = 8  # samples that share out a prior well enough


class SetTrained(ProbabilisticModel):
    r"""A model whose samples of an image are compared with all annotations of it.

    .. math:: L = D(\{\hat y_1, \dots, \hat y_S\}, \{y_1, \dots, y_A\})

    A subclass sets the attributes and defines :meth:`training_samples`. It needs no posterior.
    """

    all_annotators = True

    set_loss: SetLoss
    """D."""
    samples: int
    """S, in training."""
    stratified: bool
    """Whether the latents of training share out the prior."""

    def training_samples(
        self, image: Tensor, generator: Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return S samples of each image, with gradients, and the weights of a mixture's experts.

        Args:
            image: (B, C, H, W) floating, already checked.
            generator: Of the latents' random numbers; those of networks are seeded already.

        Returns:
            Probabilities (S, B, K, H, W); and weights (G, B), of which each is of the next S / G
            samples, or None where all samples weigh alike.
        """
        raise NotImplementedError(f"{type(self).__name__} must define training_samples(…)")

    def loss(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the one term ``"set_loss"`` of images and everybody's masks.

        Args:
            image: (B, C, H, W) floating, of any H and W.
            label: (B, A, H, W) integer classes of all annotators.
            generator: Makes random numbers reproducible.
            ignore_index: The value of pixels that an annotator did not label; of one who is absent
                it is everywhere.

        Raises:
            InputError: The images or masks are not what the model was built for.
            OptionError: The experts of a prior that is a mixture do not divide S.
        """
        image = self._image(image, values=False)
        masks = self._label(label, image, values=False, ignore_index=ignore_index)
        with self._networks_seeded(generator, image):
            samples, weights = self.training_samples(image, generator)
        autocast_off = torch.autocast(image.device.type, enabled=False)
        with autocast_off, seeded(generator, image.device):
            return {"set_loss": self.set_loss(samples, masks, weights).mean()}


def build_set_loss(set_loss: Part, *, stratified: bool) -> BuiltPart:
    """Build a set loss; one that has the option ``stratified`` gets it from the model.

    A ready one keeps its own, which must be the model's.

    Raises:
        UnknownNameError: No set loss has that name.
        OptionError: An option of it is unknown, of the wrong type or out of range, or a ready one
            is for samples that are drawn otherwise.
    """
    losses = registry("set_losses")
    name = set_loss.get("name") if isinstance(set_loss, Mapping) else set_loss
    takes = named_parameters(losses[name]) if isinstance(name, str) and name in losses else ()
    fixed = {"stratified": stratified} if "stratified" in takes else {}
    built = build_part("set_losses", set_loss, SetLoss, **fixed)
    if getattr(built.part, "stratified", stratified) != stratified:
        raise OptionError(
            f"the set loss is for stratified={not stratified}, and the model draws its samples "
            f"with stratified={stratified}; give both the same, or name the set loss, such as "
            "set_loss='energy'"
        )
    return built


def warn_of_few(set_loss: Any, samples: int) -> None:
    """Warn of stratified samples that are too few to share out a density, if the loss counts on it.

    The loss then takes their spread for that of the density, which is larger, and the model learns
    too little of it.
    """
    if samples < FEWEST_STRATIFIED and getattr(set_loss, "stratified", False):
        warnings.warn(
            f"{samples} stratified samples share out a prior only roughly, and the model learns "
            f"too little spread; pass stratified=False, or samples={FEWEST_STRATIFIED} or more",
            stacklevel=3,
        )
