"""Anybody's own data: a folder of images, and for each a folder of its annotators' masks."""

from __future__ import annotations

import os

from probseg.datasets.cache.packed import META, PackedDataset
from probseg.datasets.cache.packing import find_or_pack
from probseg.datasets.cache.places import cache_folder, find_place, open_tree
from probseg.datasets.cache.sources import OnFault
from probseg.datasets.folder.cases import FolderCases
from probseg.datasets.folder.index import LAYOUT, worth_entering
from probseg.datasets.formats.resize import check_size
from probseg.errors import OptionError

_WANTED = f"a folder or zip file with {LAYOUT}"


def folder(
    root: str | os.PathLike[str] | None = None,
    *,
    size: int | None = None,
    classes: int = 2,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
) -> PackedDataset:
    """Return your own images with all their annotations, packed at the first use.

    ``images/ID.png`` is a sample's image and ``masks/ID/ANNOTATOR.png`` what an annotator drew on
    it; either may be ``.png``, ``.tif``, ``.npy`` (H, W) or (H, W, C), or ``.nii.gz``. The
    annotators are all the names there are, in natural order, ``dataset.stamp["annotators"]``; who
    has no mask of an image is not ``present`` there. A table ``groups.csv``, headed ``id,group``,
    says which samples are of one patient; without it each is a group of its own.

    8-bit images are kept as they are, 0 to 255 for [0, 1]; any others are stretched to their own
    minimum and maximum, channel by channel.

    Args:
        root: The folder, a zip file of it, or a packed cache; by default the environment variable
            PROBSEG_DATA.
        size: Edge of the pictures in pixels: images are resized by antialiased linear
            interpolation, masks by nearest neighbour. None leaves them as they are, which is
            possible where all are of one size.
        classes: Number of classes; masks have the values 0 to ``classes`` - 1, and of two classes
            255 may stand for 1.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.

    Raises:
        OptionError: There can be no such size or number of classes.
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        WriteError: The cache cannot be written.
    """
    check_size(size)
    if not 2 <= classes <= 256:
        raise OptionError(f"classes is {classes}; it is 2 to 256, the background included")
    place = find_place(root, "folder", _WANTED)
    if (place / META).is_file():
        return PackedDataset(place)
    source = FolderCases(
        open_tree(place, worth_entering, "folder", _WANTED), size=size, classes=classes
    )
    packed = cache_folder(cache, "folder", place, size, classes)
    return find_or_pack(source, packed, progress=progress, on_fault=on_fault)
