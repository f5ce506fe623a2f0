"""A plain segmentation network: the baseline without ambiguity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from probseg.backbones.blocks import set_class_prior
from probseg.interfaces import Backbone
from probseg.models.base import ProbabilisticModel, checked_count
from probseg.models.cross_entropy import CrossEntropy
from probseg.models.tiling import assembled, sample_tiles
from probseg.options import check_integer
from probseg.registry.specs import Part, build_part
from probseg.utils.contexts import kept_buffers
from probseg.utils.tensors import cropped, padded


class DeterministicModel(ProbabilisticModel):
    """The deterministic baseline, a backbone and a 1x1 convolution: all samples are the same.

    Args:
        in_channels: C.
        classes: K.
        backbone: A name, a mapping or a ready object.
        class_prior: K frequencies whose logarithm is the initial bias of the logits.
        reduction: Of the cross-entropy over pixels, ``"pixel-sum"`` or ``"pixel-mean"``.

    Raises:
        UnknownNameError: No backbone has that name.
        OptionError: An option is of the wrong type or out of range.
    """

    soft_labels = True

    def __init__(
        self,
        *,
        in_channels: int = 1,
        classes: int = 2,
        backbone: Part = "unet",
        class_prior: list[float] | None = None,
        reduction: str = "pixel-sum",
    ) -> None:
        check_integer("in_channels", in_channels)
        built = build_part("backbones", backbone, Backbone, in_channels=in_channels)
        super().__init__(
            {
                "name": "deterministic",
                "in_channels": in_channels,
                "classes": classes,
                "backbone": built.spec,
                "class_prior": None if class_prior is None else list(class_prior),
                "reduction": reduction,
            }
        )
        self.cross_entropy = CrossEntropy(reduction)
        self.backbone = built.part
        self.logits = nn.Conv2d(built.part.out_channels, self.classes, 1)
        if class_prior is not None:
            set_class_prior(self.logits, class_prior)

    def loss(
        self,
        image: Tensor,
        label: Tensor,
        *,
        generator: Generator | None = None,
        ignore_index: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the cross-entropy of an image (B, C, H, W) and its label (B, H, W)."""
        image = self._image(image, values=False)
        label = self._label(label, image, values=False, ignore_index=ignore_index)
        with self._networks_seeded(generator, image):
            return {"cross_entropy": self.cross_entropy(self._logits(image), label)}

    @torch.no_grad()
    def sample(
        self,
        image: Tensor,
        n: int,
        *,
        generator: Generator | None = None,
        tile: int | None = None,
    ) -> Tensor:
        """Return n equal segmentations (n, B, K, H, W) of an image (B, C, H, W).

        ``tile`` is that of :func:`probseg.models.tiling.sample_tiles`.
        """
        if tile is not None:
            tiles = sample_tiles(self, image, n, tile=tile, generator=generator)
            return assembled(tiles, (image.shape[2], image.shape[3]))
        image = self._image(image, values=True)
        count = checked_count(n)
        with kept_buffers(self), self._networks_seeded(generator, image):
            drawn = self.calibration.probabilities(self._logits(image))
            return drawn.repeat(count, 1, 1, 1, 1)

    def tile_decoder(
        self, image: Tensor, n: int, *, tile: int, generator: Generator | None
    ) -> tuple[Tensor, Callable[[Tensor, int], Tensor]]:
        """Return the checked image, and the logits of features, n times."""
        self._check_evaluating()
        checked_count(n)
        image = self._image(image, values=True)
        return image, lambda features, samples: self.logits(features).expand(
            samples, -1, -1, -1, -1
        )

    def _logits(self, image: Tensor) -> Tensor:
        features = self.backbone(padded(image, self.backbone.stride))
        return cropped(self.logits(features), image)
