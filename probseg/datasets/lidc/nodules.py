"""Nodules: the annotations of a scan clustered, and their outlines drawn as masks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from probseg.datasets.lidc.database import READERS, Annotation, Contour, Scan
from probseg.utils.imports import require

_OUTSIDE, _INSIDE = 0, 1  # grid_points_in_poly has other labels for vertices and edges
_SHRINK, _LEAST = 0.9, 0.1  # of the tolerance: factor and lower limit in mm, as in pylidc


class Nodule(NamedTuple):
    """One nodule with the annotations of its readers, one to four if they could be separated."""

    scan: Scan
    number: int  # within the scan, from foot to head
    annotations: list[Annotation]

    def __str__(self) -> str:
        return f"{self.scan.patient}/scan-{self.scan.number}/nodule-{self.number}"


def cluster(scan: Scan) -> list[Nodule]:
    """Cluster a scan's annotations into nodules.

    Annotations whose outlines come within one slice thickness of each other belong to one nodule.
    Where that unites more than four annotations, the scan's tolerance is reduced until it does not,
    as in pylidc; the result is 2,651 nodules in all of LIDC-IDRI.

    Args:
        scan: The scan.

    Returns:
        The nodules in ascending order of their mean z.

    References:
        Hancock and Magnan, "Lung nodule malignancy classification using only radiologist-quantified
        image features as inputs to statistical learning algorithms", Journal of Medical
        Imaging 3(4), 2016.
    """
    distances = _distances(scan)
    tolerance = scan.thickness
    labels = _components(distances, tolerance)
    while np.bincount(labels).max() > READERS and tolerance * _SHRINK >= _LEAST:
        tolerance *= _SHRINK
        labels = _components(distances, tolerance)
    groups = [
        [scan.annotations[index] for index in np.flatnonzero(labels == label)]
        for label in range(labels.max() + 1)
    ]
    groups.sort(key=_height)
    return [Nodule(scan, number, group) for number, group in enumerate(groups)]


def draw_masks(
    nodule: Nodule, z: float, origin: tuple[float, float], size: int, step: float = 1.0
) -> NDArray[np.uint8]:
    """Rasterise every reader's outlines of a nodule in one slice.

    Args:
        nodule: The nodule.
        z: Position of the slice in mm.
        origin: Column and row of the first pixel, in pixels of the slice.
        size: Height and width of the masks.
        step: Distance of their pixels, in pixels of the slice.

    Returns:
        (4, size, size) uint8; the masks of missing readers are empty.
    """
    masks = np.zeros((READERS, size, size), np.uint8)
    for mask, annotation in zip(masks, nodule.annotations, strict=False):
        outlines = [contour for contour in annotation.contours if contour.z == z]
        mask[:] = rasterise(outlines, origin, size, step)
    return masks


def rasterise(
    contours: Iterable[Contour], origin: tuple[float, float], size: int, step: float = 1.0
) -> NDArray[np.uint8]:
    """Draw one reader's outlines in one slice.

    LIDC's readers drew the first pixels *outside* of a nodule, so that only the pixels strictly
    inside of an inclusion count. scikit-image separates them from the outline exactly, while a
    polygon fill includes some of its edges. An exclusion removes its outline as well.

    Args:
        contours: The outlines.
        origin: Column and row of the first pixel, in pixels of the slice.
        size: Height and width of the mask.
        step: Distance of its pixels, in pixels of the slice.

    Returns:
        (size, size) uint8, 1 inside.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    measure = require("skimage.measure", extra="data", for_="drawing the outlines of LIDC")
    mask = np.zeros((size, size), np.uint8)
    for contour in sorted(contours, key=lambda contour: not contour.inclusion):
        rows_columns = ((contour.points - origin) / step)[:, ::-1]
        low = np.clip(np.floor(rows_columns.min(axis=0)).astype(int), 0, size)
        high = np.clip(np.ceil(rows_columns.max(axis=0)).astype(int) + 1, low, size)
        labels = measure.grid_points_in_poly(high - low, rows_columns - low, binarize=False)
        window = mask[low[0] : high[0], low[1] : high[1]]
        if contour.inclusion:
            window |= (labels == _INSIDE).astype(np.uint8)
        else:
            window &= (labels == _OUTSIDE).astype(np.uint8)
    return mask


def _components(distances: NDArray[np.float64], tolerance: float) -> NDArray[np.int32]:
    labels: NDArray[np.int32] = connected_components(distances <= tolerance, directed=False)[1]
    return labels


def _distances(scan: Scan) -> NDArray[np.float64]:
    """Least distance between the outlines of two annotations in mm; inf beyond a slice."""
    clouds = [_cloud(annotation, scan.spacing) for annotation in scan.annotations]
    low, high = (np.array([f(cloud, axis=0) for cloud in clouds]) for f in (np.min, np.max))
    trees = [KDTree(cloud) for cloud in clouds]
    distances = np.full((len(clouds), len(clouds)), np.inf)
    for i, tree in enumerate(trees):
        apart = np.maximum(0, np.maximum(low[i] - high[:i], low[:i] - high[i]))
        for j in np.flatnonzero(np.linalg.norm(apart, axis=1) <= scan.thickness):
            distances[i, j] = distances[j, i] = tree.query(clouds[j])[0].min()
    return distances


def _cloud(annotation: Annotation, spacing: float) -> NDArray[np.float64]:
    parts = [
        np.column_stack([contour.points * spacing, np.full(len(contour.points), contour.z)])
        for contour in annotation.contours
    ]
    return np.concatenate(parts)


def _height(annotations: list[Annotation]) -> float:
    return float(np.mean([contour.z for part in annotations for contour in part.contours]))
