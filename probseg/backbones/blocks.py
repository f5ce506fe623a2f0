"""Convolution blocks that the U-Net, the encoders and the pyramids share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

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
        layers.extend(normalisation(norm, out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def residual_blocks(
    in_channels: int, out_channels: int, *, blocks: int, norm: str | None = None
) -> nn.Sequential:
    """Return pre-activation residual blocks, the first of which changes the number of channels.

    Raises:
        OptionError: No such normalisation.
    """
    widths = (in_channels, *(blocks * [out_channels]))
    return nn.Sequential(*(ResidualBlock(a, b, norm=norm) for a, b in pairwise(widths)))


class ResidualBlock(nn.Module):
    """``x + f(x)``, where f is three times a normalisation, a ReLU and a 3x3 convolution.

    The first two convolutions are half as wide. The last starts at zero, and so does f: a deep
    network of such blocks starts as a shallow one. Where widths differ, x passes a 1x1 convolution.

    References:
        He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016; Kohl et al., 2019,
        arXiv 1905.13077; Goyal et al., 2017, arXiv 1706.02677, section 5.1, on the start at zero.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: str | None = None) -> None:
        super().__init__()
        half = max(1, out_channels // 2)
        layers: list[nn.Module] = []
        for before, after in pairwise((in_channels, half, half, out_channels)):
            convolution = he_initialised(nn.Conv2d(before, after, 3, padding=1))
            layers.extend((*normalisation(norm, before), nn.ReLU(), convolution))
        for parameter in convolution.parameters():
            nn.init.zeros_(parameter)
        self.residual = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
            nn.init.kaiming_normal_(self.shortcut.weight, nonlinearity="linear")

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, out_channels, H, W) of features (B, in_channels, H, W)."""
        changed: Tensor = self.shortcut(features) + self.residual(features)
        return changed


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


def freeze_unused(network: nn.Module, image: Tensor, *, last: int = 0) -> list[Tensor]:
    """Freeze what features do not depend on, and return the features of an image.

    Weights without a gradient would keep several processes waiting for it. Of a list of features,
    the ``last`` ones count, or all.
    """
    named = [p for p in network.parameters() if p.requires_grad]
    found = network.eval()(image)
    features = [found] if isinstance(found, Tensor) else list(found)
    total = torch.stack([one.sum() for one in features[-last:]]).sum()
    gradients = torch.autograd.grad(total, named, allow_unused=True)
    for parameter, gradient in zip(named, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    network.train()
    return features


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


def normalisation(norm: str | None, channels: int) -> list[nn.Module]:
    """Return the normalisation called ``norm`` in a list, which is empty for ``None``.

    Raises:
        OptionError: No such normalisation.
    """
    if norm is None:
        return []
    layers: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(channels),
        "group": lambda: nn.GroupNorm(8 if channels % 8 == 0 else 1, channels),
        "instance": lambda: nn.InstanceNorm2d(channels, affine=True),
    }
    check_choice("norm", norm, (None, *layers))
    return [layers[norm]()]
