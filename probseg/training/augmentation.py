"""Random transformations of image and masks together: Table 5 in docs/reproduce.md, and flips."""

from __future__ import annotations

from typing import NamedTuple

import torch
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from torch import Generator, Tensor

from probseg.utils.devices import to_device

# Intervals from which the parameters of a transformation are drawn uniformly.
TABLE_5: dict[str, tuple[float, float]] = {
    "rotation": (-180.0, 180.0),  # degrees
    "translation": (-0.1, 0.1),  # of the image's width and of its height
    "scale": (0.8, 1.2),  # the same for both axes
    "shear": (-30.0, 30.0),  # degrees, for x and for y
    "brightness": (0.8, 1.2),  # factor
    "gamma": (0.5, 1.5),  # exponent
}
_WIDTHS = [1, 2, 1, 2, 1, 1]  # parameters of each


class Draw(NamedTuple):
    """The parameters of one transformation for each of B images, float32 on the CPU."""

    rotation: Tensor  # (B,) degrees
    translation: Tensor  # (B, 2) fractions of width and height
    scale: Tensor  # (B,)
    shear: Tensor  # (B, 2) degrees
    brightness: Tensor  # (B,)
    gamma: Tensor  # (B,)


def draw(count: int, generator: Generator) -> Draw:
    """Draw the parameters for ``count`` images, on the CPU whatever device the images are on."""
    intervals = [
        i for i, width in zip(TABLE_5.values(), _WIDTHS, strict=True) for _ in range(width)
    ]
    low, high = torch.tensor(intervals).unbind(1)
    values = low + (high - low) * torch.rand(count, len(intervals), generator=generator)
    return Draw(*(part.squeeze(1) for part in values.split(_WIDTHS, dim=1)))


def apply(
    image: Tensor, masks: Tensor, parameters: Draw, *, outside: int = 0
) -> tuple[Tensor, Tensor]:
    """Transform images and their masks by given parameters.

    Brightness and gamma change the image only: ``x -> clip(f x, 0, 1) ** g`` on intensities in
    [0, 1]. An image that leaves [0, 1] is first mapped into it by its own extrema (widened to
    include 0 and 1) and mapped back after. The affine map is the same for image (bilinear) and
    masks (nearest neighbour, no new value). What comes in from outside the image is background:
    class 0 and the darkest intensity (0 for images in [0, 1]), so no lesion is added, and none is
    separated from its label.

    Args:
        image: (B, C, H, W) float.
        masks: (B, A, H, W) classes, or soft.
        parameters: Of B images.
        outside: The value of masks outside the image, such as one to ignore.
    """
    # small, and computed where it was drawn: on a GPU it would be 150 more operations to launch
    matrix = to_device(
        affine_matrix(parameters, height=image.shape[2], width=image.shape[3]), image.device
    )
    low = image.amin(dim=(1, 2, 3), keepdim=True).clamp(max=0)
    high = image.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    unit = (image - low) / (high - low)
    factor, exponent = (
        to_device(value[:, None, None, None], image.device).to(image.dtype)
        for value in (parameters.brightness, parameters.gamma)
    )
    unit = (unit * factor).clamp(0, 1) ** exponent
    warped = _warp(unit, matrix, mode="bilinear") * (high - low) + low
    shifted = masks.to(image.dtype) - outside if outside else masks.to(image.dtype)
    moved = _warp(shifted, matrix, mode="nearest")  # which is zero outside
    return warped, (moved + outside if outside else moved).to(masks.dtype)


def draw_flips(count: int, generator: Generator) -> Tensor:
    """Draw one of the eight symmetries of a square for each of ``count`` images, on the CPU.

    Returns:
        (count,) 0 to 7: quarter turns to the left, and 4 more for a mirror image before them.
    """
    return torch.randint(8, (count,), generator=generator)


def flip(image: Tensor, masks: Tensor, symmetries: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror and turn images and their masks, which changes no value and needs no interpolation.

    Images that are not square are turned by half a turn where a square would be by a quarter.

    Args:
        image: (B, C, H, W).
        masks: (B, A, H, W).
        symmetries: (B,) of :func:`draw_flips`.

    >>> flip(torch.tensor([[[[1, 2], [3, 4]]]]), torch.zeros(1, 1, 2, 2), torch.tensor([5]))[0]
    tensor([[[[1, 3],
              [2, 4]]]])
    """
    square = image.shape[-2] == image.shape[-1]
    flipped, turned = torch.empty_like(image), torch.empty_like(masks)
    for index, symmetry in enumerate(symmetries.tolist()):
        for source, target in ((image, flipped), (masks, turned)):
            one = source[index].flip(-1) if symmetry & 4 else source[index]
            turns = symmetry & 3 if square else symmetry & 2
            target[index] = torch.rot90(one, turns, (-2, -1))
    return flipped, turned


def affine_matrix(parameters: Draw, *, height: int, width: int) -> Tensor:
    """The map of pixel coordinates (x, y, 1) about the image's centre, (B, 3, 3).

    Shear first, then rotation and scale, then translation.
    """
    size = parameters.scale.new_tensor([width, height])
    shear = torch.deg2rad(parameters.shear)
    return get_affine_matrix2d(
        parameters.translation * size,
        (size / 2 - 0.5).expand(len(shear), 2),
        parameters.scale[:, None].expand(-1, 2),
        parameters.rotation,
        shear[:, 0],
        shear[:, 1],
    )


def _warp(tensor: Tensor, matrix: Tensor, *, mode: str) -> Tensor:
    height, width = tensor.shape[2:]
    return warp_affine(tensor, matrix[:, :2], (height, width), mode=mode, align_corners=False)
