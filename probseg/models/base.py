"""The base class of models: checks of inputs, seeded networks, saving and sharing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

from torch import Generator, Tensor, nn

from probseg.errors import InputError
from probseg.options import check_integer
from probseg.sharing import checkpoint, hub
from probseg.utils.seeding import seeded
from probseg.utils.tensors import checked_image, checked_label


class ProbabilisticModel(nn.Module, ABC):
    """A segmentation model with a description, which checks its inputs and can be saved.

    Args:
        spec: Plain data such that ``build(**spec)`` gives the same architecture.

    Raises:
        OptionError: No channel, or fewer than two classes.
    """

    # functions whose first argument is the model
    save = checkpoint.save
    save_pretrained = hub.save_pretrained
    push_to_hub = hub.push_to_hub

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.in_channels: int = check_integer("in_channels", spec["in_channels"])
        self.classes: int = check_integer("classes", spec["classes"], low=2)

    @abstractmethod
    def loss(
        self, image: Tensor, label: Tensor, *, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Return weighted scalar terms, whose sum is minimised."""

    @abstractmethod
    def sample(self, image: Tensor, n: int, *, generator: Generator | None = None) -> Tensor:
        """Return probabilities (n, B, K, H, W) of n segmentations of each image."""

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


def checked_count(n: int) -> int:
    """Return the number of samples asked for.

    Raises:
        InputError: It is not a positive integer.
    """
    if not isinstance(n, int) or n < 1:
        raise InputError(f"the number of samples must be a positive integer, not {n!r}")
    return n
