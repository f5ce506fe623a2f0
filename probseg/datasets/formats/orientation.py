"""Volumes as stacks of upright pictures, an image and its masks alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.nifti import Volume, nibabel

_DOWNWARDS = np.array([[0, -1], [1, -1], [2, -1]])  # to the left, posterior and inferior


class Upright:
    """How an image's voxels, and those of its masks, become pictures of rows and columns.

    Pictures are as a radiologist sees them: columns go to the patient's left, or to posterior in a
    sagittal plane; rows go to posterior, or to inferior in a sagittal or coronal plane; slices
    come in the image's own order. Axes are only exchanged and turned round, nothing is resampled.

    An image whose header says nothing of orientation, be it by an identity matrix, the stand-in of
    tools that know of none, has its first picture axis as rows and its second as columns. Where the
    header of an image or of its mask says nothing, the mask's voxels lie as the image's do.

    Args:
        image: What the masks belong to.
        axis: Its voxel axis that counts the slices.

    Attributes:
        spacing: (2,) mm between rows and between columns, NaN where unknown.
    """

    def __init__(self, image: Volume, axis: int) -> None:
        self._own = _orientation(image.affine)
        self._unknown = unknown = _says_nothing(image)
        self._target = self._own.copy() if unknown else _DOWNWARDS.copy()
        self._slices = int(self._own[axis, 0])
        self._target[self._slices, 1] = self._own[axis, 1]
        plane = [world for world in range(3) if world != self._slices]
        self._rows, self._columns = plane if unknown else reversed(plane)
        zooms = image.zooms[np.argsort(self._own[:, 0])]
        self.spacing = zooms[[self._rows, self._columns]]

    def __call__(self, volume: Volume) -> NDArray[Any]:
        """Return the pictures (slices, C, H, W) of the image or of one of its masks."""
        library = nibabel().orientations
        as_image = self._unknown or _says_nothing(volume)
        own = self._own if as_image else _orientation(volume.affine)
        turned = library.apply_orientation(volume.voxels, library.ornt_transform(own, self._target))
        return np.transpose(turned, (self._slices, 3, self._rows, self._columns))

    def back(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Return pictures (slices, C, H, W) as voxels (X, Y, Z, C) that lie as the image's do."""
        library = nibabel().orientations
        axes = np.argsort((self._slices, 3, self._rows, self._columns))
        own = library.ornt_transform(self._target, self._own)
        voxels: NDArray[Any] = library.apply_orientation(np.transpose(pictures, axes), own)
        return voxels


def _says_nothing(volume: Volume) -> bool:
    return volume.affine is None or np.array_equal(volume.affine[:3, :3], np.eye(3))


def _orientation(affine: NDArray[np.float64] | None) -> NDArray[np.intp]:
    """Return, for each voxel axis, the axis of RAS+ that it runs along and its direction."""
    found: NDArray[np.float64] = nibabel().orientations.io_orientation(
        np.eye(4) if affine is None else affine
    )
    lost = np.isnan(found[:, 0])  # an axis without extent: a flat picture's third
    found[lost, 0] = sorted({0.0, 1.0, 2.0} - {*found[~lost, 0]})
    found[lost, 1] = 1
    return found.astype(np.intp)
