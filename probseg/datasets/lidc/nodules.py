"""Which annotations of a scan mean the same nodule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from probseg.datasets.lidc.database import Annotation, Scan

READERS = 4
_SHRINK, _LEAST = 0.9, 0.1  # the tolerance's steps and its end in mm, as pylidc has them


class Nodule(NamedTuple):
    """One nodule, as one to four readers saw it (a few clusters cannot be told apart: more)."""

    scan: Scan
    number: int  # within the scan, from foot to head
    annotations: list[Annotation]

    def __str__(self) -> str:
        return f"{self.scan.patient}/scan-{self.scan.number}/nodule-{self.number}"


def cluster(scan: Scan) -> list[Nodule]:
    """Cluster a scan's annotations to nodules.

    Annotations whose outlines come within one slice thickness of each other are linked, and linked
    ones are one nodule. Where that unites more than four readers, the scan's tolerance is reduced
    until it does not, as in pylidc: over the whole of LIDC-IDRI it makes 2,651 nodules.

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
        [
            annotation
            for annotation, mine in zip(scan.annotations, labels == label, strict=True)
            if mine
        ]
        for label in range(labels.max() + 1)
    ]
    groups.sort(key=_height)
    return [Nodule(scan, number, group) for number, group in enumerate(groups)]


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
