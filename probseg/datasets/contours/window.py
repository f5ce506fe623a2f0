"""The part of a CT scan that a picture shows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.lidc.nodules import Nodule

SIZE = 128  # height and width of the picture, pixels
_SLICE = 512  # of a CT slice

Pixels = NDArray[np.float32]  # (H, W) or (n, H, W)


class Window(NamedTuple):
    """Pixels around one nodule, in its slices; distances are from the middle of the scan."""

    origin: tuple[int, int]  # column and row of the first pixel within the slice
    spacing: float  # mm a pixel
    z: NDArray[np.float64]  # (n,) height of the slices, mm

    @property
    def view(self) -> float:
        """Width of the whole slice, mm."""
        return _SLICE * self.spacing

    @property
    def x(self) -> Pixels:
        """Columns, (1, SIZE) in mm."""
        return self._axis(0)[np.newaxis, :]

    @property
    def y(self) -> Pixels:
        """Rows, (SIZE, 1) in mm."""
        return self._axis(1)[:, np.newaxis]

    @property
    def middle(self) -> NDArray[np.float64]:
        """Position of the nodule, x and y in mm."""
        return (np.array(self.origin) + SIZE / 2 - _SLICE / 2) * self.spacing

    @property
    def heights(self) -> Pixels:
        """Heights of the slices above the nodule's middle, (n,) in mm."""
        heights: Pixels = (self.z - (self.z.min() + self.z.max()) / 2).astype(np.float32)
        return heights

    def _axis(self, axis: int) -> Pixels:
        first = self.origin[axis] - _SLICE / 2
        return (first + np.arange(SIZE, dtype=np.float32)) * np.float32(self.spacing)


def window_around(nodule: Nodule) -> Window:
    """Return the window whose middle is the middle of a nodule's bounding box."""
    contours = [contour for part in nodule.annotations for contour in part.contours]
    points = np.concatenate([contour.points for contour in contours])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    column, row = np.floor(middle).astype(int) - SIZE // 2
    z = np.unique([contour.z for contour in contours if contour.inclusion])
    return Window((int(column), int(row)), nodule.scan.spacing, z)
