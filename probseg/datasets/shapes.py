"""Synthetic shapes whose annotation distribution is known in closed form."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.errors import OptionError
from probseg.interfaces import Batch, Sample

_VERSION = 1  # of the drawing, for the fingerprint
_BACKGROUND, _BRIGHTEST, _NOISE = 0.1, 0.9, 0.04  # intensities; the least step between modes is 0.2


class AmbiguousShapes:
    r"""Ellipses in brighter ellipses: annotators differ in how far they follow them.

    Each image shows M concentric ellipses, each of half the area of the next and brighter. An
    annotator outlines the m-th one with probability \(f_m\), independently of the image and of
    the other annotators, so that the modes of the annotation distribution and their frequencies
    are known exactly; neighbouring modes have an IoU of 1/2. Images are drawn when they are asked
    for and depend on the seed and their index only.

    >>> AmbiguousShapes(samples=4)[0].masks.shape
    torch.Size([4, 32, 32])

    Args:
        size: Height and width in pixels.
        samples: Number of images.
        frequencies: Probability of each mode, the smallest ellipse first; they sum to one.
        annotators: Annotators of each image.
        seed: Of everything random.

    Attributes:
        frequencies: (M,) float64.

    Raises:
        OptionError: The frequencies are no distribution, or a count is not positive.
    """

    name = "ambiguous-shapes"
    channels = 1
    classes = 2
    provenance = "synthetic shapes with a known distribution of annotations"

    def __init__(
        self,
        *,
        size: int = 32,
        samples: int = 2000,
        frequencies: Sequence[float] = (0.5, 0.3, 0.2),
        annotators: int = 4,
        seed: int = 0,
    ) -> None:
        _check(size, samples, frequencies, annotators)
        self.size, self.annotators, self.seed = size, annotators, seed
        self.frequencies = torch.tensor(frequencies, dtype=torch.float64)
        self.groups: Sequence[str] = [f"shape-{index}" for index in range(samples)]
        options = repr((_VERSION, size, samples, tuple(frequencies), annotators, seed))
        self.fingerprint = hashlib.blake2b(options.encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Sample:
        batch = self.__getitems__([index])
        return Sample(batch.image[0], batch.masks[0], self.groups[index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch: (B, 1, H, W) images in [0, 1] and (B, A, H, W) masks."""
        drawings = [self._draw(index) for index in indices]
        modes = self._modes(drawings)
        levels = np.linspace(0, _BRIGHTEST - _BACKGROUND, modes.shape[1] + 1, dtype=np.float32)
        clean = levels[modes.sum(axis=1)] + _BACKGROUND
        image = clean + np.stack([drawing.noise for drawing in drawings])
        masks = np.stack([mode[d.chosen] for mode, d in zip(modes, drawings, strict=True)])
        return Batch(torch.from_numpy(image[:, None]).clamp_(0, 1), torch.from_numpy(masks))

    def modes(self, index: int) -> Tensor:
        """Return the annotations that the image ``index`` can have, (M, H, W) uint8."""
        return torch.from_numpy(self._modes([self._draw(index)])[0])

    def _draw(self, index: int) -> _Drawing:
        position = range(len(self))[int(index)]  # IndexError, and counts from the end
        random = np.random.default_rng([abs(self.seed), position])
        shift, angle, roundness, radius = random.random(2), *random.random(3)
        return _Drawing(
            centre=self.size * (0.5 + 0.12 * (2 * shift - 1)),
            angle=math.pi * angle,
            aspect=0.75 + 0.25 * roundness,
            radius=self.size * (0.28 + 0.06 * radius),
            chosen=random.choice(len(self.frequencies), self.annotators, p=self.frequencies),
            noise=_NOISE * random.standard_normal((self.size, self.size), np.float32),
        )

    def _modes(self, drawings: Sequence[_Drawing]) -> NDArray[np.uint8]:
        grid = np.arange(self.size) + 0.5
        centre, angle, aspect, radius = (
            np.array([drawing[field] for drawing in drawings]) for field in range(4)
        )
        y = (grid[None] - centre[:, :1])[:, :, None]
        x = (grid[None] - centre[:, 1:])[:, None, :]
        cos, sin = (f(angle)[:, None, None] for f in (np.cos, np.sin))
        along, across = x * cos + y * sin, (y * cos - x * sin) / aspect[:, None, None]
        squared = (along**2 + across**2) / radius[:, None, None] ** 2  # 1 at the outer edge
        areas = 0.5 ** np.arange(len(self.frequencies))[::-1]  # shares of the largest
        inside: NDArray[np.bool_] = squared[:, None] <= areas[:, None, None]
        return inside.astype(np.uint8)


class _Drawing(NamedTuple):
    centre: NDArray[np.float64]  # y, x in pixels
    angle: float
    aspect: float
    radius: float  # of the largest ellipse, pixels
    chosen: NDArray[np.intp]  # (A,) mode of each annotator
    noise: NDArray[np.float32]  # (H, W)


def mode_frequencies(samples: Tensor, modes: Tensor) -> Tensor:
    r"""Return how often samples fall to each mode, the one of largest IoU.

    Args:
        samples: (N, H, W) classes, 0 or 1.
        modes: (M, H, W) classes, 0 or 1.

    Returns:
        (M,) float64 that sums to one.
    """
    a, b = samples.flatten(1).double(), modes.flatten(1).double()
    both = a @ b.T
    either = a.sum(1, keepdim=True) + b.sum(1) - both
    iou = torch.where(either > 0, both / either.clamp(min=1), 1.0)
    return torch.bincount(iou.argmax(1), minlength=len(b)).double() / len(a)


def _check(size: int, samples: int, frequencies: Sequence[float], annotators: int) -> None:
    if min(size, samples, annotators) < 1:
        raise OptionError("size, samples and annotators are counts; give at least 1 of each")
    if min(frequencies, default=0) < 0 or not math.isclose(sum(frequencies), 1):
        raise OptionError(f"frequencies {tuple(frequencies)} must be at least 0 and sum to one")
