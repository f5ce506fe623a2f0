"""Synthetic shapes with a known distribution of annotations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import OptionError
from probseg.interfaces import Batch, Sample

_VERSION = 3  # of the drawing, part of the fingerprint
_BACKGROUND, _LOBE, _CORE, _NOISE = 0.1, 0.5, 0.9, 0.04  # intensities
_TILT = math.radians(15)  # largest


_Numbers = NDArray[np.float64]
_Region = NDArray[np.bool_]


class AmbiguousShapes:
    r"""A core with lobes around it: annotators agree on the core and each adds one of the lobes.

    Each image shows a bright core and M lobes in equal steps around it. An annotator adds the m-th
    lobe, counted from the top, with probability \(f_m\), independently of the image and of the
    other annotators: the modes of the annotation distribution and their frequencies are known
    exactly. No mode lies between two others, so a model can go from any one to any other. Images
    are drawn when they are read and depend only on the seed and their index.

    >>> AmbiguousShapes(samples=4)[0].masks.shape
    torch.Size([4, 32, 32])

    Args:
        size: Height and width in pixels.
        samples: Number of images.
        frequencies: Probability of each mode, that of the upper lobe first; they sum to one.
        annotators: Number of annotators of each image.
        seed: Seed of everything random.

    Attributes:
        frequencies: (M,) float64.
        preprocessing: What the images are: drawn in [0, 1].

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
        frequencies: Sequence[float] = (0.4, 0.35, 0.25),
        annotators: int = 4,
        seed: int = 0,
    ) -> None:
        _check(size, samples, frequencies, annotators)
        self.size, self.annotators, self.seed = size, annotators, seed
        self.preprocessing = Preprocessing(size=(size, size), normalise="none", channels=("grey",))
        self.frequencies = torch.tensor(frequencies, dtype=torch.float64)
        self.groups: Sequence[str] = [f"shape-{index}" for index in range(samples)]
        options = repr((_VERSION, size, samples, tuple(frequencies), annotators, seed))
        self.fingerprint = hashlib.blake2b(options.encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Sample:
        batch = self.batch([index])
        everybody = torch.ones(self.annotators, dtype=torch.bool)
        return Sample(batch.image[0], batch.masks[0], self.groups[index], everybody)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch: (B, 1, H, W) images in [0, 1] and (B, A, H, W) masks."""
        drawings = [self._draw(index) for index in indices]
        core, lobes = self._regions(drawings)
        clean = np.where(lobes.any(axis=1), np.float32(_LOBE), np.float32(_BACKGROUND))
        clean[core] = _CORE
        image = clean + np.stack([drawing.noise for drawing in drawings])
        chosen = np.stack([drawing.chosen for drawing in drawings])
        masks = core[:, None] | np.take_along_axis(lobes, chosen[..., None, None], axis=1)
        return Batch(
            torch.from_numpy(image[:, None]).clamp_(0, 1),
            torch.from_numpy(masks.astype(np.uint8)),
        )

    def modes(self, index: int) -> Tensor:
        """Return the annotations that the image ``index`` can have, (M, H, W) uint8."""
        core, lobes = self._regions([self._draw(index)])
        return torch.from_numpy((core | lobes[0]).astype(np.uint8))

    def _draw(self, index: int) -> _Drawing:
        position = range(len(self))[int(index)]  # IndexError, and counts from the end
        random = np.random.default_rng([abs(self.seed), position])
        shift, angle, radius = random.random(2), *random.random(2)
        return _Drawing(
            centre=self.size * (0.5 + 0.06 * (2 * shift - 1)),
            angle=_TILT * (2 * angle - 1),
            radius=self.size * (0.12 + 0.03 * radius),
            chosen=random.choice(len(self.frequencies), self.annotators, p=self.frequencies),
            noise=_NOISE * random.standard_normal((self.size, self.size), np.float32),
        )

    def _regions(self, drawings: Sequence[_Drawing]) -> tuple[_Region, _Region]:
        """Return the cores (B, H, W) and the lobes (B, M, H, W), which do not overlap."""
        centre, angle, radius = (
            np.array([drawing[field] for drawing in drawings]) for field in range(3)
        )
        core = self._disc(centre, radius)
        count = len(self.frequencies)
        # Lobes touch the core; if there are many they are smaller, so as not to touch each other.
        share = min(1.0, math.sin(math.pi / max(count, 2)) * 1.5)
        turn = angle[:, None] + 2 * math.pi * np.arange(count) / count
        distance = (radius * (1 + 0.8 * share))[:, None, None]
        centres = centre[:, None] + distance * np.stack([-np.cos(turn), np.sin(turn)], axis=-1)
        lobes = self._disc(centres, np.repeat(radius[:, None] * share, count, axis=1))
        return core, lobes & ~core[:, None]

    def _disc(self, centre: _Numbers, radius: _Numbers) -> _Region:
        """Return discs (..., H, W) around centres (..., 2), which are y, x in pixels."""
        grid = np.arange(self.size) + 0.5
        y = (grid - centre[..., :1])[..., :, None]
        x = (grid - centre[..., 1:])[..., None, :]
        inside: _Region = y**2 + x**2 <= radius[..., None, None] ** 2
        return inside


class _Drawing(NamedTuple):
    centre: NDArray[np.float64]  # y, x in pixels
    angle: float  # of the first lobe to the vertical
    radius: float  # of the core, pixels
    chosen: NDArray[np.intp]  # (A,) mode of each annotator
    noise: NDArray[np.float32]  # (H, W)


def _check(size: int, samples: int, frequencies: Sequence[float], annotators: int) -> None:
    if min(size, samples, annotators) < 1:
        raise OptionError("size, samples and annotators must be at least 1")
    if min(frequencies, default=0) < 0 or not math.isclose(sum(frequencies), 1):
        numbers = tuple(frequencies)
        raise OptionError(f"frequencies must be at least 0 and sum to one, not {numbers}")
