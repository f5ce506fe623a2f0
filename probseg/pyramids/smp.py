"""Every encoder of segmentation-models-pytorch as a pyramid."""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from probseg.backbones.blocks import convolution_block, freeze_unused
from probseg.backbones.smp import check_encoder, refusals, to_fetch
from probseg.errors import OptionError
from probseg.options import check_integer
from probseg.utils.contexts import normalisation_errors

_PROBE = 64  # pixels, which the large kernels of some encoders need


class EncoderPyramid(nn.Module):
    """The maps of an encoder of segmentation-models-pytorch, and a convolution of the image.

    The encoder's own first map is the image; two convolutions make features of it. A level that
    the encoder does not have, as the second one of many transformers, is these features, pooled.

    Args:
        in_channels: C of the image.
        encoder: One of the library's encoders, such as ``"resnet34"`` or ``"tu-convnext_tiny"``.
        depth: How many times the image is halved.
        features: Maps at full resolution.
        encoder_weights: Pretrained weights to fetch (needs the network), or ``None``. A model that
            is loaded fetches none.

    Raises:
        OptionError: No such encoder, or one whose maps do not halve from one to the next.

    References:
        https://smp.readthedocs.io
    """

    def __init__(
        self,
        in_channels: int,
        *,
        encoder: str = "resnet34",
        depth: int = 5,
        features: int = 16,
        encoder_weights: str | None = None,
    ) -> None:
        super().__init__()
        check_encoder(encoder)
        check_integer("depth", depth)
        check_integer("features", features)
        weights = to_fetch(encoder_weights)
        with refusals(f"the encoder {encoder!r} with depth={depth}"):
            self.encoder = smp.encoders.get_encoder(encoder, in_channels, depth, weights)
        self.stem = convolution_block(in_channels, features, convolutions=2)
        self.stride = 2**depth
        side = max(_PROBE, self.stride)
        maps = freeze_unused(self, torch.zeros(1, in_channels, side, side))
        self.channels = tuple(one.shape[1] for one in maps)
        sides = [one.shape[-1] for one in maps]
        if sides != [side >> level for level in range(depth + 1)]:
            raise OptionError(
                f"the maps of the encoder {encoder!r} are {sides} wide for an image of {side} "
                "pixels, and those of a pyramid halve; choose another encoder, such as 'resnet34'"
            )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return features (B, F_l, H / 2^l, W / 2^l) of each level l, the finest first.

        Raises:
            InputError: A batch of one in training mode, where the encoder normalises a single
                pixel over the batch.
        """
        stem = self.stem(image)
        with normalisation_errors():
            _, *maps = self.encoder(image)
        pooled = (functional.avg_pool2d(stem, 2**level) for level in range(1, len(maps) + 1))
        return [stem, *(m if m.shape[1] else p for m, p in zip(maps, pooled, strict=True))]
