"""Training by a loss between sets of masks: an image's samples, and everybody's annotations."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from probseg.interfaces import SetLoss
from probseg.models.base import ProbabilisticModel


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
        with torch.autocast(image.device.type, enabled=False):
            return {"set_loss": self.set_loss(samples, masks, weights).mean()}
