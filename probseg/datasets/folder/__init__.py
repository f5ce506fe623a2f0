"""Your own data: a folder of images, and for each image a folder of its annotators' masks."""

from __future__ import annotations

import os

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import cache_folder, open_or_pack
from probseg.datasets.cache.source import OnFault
from probseg.datasets.folder.index import LAYOUT, may_enter
from probseg.datasets.folder.source import FolderSource
from probseg.datasets.formats.preprocessing import check_size
from probseg.datasets.roots import find_root, is_packed, open_root
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

    ``images/ID.png`` is the image of a sample and ``masks/ID/ANNOTATOR.png`` an annotator's mask of
    it; either may be ``.png``, ``.tif``, ``.npy`` (H, W) or (H, W, C), or ``.nii.gz``. The
    annotators are all the names in natural order, ``dataset.source_state["annotators"]``; an
    annotator without a mask of an image is not ``present`` there. A table ``groups.csv``, headed
    ``id,group``, gives the patient of each sample; without it each is a group of its own.

    8-bit images are kept as they are, 0 to 255 for [0, 1]; any others are stretched to their own
    minimum and maximum, channel by channel.

    Args:
        root: The folder, a zip file of it, or a packed cache; by default the environment variable
            PROBSEG_DATA.
        size: Edge of the images in pixels: images are resized by antialiased linear
            interpolation, masks by nearest neighbour. None leaves them as they are, which is
            possible where all are of one size.
        classes: Number of classes; masks have the values 0 to ``classes`` - 1, and of two classes
            255 may stand for 1.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.

    Raises:
        OptionError: The size or the number of classes is out of range.
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        WriteError: The cache cannot be written.
    """
    check_size(size)
    if not 2 <= classes <= 256:
        raise OptionError(f"classes must be 2 to 256, the background included, not {classes}")
    path = find_root(root, "folder", _WANTED)
    if is_packed(path):
        return PackedDataset(path)
    tree = open_root(path, may_enter, "folder", _WANTED)
    source = FolderSource(tree, size=size, classes=classes)
    target = cache_folder(cache, "folder", path, size, classes)
    return open_or_pack(source, target, progress=progress, on_fault=on_fault)
