"""Which nodules can be cut out of the slices that are there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from probseg.datasets.formats.dicom import Header
from probseg.datasets.lidc.cutting import Frame, frame_around, slices_of
from probseg.datasets.lidc.database import Scan
from probseg.datasets.lidc.nodules import READERS, Nodule, cluster
from probseg.errors import DataError

_NEAR = 0.1  # mm between an outline's z and its slice's; slices are at least 0.45 apart
_ALIKE = 1e-3  # relative, between the pixels of a file and of the database


class Crop(NamedTuple):
    """One nodule to cut out of its slices."""

    name: str
    nodule: Nodule
    frame: Frame
    slices: list[tuple[int, float, list[str]]]  # number, z in mm, files; more if there are copies


def plan_crops(
    scan: Scan, label: str, files: list[tuple[str, Header]], spacing: float | None
) -> tuple[list[Crop], list[str]]:
    """Return the crops of a scan, and a line if it lacks slices.

    Args:
        scan: The scan.
        label: Its name, with which the crops' begin.
        files: The names and headers of its slices.
        spacing: mm between the pixels of the crops; by default those of the scan.

    Raises:
        DataError: The slices are not alike, not as the database has them, or too small.
    """
    size = _common_size(scan, files)
    positions = np.array([header.z for _, header in files])
    crops, faults, wanted, missing = [], [], set[float](), set[float]()
    for nodule in cluster(scan):
        if len(nodule.annotations) > READERS:
            continue
        slices = []
        for number, z in enumerate(slices_of(nodule)):
            near = np.flatnonzero(np.abs(positions - z) <= _NEAR)
            if len(near):
                slices.append((number, z, sorted(files[row][0] for row in near)))
            else:
                missing.add(z)
            wanted.add(z)
        if slices:
            alone = nodule._replace(scan=scan._replace(annotations=[]))  # small, to be sent
            frame = frame_around(nodule, size, spacing)
            crops.append(Crop(f"{label}/nodule-{nodule.number}", alone, frame, slices))
    if missing:
        faults.append(
            f"{label}: lacks {len(missing)} of its {len(wanted)} outlined slices, z = "
            f"{', '.join(f'{z:g}' for z in sorted(missing))} mm (series {scan.series})"
        )
    return crops, faults


def _common_size(scan: Scan, files: list[tuple[str, Header]]) -> tuple[int, int]:
    """Check that a scan's slices are alike, and as the database has them."""
    for name, header in files:
        if not np.allclose(header.spacing, scan.spacing, rtol=_ALIKE, atol=0):
            raise DataError(
                f"{name} has pixels of {header.spacing[0]:g}x{header.spacing[1]:g} mm, "
                f"the scan {scan.spacing:g} mm in the database"
            )
        if header.size != files[0][1].size:
            raise DataError(
                f"{name} has {header.size[0]}x{header.size[1]} pixels and {files[0][0]} "
                f"{files[0][1].size[0]}x{files[0][1].size[1]}"
            )
    return files[0][1].size
