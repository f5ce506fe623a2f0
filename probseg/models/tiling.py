"""Samples of images that do not fit into memory: tile by tile, with one latent for the whole image.

A tile goes through the network with as much of its surroundings as the network looks at (the halo),
so that the tiles are those of the whole image, up to rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor
from torch.distributions import Distribution

from probseg.calibration import calibration_of
from probseg.errors import InputError
from probseg.options import check_integer, listing
from probseg.utils.tensors import padded

Local = Callable[[Tensor], Tensor]  # (B, C, H, W) -> (..., H / r, W / r)

# Layers that read the whole of what they get, by the ends of their names.
_GLOBAL = (
    "InstanceNorm2d",
    "GroupNorm",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "MultiheadAttention",
)
_LEAST_HEIGHT = 16  # pixels of a strip
_TOLERANCE, _ROUGH_TOLERANCE = 1e-2, 1e-1  # of the largest value, in single and half precision


@runtime_checkable
class PooledEncoder(Protocol):
    """A latent encoder that can be computed in tiles: a mean over positions of local features."""

    stride: int
    """How many pixels a position of the features stands for."""

    def features(self, image: Tensor, /) -> Tensor:
        """Return features (B, c, h, w) of an image (B, C, H, W)."""

    def density(self, context: Tensor, /) -> tuple[Distribution, Tensor]:
        """Return the density and the context, given the mean of the features (B, c)."""


class Tile(NamedTuple):
    """The samples of a part of an image."""

    rows: slice
    columns: slice
    probabilities: Tensor
    """(n, B, K, h, w)."""


class Window(NamedTuple):
    """A part of one side: what is read, and what is kept of it, in pixels."""

    start: int
    stop: int
    first: int
    last: int

    def kept(self, reduction: int = 1) -> slice:
        """Return which positions to keep of what is computed from the window."""
        first, last = self.first - self.start, self.last - self.start
        return slice(first // reduction, -(-last // reduction))


@torch.no_grad()
def sample_tiles(
    model: Any,
    image: Tensor,
    n: int,
    *,
    tile: int,
    generator: Generator | None = None,
    **options: Any,
) -> Iterator[Tile]:
    """Yield samples of images of any size, a tile at a time.

    The tiles of a sample share its latent, and together they are what ``model.sample`` returns, up
    to rounding. The memory that is needed besides the image grows with the tile and with what the
    network looks at around it, and not with the image.

    Args:
        model: A latent-variable model or the deterministic one, in evaluation mode.
        image: (B, C, H, W) floating.
        n: Samples of each image.
        tile: Edge of a tile in pixels; it is rounded up to the backbone's stride.
        generator: Makes the samples reproducible.
        **options: Further ones of ``model.sample``, such as ``projected``.

    Raises:
        InputError: The image is not what the model was built for, the model is in training mode, or
            it reads the whole image at once, as instance normalisation or global pooling does.
        OptionError: ``tile`` is no positive integer.
    """
    if not hasattr(model, "backbone"):
        raise InputError(
            f"{model.spec['name']!r} cannot be sampled in tiles, since it has no backbone that "
            "could go over an image part by part; leave tile out, or resize the image"
        )
    stride = model.backbone.stride
    tile = -(-check_integer("tile", tile) // stride) * stride
    image, decode = model.tile_decoder(image, n, tile=tile, generator=generator, **options)
    whole = padded(image, stride)

    def local(part: Tensor, samples: int = n) -> Tensor:
        logits: Tensor = decode(model.backbone(part), samples)
        return logits

    try:
        halo = _halo(lambda part: local(part, 1), whole, tile=tile, step=stride)
    except _UnboundedError as error:
        raise InputError(
            f"{model.spec['name']!r} cannot be sampled in tiles: {error}{_global_layers(model)}; "
            "resize the image instead, or train with another backbone, such as 'unet' with "
            "norm=None or norm='batch'"
        ) from error
    height, width = image.shape[2:]
    calibration = calibration_of(model)
    for rows, columns in _windows(whole, tile=tile, halo=halo, step=stride):
        logits = local(_cut(whole, rows, columns))[..., rows.kept(), columns.kept()]
        bottom, right = min(rows.last, height), min(columns.last, width)
        logits = logits[..., : bottom - rows.first, : right - columns.first]
        yield Tile(
            slice(rows.first, bottom),
            slice(columns.first, right),
            calibration.probabilities(logits),
        )


def assembled(tiles: Iterable[Tile], size: tuple[int, int]) -> Tensor:
    """Return tiles as the samples (n, B, K, H, W) of an image of ``size`` (H, W)."""
    result: Tensor | None = None
    for tile in tiles:
        if result is None:
            result = tile.probabilities.new_empty(*tile.probabilities.shape[:3], *size)
        result[..., tile.rows, tile.columns] = tile.probabilities
    assert result is not None  # an image has a pixel
    return result


def encode_in_tiles(encoder: Any, image: Tensor, tile: int) -> tuple[Distribution, Tensor]:
    """Return what an encoder makes of a whole image, computed in tiles if it is a mean over them.

    Otherwise the image goes through it in one piece, and a warning says so.
    """
    reason = "it is no probseg.models.tiling.PooledEncoder"
    if isinstance(encoder, PooledEncoder):
        try:
            return encoder.density(_mean_in_tiles(encoder, image, tile))
        except _UnboundedError as error:
            reason = f"{error}{_global_layers(encoder)}"
    if max(image.shape[2:]) > tile:
        warnings.warn(
            f"the prior's encoder takes the image in one piece ({reason}), so the memory grows "
            "with the image there; the samples are right all the same",
            stacklevel=2,
        )
    density: tuple[Distribution, Tensor] = encoder(image)
    return density


def _mean_in_tiles(encoder: PooledEncoder, image: Tensor, tile: int) -> Tensor:
    step = encoder.stride
    halo = _halo(encoder.features, image, tile=tile, step=step, reduction=step)
    total, count = image.new_zeros(()), 0
    for rows, columns in _windows(image, tile=tile, halo=halo, step=step):
        features = encoder.features(_cut(image, rows, columns))
        kept = features[..., rows.kept(step), columns.kept(step)].to(image.dtype)
        total, count = total + kept.sum(dim=(2, 3)), count + kept[0, 0].numel()
    return total / count


class _UnboundedError(Exception):
    """What a tile holds depends on pixels at any distance."""


def _windows(image: Tensor, *, tile: int, halo: int, step: int) -> Iterator[tuple[Window, Window]]:
    """Yield the windows of the rows and columns of an image (B, C, H, W), in reading order."""
    edge = -(-tile // step) * step

    def along(side: int) -> list[Window]:
        ends = ((first, min(first + edge, side)) for first in range(0, side, edge))
        return [Window(max(0, a - halo), min(side, b + halo), a, b) for a, b in ends]

    return product(along(image.shape[2]), along(image.shape[3]))


def _cut(image: Tensor, rows: Window, columns: Window) -> Tensor:
    return image[..., rows.start : rows.stop, columns.start : columns.stop]


def _halo(local: Local, image: Tensor, *, tile: int, step: int, reduction: int = 1) -> int:
    """Return how far a function looks around a pixel, in whole steps.

    Raises:
        _UnboundedError: Farther than the image reaches, or it depends on the image's size.
    """
    axes = [axis for axis in (2, 3) if image.shape[axis] > tile]
    reaches = [_reach(local, image, axis=axis, step=step, reduction=reduction) for axis in axes]
    return max(reaches, default=0)


def _reach(local: Local, image: Tensor, *, axis: int, step: int, reduction: int) -> int:
    """Return the halo along one axis, measured on a strip of noise twice as long as the image.

    Whatever is read from farther away lies outside of the image, of a tile as of the whole.
    """
    half = -(-image.shape[axis] // step) * step
    shape = [*image.shape[:2], step * max(2, -(-_LEAST_HEIGHT // step)), 2 * half]
    strip = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(image)

    def along(strip: Tensor) -> Tensor:
        """Return (..., N / r), what becomes of a strip that lies along the axis."""
        result = local(strip if axis == 3 else strip.transpose(2, 3))
        return (result if axis == 3 else result.transpose(-2, -1)).flatten(0, -2)

    halo = -(-_contaminated(along, strip, reduction) // step) * step
    if halo >= half:
        raise _UnboundedError(
            "each pixel of a result depends on pixels anywhere in an image of this size"
        )
    _check_cut(along, strip, halo, reduction)
    return halo


def _contaminated(along: Local, strip: Tensor, reduction: int) -> int:
    """Return how far NaN in one half of a strip reaches into the other, in pixels.

    NaN passes through every operation, even times zero, so this is what a function looks at.
    """
    middle = strip.shape[3] // 2
    reached = []
    with torch.backends.cudnn.flags(enabled=False):  # some of its algorithms mix far positions
        for half in (slice(None, middle), slice(middle, None)):
            spoilt = strip.clone()
            spoilt[..., half] = torch.nan
            reached.append(along(spoilt).isnan().any(dim=0))
    # of the other half, from the middle outwards
    after, before = reached[0][middle // reduction :], reached[1][: middle // reduction].flip(0)
    distances = torch.arange(1, len(after) + 1, device=after.device)
    return int(((after | before) * distances).max()) * reduction


def _check_cut(along: Local, strip: Tensor, halo: int, reduction: int) -> None:
    """Check that half a strip gives what the whole strip gives there, beyond the halo."""
    middle, margin = strip.shape[3] // 2, halo // reduction
    whole = along(strip)
    left, right = along(strip[..., :middle]), along(strip[..., middle:])
    ends = left.shape[1] - margin, left.shape[1] + margin
    differences = [
        (left[:, : ends[0]] - whole[:, : ends[0]]).abs().max(),
        (right[:, margin:] - whole[:, ends[1] :]).abs().max(),
    ]
    exact = whole.dtype.itemsize >= 4
    if max(differences) > (_TOLERANCE if exact else _ROUGH_TOLERANCE) * whole.abs().max():
        raise _UnboundedError(
            "its result depends on the image's size, as interpolation with align_corners=True does"
        )


def _global_layers(module: Any) -> str:
    """Return which layers of a module are known to read all that they get, in brackets."""
    names = {type(m).__name__ for m in module.modules() if type(m).__name__.endswith(_GLOBAL)}
    return f" ({listing(names)})" if names else ""
