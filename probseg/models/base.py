"""The base class of models: checks of inputs, seeded networks, saving and sharing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import InputError
from probseg.options import check_integer
from probseg.sharing import checkpoint, hub
from probseg.utils.seeding import seeded
from probseg.utils.tensors import checked_image, checked_label, cropped, padded


class ProbabilisticModel(nn.Module):
    """A segmentation model with a description, which checks its inputs and can be saved.

    A subclass defines :meth:`terms` and :meth:`draw`, which get the features of its ``backbone``.
    Inputs are checked, padded to the backbone's stride and cropped again, and all random numbers
    come from the caller's generator. Under autocast the backbone computes in bfloat16, and
    ``terms`` and ``draw`` in the precision of the weights. A subclass may define :meth:`loss` and
    :meth:`sample` instead.

    Args:
        spec: Plain data such that ``build(**spec)`` gives the same architecture.

    Raises:
        OptionError: No channel, or fewer than two classes.
    """

    # functions whose first argument is the model
    save = checkpoint.save
    save_pretrained = hub.save_pretrained
    push_to_hub = hub.push_to_hub

    preprocessing: Preprocessing | None = None
    """What was done to the images that it learnt from; None if that is unknown."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.in_channels: int = check_integer("in_channels", spec["in_channels"])
        self.classes: int = check_integer("classes", spec["classes"], low=2)

    def features(self, image: Tensor) -> Tensor:
        """Return the backbone's features (B, F, H, W) of a checked image (B, C, H, W) of any size.

        They are of the type of the weights, also under autocast. A model without a ``backbone``
        returns here what :meth:`terms` and :meth:`draw` are to get.
        """
        backbone: Any = self.backbone
        return cropped(backbone(padded(image, backbone.stride)), image).to(image.dtype)

    def terms(self, features: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return weighted scalar terms, whose sum is minimised, given a label (B, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} must define terms(features, label)")

    def draw(self, features: Tensor, n: int) -> Tensor:
        """Return probabilities (n, B, K, H, W) of n segmentations of each image."""
        raise NotImplementedError(f"{type(self).__name__} must define draw(features, n)")

    def loss(
        self, image: Tensor, label: Tensor, *, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted scalar terms of the training objective; their sum is minimised.

        Args:
            image: (B, C, H, W) floating, of any H and W.
            label: (B, H, W) integer classes, one annotation of each image.
            generator: Makes random numbers reproducible.

        Raises:
            InputError: The image or the label is not what the model was built for.
        """
        image = self._image(image, values=False)
        label = self._label(label, image)
        with self._networks_seeded(generator, image):
            features = self.features(image)
        with _autocast_off(image), seeded(generator, image.device):
            return self.terms(features, label)

    @torch.no_grad()
    def sample(self, image: Tensor, n: int, *, generator: Generator | None = None) -> Tensor:
        """Return probabilities (n, B, K, H, W) of n segmentations of each image, without gradients.

        Args:
            image: (B, C, H, W) floating, of any H and W.
            n: Samples of each image.
            generator: Makes the samples reproducible.

        Raises:
            InputError: The image is not what the model was built for.
        """
        image, count = self._image(image, values=True), checked_count(n)
        with self._networks_seeded(generator, image):
            features = self.features(image)
        with _autocast_off(image), seeded(generator, image.device):
            return self.draw(features, count)

    def forward(
        self, image: Tensor, label: Tensor, *, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Return :meth:`loss`, for wrappers that call a module."""
        return self.loss(image, label, generator=generator)

    def _image(self, image: Tensor, *, values: bool) -> Tensor:
        return checked_image(image, self.in_channels, next(self.parameters()), values=values)

    def _label(self, label: Tensor, image: Tensor, *, values: bool = False) -> Tensor:
        return checked_label(label, image, self.classes, values=values)

    def _networks_seeded(
        self, generator: Generator | None, image: Tensor
    ) -> AbstractContextManager[None]:
        """Let networks that may draw random numbers, as dropout does, draw from the generator.

        :func:`probseg.utils.seeding.seeded` costs time, so it is left out if all modules are in
        evaluation mode and of libraries whose layers draw in training mode only.
        """
        draw = any(m.training or _library(m) not in _DETERMINISTIC for m in self.modules())
        return seeded(generator if draw else None, image.device)


# Libraries whose layers are deterministic in evaluation mode.
_DETERMINISTIC = {"probseg", "segmentation_models_pytorch", "timm", "torch", "torchvision"}


def _library(module: nn.Module) -> str:
    return type(module).__module__.partition(".")[0]


def _autocast_off(image: Tensor) -> AbstractContextManager[None]:
    return torch.autocast(image.device.type, enabled=False)


def checked_count(n: int) -> int:
    """Return the number of samples asked for.

    Raises:
        InputError: It is not a positive integer.
    """
    if not isinstance(n, int) or n < 1:
        raise InputError(f"the number of samples must be a positive integer, not {n!r}")
    return n
