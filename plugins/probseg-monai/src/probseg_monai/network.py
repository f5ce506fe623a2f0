"""A network of MONAI as a backbone; MONAI is imported when one is built."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from probseg.errors import OptionError
from probseg.options import check_options


class Network(nn.Module):
    """A 2-D network whose output is the features.

    Args:
        network: Turns (B, C, H, W) into (B, F, H, W).
        out_channels: F.
        halvings: How often the network halves the image.
    """

    def __init__(self, network: nn.Module, *, out_channels: int, halvings: int) -> None:
        super().__init__()
        self.network = network
        self.out_channels = out_channels
        # Twice what the network needs: the smallest feature maps are normalised, and a single
        # pixel has no variance.
        self.stride = 2 ** (halvings + 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return features (B, F, H, W) of an image (B, C, H, W) whose sides the stride divides."""
        features: Tensor = self.network(image)
        return features


def network(
    name: str, in_channels: int, out_channels: int, /, *, halvings: int, **options: Any
) -> Network:
    """Return one of MONAI's networks as a backbone.

    Args:
        name: A class of ``monai.networks.nets``.
        in_channels: C.
        out_channels: F.
        halvings: How often the network halves the image.
        **options: Of the class.

    Raises:
        OptionError: The class has no such option, or cannot be built with it.
    """
    constructor = getattr(importlib.import_module("monai.networks.nets"), name)
    fixed = {"spatial_dims": 2, "in_channels": in_channels, "out_channels": out_channels}
    check_options(constructor, {**options, **fixed}, owner=f"MONAI's {name}")
    try:
        built = constructor(**fixed, **options)
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise OptionError(f"MONAI cannot build {name} with {options}: {error}") from error
    return Network(built, out_channels=out_channels, halvings=halvings)
