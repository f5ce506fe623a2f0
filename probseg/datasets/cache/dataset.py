"""Packed data sets: the form in which every real data set is read, by memory map."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from probseg.datasets.preprocessing import Preprocessing, common_spacing
from probseg.errors import DataError, OptionError, ProbsegError

if TYPE_CHECKING:  # torch takes seconds and 500 MB, which a process that only packs need not spend
    from torch import Tensor

    from probseg.interfaces import Batch, Sample

SCHEMA = 2  # raised whenever caches of an older probseg must be packed again
ARRAYS = ("images.npy", "masks.npy", "present.npy", "spacing.npy")
META = "meta.json"
MISSING = "missing.txt"  # a list of what is still to come, beside a packed data set


class PackedDataset:
    """A data set packed into one folder; opening it reads no image.

    The folder holds ``images.npy`` (N, C, H, W), uint8 for [0, 1] in 255 steps or float16 as it is;
    ``masks.npy``, (N, A, ceil(H·W / 8)) bits of two classes, (N, A, H, W) uint8 of more or with
    pixels that nobody labelled, or float16 of soft masks;
    ``present.npy``, (N, A) bool; ``spacing.npy``, (N, 2) float32; and ``meta.json``. It may be
    shared by several processes, and pickles as its path.

    Args:
        folder: The packed folder.

    Attributes:
        ids: Unique names of the samples.
        ignore_index: The value of masks' pixels that nobody labelled; None if there are none.
        soft: Whether masks are probabilities of the second of two classes.
        present: (N, A) bool, who annotated which image; other masks are empty.
        spacing: (N, 2) float32, mm between rows and between columns; NaN where unknown.
        preprocessing: What was done to the images; None if they were packed by an older probseg.
        skipped: Name and reason of each file that could not be read, whose sample was left out.
        mask_values: Number and some names of the masks' files, by those of the values 0, 1 and 255
            that they hold, such as ``"0 255"``; empty where that is not known.
        stretched: Whether images were stretched over their own range.
        faint: Number of images to which the window leaves hardly any contrast.
        parts: Of each sample, its part in the publisher's split ("train", "validation", "test", or
            "" where files do not say); None if the layout knows none.
        grouped: Whether a table said which image is of which group.
        source_state: What the cache was packed from, in which state (path, size, time of change)
            and with which options.

    Raises:
        DataError: The folder is no packed data set, damaged, or of another schema.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        meta = _read_meta(self.folder)
        self._images, self._masks, present, spacing = (
            _open_array(self.folder / name) for name in ARRAYS
        )
        self.present, self.spacing = np.array(present), np.array(spacing)  # small: read at once
        try:
            self.name: str = meta["name"]
            self.classes: int = meta["classes"]
            self.ignore_index: int | None = meta.get("ignore_index")
            self.soft: bool = meta.get("soft", False)
            self.groups: Sequence[str] = meta["groups"]
            self.ids: Sequence[str] = meta["ids"]
            self.fingerprint: str = meta["fingerprint"]
            self.provenance: str = meta["provenance"]
            self.source_state: dict[str, Any] = meta["stamp"]
            self.skipped: Sequence[str] = meta["skipped"]
            self.mask_values: dict[str, dict[str, Any]] = meta.get("mask_values", {})
            self.faint: int = meta.get("faint", 0)
            self.grouped: bool = meta.get("grouped", False)
            self.parts: Sequence[str] | None = meta.get("parts")
            _check_arrays(self._images, self._masks, meta)
            _check_columns(self.present, self.spacing, self._masks)
            self.preprocessing = _preprocessing(meta, self.spacing)
            unchanged = meta["files"] == file_states(self.folder)
        except (KeyError, TypeError, ValueError, OSError, ProbsegError) as error:
            raise DataError(f"{self.folder} is damaged ({error}); {_REMEDY}") from error
        self.channels: int = self._images.shape[1]
        self.annotators: int = self._masks.shape[1]
        self.stretched = self._images.dtype != np.uint8
        _keep_freed_memory()
        if not unchanged:  # hashing takes longer than opening
            self.verify()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        from probseg.interfaces import Sample

        image, masks, present = (array[0] for array in self._tensors([index]))
        return Sample(image, masks, self.groups[index], present)

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch: (B, C, H, W) float32 images in [0, 1], (B, A, H, W) uint8 masks.

        Soft masks are float32.
        """
        from probseg.interfaces import Batch

        return Batch(*self._tensors(indices))

    def __reduce__(self) -> tuple[type[PackedDataset], tuple[Path]]:
        return type(self), (self.folder,)  # a memory map would pickle as all of its bytes

    def verify(self) -> None:
        """Read everything and compare it with the fingerprint.

        Raises:
            DataError: The content is not what was packed.
        """
        if fingerprint(self.folder, self.ids, self.groups) != self.fingerprint:
            raise DataError(f"{self.folder} is damaged (its content changed); {_REMEDY}")

    def _tensors(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        from torch import from_numpy

        rows = np.asarray(indices, dtype=np.intp)
        for array in (self._images, self._masks):
            _check_whole(array, self.folder)
        images, masks, present = self._scaled(rows), self._unpacked(rows), self.present[rows]
        return from_numpy(images), from_numpy(masks), from_numpy(present)

    def _scaled(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        images = self._images[rows]
        unit = np.float32(1 / 255 if images.dtype == np.uint8 else 1)
        scaled: NDArray[np.float32] = np.multiply(images, unit, dtype=np.float32)  # in one pass
        return scaled

    def _unpacked(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        masks: NDArray[Any] = self._masks[rows]
        height, width = self._images.shape[2:]
        if masks.ndim == 3:
            masks = np.unpackbits(masks, axis=-1, count=height * width)
        elif self.soft:
            masks = masks.astype(np.float32)
        return masks.reshape(len(rows), self.annotators, height, width)


def open_packed(folder: Path, asked: Preprocessing, classes: int | None = None) -> PackedDataset:
    """Open a packed data set, to whose images and masks options can do nothing any more.

    Raises:
        OptionError: They ask for something else than what was done.
        DataError: See :class:`PackedDataset`.
    """
    dataset = PackedDataset(folder)
    known, names = dataset.preprocessing, ("the options", "the packed data")
    differences = asked.differences(known, names) if known else []
    differences += asked.mask_differences(known, names) if known else []
    if classes not in (None, dataset.classes):
        differences.append(f"classes {classes} of {names[0]}, {dataset.classes} of {names[1]}")
    if differences:
        raise OptionError(
            f"{folder} is packed, and not as asked for: {'; '.join(differences)}; "
            "leave the options out, or pack the files again with them"
        )
    return dataset


def _preprocessing(meta: dict[str, Any], spacing: NDArray[Any]) -> Preprocessing | None:
    if "preprocessing" not in meta:
        return None
    known = Preprocessing.from_plain(meta["preprocessing"])
    return replace(known, spacing=common_spacing(spacing))


def _keep_freed_memory() -> None:
    """Let batches reuse each other's memory: fresh pages cost more time than filling them.

    glibc gives freed memory back to the system beyond thresholds, which rise with the largest
    block that was ever freed, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD). This block is never
    written to, so it takes no memory.
    """
    np.empty((32 << 20) - (64 << 10), np.uint8)


def fingerprint(folder: Path, ids: Sequence[str], groups: Sequence[str]) -> str:
    """Return the hex digest of a packed folder's arrays, ids and groups."""
    digest = hashlib.blake2b(json.dumps([list(ids), list(groups)]).encode(), digest_size=16)
    for name in ARRAYS:
        with open(folder / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def file_states(folder: Path) -> dict[str, list[int]]:
    """Return size and time of change of a packed folder's arrays."""
    states = {name: (folder / name).stat() for name in ARRAYS}
    return {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()}


_REMEDY = "remove the folder and it is packed again"


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is no packed data set ({error}); {_REMEDY}") from error
    schema = meta.get("schema") if isinstance(meta, dict) else None
    if schema != SCHEMA:
        raise DataError(f"{folder} has schema {schema}, this probseg reads {SCHEMA}; {_REMEDY}")
    return meta  # type: ignore[no-any-return]  # JSON is untyped


def _open_array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged ({error}); {_REMEDY}") from error


def _check_whole(array: NDArray[Any], folder: Path) -> None:
    """Check that the file of a mapped array was not truncated: reading it would end the process.

    Raises:
        DataError: It was.
    """
    file = array.base
    if isinstance(file, mmap) and file.size() < len(file):
        raise DataError(f"{folder} is damaged (a file was truncated while it was open); {_REMEDY}")


def _check_arrays(images: NDArray[Any], masks: NDArray[Any], meta: dict[str, Any]) -> None:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float16):
        raise ValueError(f"images are {images.dtype} of shape {images.shape}")
    pixels = images.shape[2:]
    dtype, bits = mask_layout(meta["classes"], meta)
    row = (math.ceil(math.prod(pixels) / 8),) if bits else pixels
    if masks.dtype != dtype or masks.ndim < 3 or masks.shape[2:] != row:
        raise ValueError(f"masks are {masks.dtype} of shape {masks.shape}")
    counts = {len(images), len(masks), len(meta["ids"]), len(meta["groups"])}
    counts |= {len(meta.get("parts", images))}
    if len(counts) > 1:
        raise ValueError(f"images, masks, ids and groups differ in number: {sorted(counts)}")


def mask_layout(classes: int, kind: Mapping[str, Any]) -> tuple[DTypeLike, bool]:
    """Return the type of packed masks, and whether they are packed to bits.

    Args:
        classes: K.
        kind: Has "ignore_index" or "soft" if masks have pixels that nobody labelled, or are soft.
    """
    if kind.get("soft"):
        return np.float16, False
    return np.uint8, classes == 2 and kind.get("ignore_index") is None


def _check_columns(present: NDArray[Any], spacing: NDArray[Any], masks: NDArray[Any]) -> None:
    if present.dtype != np.bool_ or present.shape != masks.shape[:2]:
        raise ValueError(f"presence is {present.dtype} of shape {present.shape}")
    if spacing.dtype != np.float32 or spacing.shape != (len(masks), 2):
        raise ValueError(f"spacing is {spacing.dtype} of shape {spacing.shape}")
