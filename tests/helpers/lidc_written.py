"""The same cases of LIDC written out in each layout that circulates; shared by tests of loaders."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from probseg.datasets.cache.packing import pack_source
from probseg.datasets.cache.source import Record


class Cases(NamedTuple):
    """Crops with four masks each, in the natural order of their patients."""

    patients: list[str]
    images: NDArray[np.uint8]  # (n, S, S)
    masks: NDArray[np.uint8]  # (n, 4, S, S), 0 and 1

    def rows(self) -> Iterator[Any]:
        return zip(self.patients, self.images, self.masks, strict=True)


def random_cases(count: int = 5, size: int = 128, seed: int = 0) -> Cases:
    """Return cases of a few patients; some have readers who saw nothing."""
    random = np.random.default_rng(seed)
    patients = sorted(f"LIDC-IDRI-{number:04}" for number in random.integers(1, 12, count))
    masks = random.integers(0, 2, (count, 4, size, size), np.uint8)
    masks[::2, 2:] = 0
    return Cases(patients, random.integers(0, 256, (count, size, size), np.uint8), masks)


def real_cases(archive: Path, patients: list[str]) -> Cases:
    """Return all slices of some patients of a zip file in the layout "slices"."""
    with zipfile.ZipFile(archive) as opened:
        names = [n for n in opened.namelist() if "/images/" in n and n.split("/")[0] in patients]
        names.sort(key=lambda name: name.split("/")[0])
        parts = ["images", *(f"mask-{k}" for k in range(4))]
        planes = [
            [Image.open(opened.open(name.replace("images", part))) for part in parts]
            for name in names
        ]
        pixels = np.array([[np.asarray(plane) for plane in sample] for sample in planes])
    return Cases([n.split("/")[0] for n in names], pixels[:, 0], pixels[:, 1:] // 255)


def png(pixels: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def slices_files(cases: Cases) -> dict[str, bytes]:
    """Return the files of the layout "slices"."""
    files = {}
    for row, (patient, image, masks) in enumerate(cases.rows()):
        files[f"{patient}/nodule-0/images/slice-{row}.png"] = png(image)
        for reader, mask in enumerate(masks):
            files[f"{patient}/nodule-0/mask-{reader}/slice-{row}.png"] = png(mask * 255)
    return files


def crops_files(cases: Cases, first: int = 0) -> dict[str, bytes]:
    """Return the files of the layout "crops", readers counted from ``first``."""
    files = {}
    for row, (patient, image, masks) in enumerate(cases.rows()):
        split, crop = ("train", "val", "test")[int(patient[-4:]) % 3], f"{patient}/z-{row}.5_c{row}"
        files[f"{split}/images/{crop}.png"] = png(image)
        for reader, mask in enumerate(masks, first):
            files[f"{split}/gt/{crop}_l{reader}.png"] = png(mask * 255)
    return files


def entries(cases: Cases, kind: Any = np.float32) -> dict[str, dict[str, Any]]:
    """Return the dictionary of the layout "pickle"."""
    return {
        f"{patient}_crop{row}": {
            "image": (image / 255).astype(kind),
            "masks": list(masks),
            "series_uid": f"1.3.6.1.4.1.14519.{patient[-4:]}",
        }
        for row, (patient, image, masks) in enumerate(cases.rows())
    }


class _Arrays:
    """Cases as a source of the packed cache."""

    name, classes, provenance = "lidc", 2, "a test"

    def __init__(self, cases: Cases) -> None:
        self.cases, self.state = cases, {"path": "memory"}

    def __len__(self) -> int:
        return len(self.cases.images)

    def items(self) -> range:
        return range(len(self))

    def faults(self) -> list[str]:
        return []

    def read(self, row: int) -> list[Record]:
        image, masks = self.cases.images[row, None], self.cases.masks[row]
        return [Record(f"case{row}", self.cases.patients[row], image, masks)]


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_pickle(path: Path, content: Any, protocol: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def _write_packed(folder: Path, cases: Cases) -> Path:
    pack_source(_Arrays(cases), folder)
    return folder


WRITERS: dict[str, Callable[[Path, Cases], Path]] = {
    "crops": lambda folder, cases: write_files(folder, crops_files(cases)),
    "packed": _write_packed,
    "pickle": lambda folder, cases: write_pickle(folder / "data_lidc.pickle", entries(cases)),
    "slices": lambda folder, cases: write_files(folder, slices_files(cases)),
}
