"""Convolution blocks that the U-Net and the encoders share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from probseg.errors import OptionError
from probseg.options import check_choice, check_integer


def convolution_block(
    in_channels: int, out_channels: int, *, convolutions: int = 3, norm: str | None = None
) -> nn.Sequential:
    """Return 3x3 convolutions, each with an optional normalisation and a ReLU.

    Weights follow He et al. (2015); biases a truncated normal of 0.001, as Kohl et al. (2018). The
    normalisation ``norm`` is ``None``, ``"batch"``, ``"group"`` or ``"instance"``.

    Raises:
        OptionError: No such normalisation.
    """
    layers: list[nn.Module] = []
    for step in range(convolutions):
        channels = in_channels if step == 0 else out_channels
        layers.append(he_initialised(nn.Conv2d(channels, out_channels, 3, padding=1)))
        layers.extend(_normalisation(norm, out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def he_initialised(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialise a convolution that a ReLU follows, in place."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.trunc_normal_(layer.bias, std=1e-3, a=-2e-3, b=2e-3)
    return layer


def set_class_prior(layer: nn.Conv2d, class_prior: Sequence[float]) -> None:
    """Set the bias of the layer that gives the logits to the logarithm of class frequencies.

    Raises:
        OptionError: They are not one positive number per class.
    """
    frequencies = torch.tensor(list(class_prior), dtype=torch.float64)
    if len(frequencies) != layer.out_channels or not bool((frequencies > 0).all()):
        raise OptionError(
            f"class_prior={list(class_prior)} must be {layer.out_channels} positive numbers, "
            "one per class"
        )
    assert layer.bias is not None
    with torch.no_grad():
        layer.bias.copy_((frequencies / frequencies.sum()).log())


def check_widths(channels: Sequence[int], convolutions: int) -> tuple[int, ...]:
    """Return the widths of a network's levels as a tuple.

    Raises:
        OptionError: There is no level, or a width or number of convolutions below one.
    """
    check_integer("convolutions", convolutions)
    widths = tuple(channels)
    if not widths:
        raise OptionError("channels must name the width of at least one level, not []")
    return tuple(check_integer("each width in channels", width) for width in widths)


def _normalisation(norm: str | None, channels: int) -> list[nn.Module]:
    if norm is None:
        return []
    layers: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(channels),
        "group": lambda: nn.GroupNorm(8 if channels % 8 == 0 else 1, channels),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=True),
    }
    check_choice("norm", norm, (None, *layers))
    return [layers[norm]()]
