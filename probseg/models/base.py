"""The base class of models: checks of inputs, seeded networks, saving and sharing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from probseg.calibration import Calibration
from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import InputError, OptionError
from probseg.options import check_integer, to_plain
from probseg.sharing import checkpoint, hub
from probseg.utils.contexts import kept_buffers, normalisation_errors
from probseg.utils.model_inputs import checked_image, checked_label, checked_masks
from probseg.utils.seeding import check_generator, seeded
from probseg.utils.tensors import cropped, padded


class ProbabilisticModel(nn.Module):
    """A segmentation model with a description, which checks its inputs and can be saved.

    A subclass defines :meth:`terms` and :meth:`draw`, which get the features of its ``backbone``.
    Inputs are checked, padded to the backbone's stride and cropped again, and all random numbers
    come from the caller's generator. Under autocast the backbone computes in bfloat16, and
    ``terms`` and ``draw`` in the precision of the weights. A subclass may define :meth:`loss` and
    :meth:`sample` instead; that one applies :attr:`calibration` then.

    Args:
        spec: Plain data such that ``build(**spec)`` gives the same architecture.

    Raises:
        OptionError: No channel, or fewer than two classes.
    """

    soft_labels = False  # whether the loss takes probabilities (B, K, H, W) as labels
    all_annotators = False  # whether the loss takes everybody's masks (B, A, H, W) at once

    # functions whose first argument is the model
    save = checkpoint.save
    save_pretrained = hub.save_pretrained
    push_to_hub = hub.push_to_hub

    preprocessing: Preprocessing | None = None
    """What was done to the images that it learnt from; None if that is unknown."""

    prior_can_be_scaled = False  # whether ``sample`` heeds the calibration's ``prior_scale``

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.in_channels: int = check_integer("in_channels", spec["in_channels"])
        self.classes: int = check_integer("classes", spec["classes"], low=2)
        self._calibration = Calibration()

    @property
    def calibration(self) -> Calibration:
        """What is changed of the samples, see :func:`probseg.calibrate`; part of the spec.

        Assign a :class:`Calibration`, or None to change nothing. Losses do not depend on it.
        """
        return self._calibration

    @calibration.setter
    def calibration(self, given: Calibration | Mapping[str, float] | None) -> None:
        calibration = Calibration.of(given)
        if calibration.prior_scale != 1 and not self.prior_can_be_scaled:
            raise OptionError(
                f"{self.spec['name']!r} has no prior whose scale could be multiplied; leave "
                "prior_scale out, or pass 1"
            )
        self._calibration = calibration
        others = {name: value for name, value in self.spec.items() if name != "calibration"}
        changes = calibration != Calibration()
        self.spec = {**others, "calibration": calibration.to_plain()} if changes else others

    def features(self, image: Tensor) -> Tensor:
        """Return the backbone's features (B, F, H, W) of a checked image (B, C, H, W) of any size.

        They are of the type of the weights, also under autocast. A model without a ``backbone``
        returns here what :meth:`terms` and :meth:`draw` are to get.
        """
        backbone: Any = self.backbone
        return cropped(backbone(padded(image, backbone.stride)), image).to(image.dtype)

    def terms(self, features: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return weighted scalar terms, whose sum is minimised, given a label (B, H, W).

        The label is -100 at pixels that nobody labelled, which torch's own losses and
        :func:`probseg.models.cross_entropy.cross_entropies` leave out.
        """
        raise NotImplementedError(f"{type(self).__name__} must define terms(features, label)")

    def draw(self, features: Tensor, n: int) -> Tensor:
        """Return probabilities (n, B, K, H, W) of n segmentations of each image."""
        raise NotImplementedError(f"{type(self).__name__} must define draw(features, n)")

    def loss(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted scalar terms of the training objective; their sum is minimised.

        Args:
            image: (B, C, H, W) floating, of any H and W.
            label: (B, H, W) integer classes, one annotation of each image; of a model with
                ``soft_labels`` also floating probabilities (B, K, H, W).
            generator: Makes random numbers reproducible.
            ignore_index: The label of pixels that nobody labelled, which count for nothing.

        Raises:
            InputError: The image or the label is not what the model was built for.
        """
        image = self._image(image, values=False)
        label = self._label(label, image, values=False, ignore_index=ignore_index)
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
        with kept_buffers(self), self._networks_seeded(generator, image):
            features = self.features(image)
        with _autocast_off(image), seeded(generator, image.device):
            return self.calibration.of_probabilities(self.draw(features, count))

    def tile_decoder(
        self, image: Tensor, n: int, *, tile: int, generator: Generator | None
    ) -> tuple[Tensor, Callable[[Tensor, int], Tensor]]:
        """Return the checked image, and what makes logits of a part's features.

        The second takes features (B, F, h, w) and a number of samples n, for the first n of them
        (n, B, K, h, w). This method draws what the samples of all parts share; see
        :mod:`probseg.models.tiling`.

        Raises:
            InputError: The model has no such thing.
        """
        raise InputError(
            f"{self.spec['name']!r} draws noise for each pixel and cannot be sampled in tiles; "
            "leave tile out, or resize the image"
        )

    def forward(self, image: Tensor, label: Tensor, **options: Any) -> dict[str, Tensor]:
        """Return :meth:`loss`, for wrappers that call a module."""
        return self.loss(image, label, **options)

    def _image(self, image: Tensor, *, values: bool) -> Tensor:
        return checked_image(image, self.in_channels, next(self.parameters()), values=values)

    def _label(
        self, label: Tensor, image: Tensor, *, values: bool, ignore_index: int | None
    ) -> Tensor:
        options: Any = {"values": values, "ignore_index": ignore_index}
        if self.all_annotators:
            return checked_masks(label, image, self.classes, **options)
        return self._annotation(label, image, **options)

    def _annotation(
        self, label: Tensor, image: Tensor, *, values: bool, ignore_index: int | None
    ) -> Tensor:
        options: Any = {"values": values, "ignore_index": ignore_index}
        return checked_label(label, image, self.classes, soft=self.soft_labels, **options)

    def _check_evaluating(self) -> None:
        """Check that no network is in training mode.

        Raises:
            InputError: One is.
        """
        if any(module.training for module in self.modules()):
            raise InputError("tiles are sampled in evaluation mode; call model.eval() first")

    @contextmanager
    def _networks_seeded(self, generator: Generator | None, image: Tensor) -> Iterator[None]:
        """Let networks that may draw random numbers, as dropout does, draw from the generator.

        Their errors say what can be done.
        :func:`probseg.utils.seeding.seeded` costs time, so it is left out if all modules are in
        evaluation mode and of libraries whose layers draw in training mode only.
        """
        check_generator(generator)
        draw = any(m.training or _library(m) not in _DETERMINISTIC for m in self.modules())
        with normalisation_errors(), seeded(generator if draw else None, image.device):
            yield


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
    count = to_plain(n)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InputError(f"the number of samples must be a positive integer, not {n!r}")
    return count
