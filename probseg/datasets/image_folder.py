"""A folder of images, one file each, named as the folders of their masks: ``root/ID.png``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from probseg.datasets.formats.files import Folder, in_file
from probseg.datasets.formats.images import SUFFIXES, Picture, read_picture, stem_and_suffix
from probseg.datasets.roots import list_contents
from probseg.errors import DataError, MissingDataError

_LARGEST = 1 << 28  # bytes of a file


class ImageFolder:
    """The images that masks were drawn on: ``root/ID.png``, or ``root/images/ID.png``.

    Args:
        root: The folder. A file is of any kind that ``folder`` reads.

    Raises:
        MissingDataError: There is no such folder, or no image is in it.
        DataError: Two files are of one image.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        path = Path(root).expanduser()
        if not path.is_dir():
            raise MissingDataError(f"there is no folder {path}; give the one that holds ID.png")
        self.root = path / "images" if (path / "images").is_dir() else path
        self._tree = Folder(self.root, lambda folder: False)
        self._files: dict[str, str] = {}
        for file in sorted(self._tree.names()):
            stem, suffix = stem_and_suffix(file)
            if suffix and self._files.setdefault(stem, file) != file:
                raise DataError(
                    f"{self.root}: {file} and {self._files[stem]} are both of image {stem}"
                )
        if not self._files:
            raise MissingDataError(
                f"{path} holds no images ID.png (or {', '.join(SUFFIXES)}); "
                f"it holds: {list_contents(path)}"
            )

    def read(self, name: str, place: Picture | None, size: tuple[int, ...]) -> NDArray[Any] | None:
        """Return an image (C, H, W) as its masks lie, or None if there is none of that name.

        Args:
            name: The image.
            place: Where its masks lie, if their files say so.
            size: (H, W) of its masks.

        Raises:
            DataError: It cannot be read, lies elsewhere than its masks, or has another size.
        """
        if (file := self._files.get(name)) is None:
            return None
        with in_file(str(self.root / file)):
            suffix = stem_and_suffix(file)[1]
            picture = read_picture(self._tree.read(file, _LARGEST), suffix, place)
            if picture.pixels.ndim != 3:
                raise DataError("is a volume; give the one slice that the masks were drawn on")
            if picture.pixels.shape[1:] != size:
                raise DataError(
                    f"has {picture.pixels.shape[1:]} pixels, its masks {size}; give the image "
                    "that they were drawn on"
                )
            return picture.pixels
