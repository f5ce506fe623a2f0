"""Folders with a folder of masks for each image, as any program may write them."""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.arrays import read_array
from probseg.datasets.formats.files import Folder, in_file
from probseg.datasets.formats.images import (
    SUFFIXES,
    VOLUMES,
    Picture,
    read_picture,
    stem_and_suffix,
)
from probseg.datasets.formats.mask_values import OPTIONS, MaskValues
from probseg.datasets.formats.matlab import read_matlab
from probseg.datasets.formats.nifti import A_VOLUME, ElsewhereError
from probseg.datasets.roots import list_contents
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError

_LARGEST = 1 << 28  # bytes of a file
_A_PICTURE = Picture(np.zeros((1, 1, 1)), np.full(2, np.nan))
ABOUT = "about.json"  # which `probseg predict` writes beside its samples
_SAMPLES = re.compile(r"samples?(-\d+)?")  # the names of those, without their suffix


class MaskFolders:
    """The masks of images: ``root/ID/*.png``, or ``root/masks/ID/*.png``.

    A file is of any kind that ``folder`` reads, or .npz, and holds one mask (H, W), or several of
    one image: (N, H, W) in .npy or .mat or as the only array of .npz, the slices of .nii.gz. In a
    folder that ``probseg predict`` wrote, only the samples are masks.

    Args:
        root: The folder.
        classes: Number of classes; masks have the values 0 to ``classes`` - 1, and of two classes
            255 may stand for 1.
        values: What values of files mean, such as ``{255: "ignore"}``, as of a folder.
        threshold: What is above this value is foreground.
        takes: Which of these options a message may recommend.

    Raises:
        OptionError: The values contradict the classes.
        MissingDataError: There is no such folder, or no mask is in it.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        classes: int = 2,
        values: Mapping[Any, Any] | None = None,
        threshold: float | None = None,
        takes: Collection[str] = OPTIONS,
    ) -> None:
        path = Path(root).expanduser()
        if not path.is_dir():
            raise MissingDataError(f"there is no folder {path}; give the one that holds ID/*.png")
        self.root = path / "masks" if (path / "masks").is_dir() else path
        self.classes = classes
        self._values = MaskValues.of(values, threshold=threshold, classes=classes)
        self._takes = takes
        self.ignore_index = self._values.ignore_index
        self._tree = Folder(self.root, lambda folder: "/" not in folder)
        self._files = self._find()
        if not self._files:
            raise MissingDataError(
                f"{path} holds no masks ID/*.png (or {', '.join(SUFFIXES)}, .npz); "
                f"it holds: {list_contents(path)}"
            )

    @property
    def ids(self) -> list[str]:
        """The images that have masks, in natural order."""
        return list(self._files)

    def tells_place(self, name: str) -> bool:
        """Return whether a file of an image has a header that tells where it lies."""
        return any(_split(file)[1] in VOLUMES for file in self._files[name])

    def place(self, name: str) -> Picture | None:
        """Return the first such file, as which all masks of the image are to lie; or None.

        Raises:
            DataError: It cannot be read.
        """
        for file in self._files[name]:
            if (suffix := _split(file)[1]) in VOLUMES:
                with in_file(str(self.root / file)):
                    return read_picture(self._tree.read(file, _LARGEST), suffix)
        return None

    def read(self, name: str, place: Picture | None = None) -> NDArray[Any]:
        """Return the masks of an image, (N, H, W) classes, in natural order of the files.

        Args:
            name: The image.
            place: Where they are to lie, if not as the first of them.

        Raises:
            DataError: A file cannot be read or holds no mask, lies elsewhere, or two differ in
                size.
        """
        place = place or self.place(name)
        masks = [self._read_file(file, place) for file in self._files[name]]
        sizes = {mask.shape[1:]: file for mask, file in zip(masks, self._files[name], strict=True)}
        if len(sizes) > 1:
            (one, first), (other, second), *_ = sizes.items()
            raise DataError(f"{self.root / second} is {other}, {self.root / first} is {one}")
        together: NDArray[Any] = np.concatenate(masks)
        if self.ignore_index is None:
            return together
        together = together[(together != self.ignore_index).any((1, 2))]
        if not len(together):
            raise DataError(f"{self.root / name}: every pixel of every mask is ignored")
        return together

    def _read_file(self, file: str, place: Picture | None) -> NDArray[Any]:
        with in_file(str(self.root / file)):
            data, suffix = self._tree.read(file, _LARGEST), _split(file)[1]
            if place and suffix not in VOLUMES:
                raise DataError(f"tells no place, beside masks that do ({', '.join(VOLUMES)})")
            if suffix in _ARRAYS:
                return self._interpret(_ARRAYS[suffix](data))
            pixels = _read_as(place or _A_PICTURE, data, suffix)
            if len(pixels) > 1 and not place:
                raise DataError(f"has {len(pixels)} channels; a mask has one; {A_VOLUME}")
            return self._interpret(pixels)

    def _interpret(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what a file's numbers mean: masks (N, H, W)."""
        return self._values.read(_stack(array), self.classes, self._takes)

    def _find(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        paths = set(self._tree.names())
        for path in paths:
            name, _, file = path.rpartition("/")
            stem, suffix = _split(file)
            predicted = f"{name}/{ABOUT}" in paths
            if name and suffix and (not predicted or _SAMPLES.fullmatch(stem)):
                files.setdefault(name, []).append(path)
        return {name: sorted(files[name], key=natural) for name in sorted(files, key=natural)}


def _read_as(place: Picture, data: bytes, suffix: str) -> NDArray[Any]:
    """Return the masks in a file that lie at a place.

    Raises:
        DataError: They lie elsewhere, or the file is damaged.
    """
    try:
        return read_picture(data, suffix, place).pixels
    except ElsewhereError as error:
        raise DataError(
            f"lies elsewhere than the annotations, {error.difference}; resample it onto their "
            "voxels, or, if it is drawn on them, save it with their affine"
        ) from error


def _split(file: str) -> tuple[str, str]:
    path = Path(file)
    return (path.stem, ".npz") if path.suffix.lower() == ".npz" else stem_and_suffix(file)


def _only_member(data: bytes) -> bytes:
    """Return the .npy file in an .npz file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise DataError(f"has {len(members)} arrays; save one, (H, W) or (N, H, W)")
            if members[0].file_size > _LARGEST:
                raise DataError(f"has more than {_LARGEST} bytes")
            return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError) as error:
        raise DataError("is not a complete .npz file") from error


def _stack(array: NDArray[Any]) -> NDArray[Any]:
    """Return masks (N, H, W) of an array of one mask or of several."""
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(f"has the shape {array.shape}, not (H, W) or (N, H, W)")
    return array if array.ndim == 3 else array[None]


_ARRAYS: dict[str, Callable[[bytes], NDArray[Any]]] = {
    ".npy": read_array,
    ".npz": lambda data: read_array(_only_member(data)),
    ".mat": read_matlab,
}
