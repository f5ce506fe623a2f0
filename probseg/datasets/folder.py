"""Your own data: a folder of images, and for each image a folder of its annotators' masks."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from probseg.datasets import preprocessing
from probseg.datasets.annotated_files import AnnotatedFiles, SampleFiles
from probseg.datasets.cache.dataset import PackedDataset, open_packed
from probseg.datasets.cache.packing import cache_folder, open_or_pack
from probseg.datasets.cache.source import OnFault
from probseg.datasets.formats.files import FileTree, in_file, printable
from probseg.datasets.formats.images import (
    PALETTES,
    SUFFIXES,
    Palette,
    Picture,
    channel_names,
    read_picture,
    stem_and_suffix,
)
from probseg.datasets.formats.mask_values import MaskValues
from probseg.datasets.formats.matlab import count_annotations, read_matlab
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.roots import (
    OWN_DATA,
    check_links,
    find_root,
    is_packed,
    list_contents,
    open_root,
)
from probseg.errors import DataError, MissingDataError, OptionError
from probseg.options import check_choice

_GROUPS = "groups.csv"
_LAYOUT = "images/ID.png and masks/ID/ANNOTATOR.png (or .tif, .npy, .nii.gz, …)"
_SCRIPTS = 'the page "My own data" of the documentation has scripts for that'
_WANTED = f"a folder or zip file with {_LAYOUT}"

# A zip file may have all of it in one folder.
_FILE = re.compile(r"(?:[^/]+/)?(?:images|masks/(?P<id>[^/]+))/(?P<file>[^/]+)")
_SEVERAL = re.compile(r"(?:[^/]+/)?masks/(?P<id>[^/]+)\.mat", re.IGNORECASE)  # annotators in a file
_MEMBER = re.compile(r"(.*\.mat)#(\d+)", re.IGNORECASE | re.DOTALL)
_FOLDER = re.compile(r"(?:[^/]+/)?masks/(?P<id>[^/]+)")
_TABLE = re.compile(rf"(?:[^/]+/)?{re.escape(_GROUPS)}", re.IGNORECASE)
_SYSTEM_FILES = re.compile(r"\.|(?:thumbs\.db|desktop\.ini)\Z", re.IGNORECASE)
_MOST_COUNTED = 32  # classes: of more values, a mask may rather be a photograph
_LARGEST, _LARGEST_TABLE = 1 << 28, 1 << 26  # bytes of a file


def folder(
    root: str | os.PathLike[str] | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    resize: str = "pad",
    normalise: str | None = None,
    window: tuple[float, float] | None = None,
    classes: int | None = None,
    values: Mapping[Any, Any] | None = None,
    threshold: float | None = None,
    invert: bool = False,
    soft: bool = False,
    palette: Palette = "indices",
    resample_masks: bool = False,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
    pack: bool = True,
) -> PackedDataset:
    """Return your own images with all their annotations, packed at the first use.

    ``images/ID.png`` is the image of a sample and ``masks/ID/ANNOTATOR.png`` an annotator's mask of
    it; either may be ``.png``, ``.tif``, ``.pgm``, ``.gif``, ``.npy`` and ``.mat`` (H, W) or
    (H, W, C), ``.nii.gz``, ``.nrrd`` or ``.mha``, and an image ``.jpg``, ``.ppm`` or ``.dcm``. A
    file ``masks/ID.mat`` of BSDS500 has the boundaries that all of its annotators drew. The
    annotators are all the names in natural order, ``dataset.source_state["annotators"]``; an
    annotator without a mask of an image is not ``present`` there. A table ``groups.csv``, headed
    ``id,group``, gives the patient of each sample; without it each is a group of its own.

    8-bit images are kept as they are, 0 to 255 for [0, 1]; any others are stretched to their own
    minimum and maximum, channel by channel, unless ``window`` or ``normalise`` says otherwise.

    Args:
        root: The folder, a zip file of it, or a packed cache; by default the environment variable
            PROBSEG_DATA.
        size: Edge of the images in pixels, or their height and width: images are resized by
            antialiased linear interpolation, masks by nearest neighbour. None leaves them as they
            are, which is possible where all are of one size.
        resize: ``"pad"`` keeps the aspect and fills up with 0, ``"crop"`` keeps it and cuts off
            what stands out, ``"stretch"`` does not keep it.
        normalise: ``"stretch"``; ``"percentiles"``, as ``"stretch"`` from the 0.5th to the 99.5th
            percentile, so that single pixels have no say; or ``"none"``, values as they are, 8-bit
            and 16-bit ones as fractions of 255 and 65535. By default as above.
        window: Two values of the files that become 0 and 1, such as (-1000, 400) of CT; what is
            outside is clipped. With ``normalise="percentiles"``, two other percentiles.
        classes: Number of classes; masks have the values 0 to ``classes`` - 1, and of two classes
            255 may stand for 1. None counts them while packing: the values 0, 1, 2, … of all
            masks, as far as none is left out; 255 means two.
        values: What values of mask files mean, such as ``{255: "ignore", 7: 2}``: a class, or that
            nobody labelled such pixels, which then count for nothing. Other values are classes.
        threshold: Makes two classes of grey or soft masks: what is above this value, in the file's
            own units, is foreground.
        invert: Whether masks of two classes are 0 where the structure is.
        soft: Whether masks are probabilities of the foreground and learned as such: floating from
            0 to 1, or integers, of which 255 is a probability of one if any is above 1.
        palette: ``"indices"`` if the indices of a mask with a palette are its classes (images with
            a palette are refused then), ``"colours"`` to read the palette's colours or greys.
        resample_masks: Whether volume files' masks that lie on other voxels than their image, by
            their headers, are brought onto its voxels by nearest neighbour; refused otherwise.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their samples out.
        pack: Whether to pack data that are not packed yet, which may take minutes.

    Raises:
        OptionError: An option is out of range, or two contradict each other.
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        NotPackedError: They are not packed, and ``pack`` is false.
        WriteError: The cache cannot be written.
    """
    wanted = preprocessing.wanted(size, resize, normalise, window)
    if classes is not None and not 2 <= classes <= 256:
        raise OptionError(f"classes must be 2 to 256, the background included, not {classes}")
    masks = MaskValues.of(values, threshold=threshold, invert=invert, soft=soft, classes=classes)
    check_choice("palette", palette, PALETTES)
    reading = Reading(palette, resample_masks)
    path = find_root(root, "folder", _WANTED)
    if is_packed(path):
        asked = replace(wanted, mask_values=masks if masks.options else None)
        return open_packed(path, asked, classes)
    tree = open_root(path, _may_enter, "folder", _WANTED)
    source = FolderSource(tree, wanted, classes=classes, masks=masks, reading=reading)
    options = (source.wanted.options, classes, *masks.options.items(), *reading.chosen())
    target = cache_folder(cache, "folder", path, *options)
    return open_or_pack(source, target, progress=progress, on_fault=on_fault, pack=pack)


class Reading(NamedTuple):
    """How files are read."""

    palette: Palette = "indices"
    resample_masks: bool = False

    def chosen(self) -> tuple[Any, ...]:
        """Return the options, or nothing if they are the usual ones."""
        return () if self == Reading() else tuple(self)


class FolderSource(AnnotatedFiles):
    """The samples of a tree; each annotator is a name of mask files.

    Raises:
        MissingDataError: The tree has another layout.
        DataError: Two files have the same purpose, or the groups cannot be read.
    """

    name = "folder"
    keeps_bytes = True
    notes_values = True

    def __init__(
        self,
        tree: FileTree,
        wanted: Preprocessing | None = None,
        *,
        classes: int | None = None,
        masks: MaskValues = MaskValues(),  # noqa: B008  # is frozen
        reading: Reading = Reading(),  # noqa: B008  # it cannot be changed
    ) -> None:
        super().__init__(tree, wanted)
        self._classes, self._groups, self._reading = classes, _read_groups(tree), reading
        self.masks: MaskValues = masks
        self.grouped = bool(self._groups)
        self._loose = 0  # files in masks/ itself
        self.wanted = self.settled()
        self.provenance = f"{OWN_DATA}{printable(tree.root.name)}"
        self.state = {
            "layout": "folder",
            "images": self.wanted.to_plain(),
            "classes": classes if classes is not None else "counted",
            "annotators": self.annotators,
            **masks.options,
            **({"reading": reading.chosen()} if reading.chosen() else {}),
            **tree.state,
        }

    def collect(self, samples: defaultdict[str, SampleFiles]) -> None:
        """Collect the images and masks."""
        check_links(self.tree, {"images", "masks"}.__contains__)
        for path in self.tree.names():
            name = normalize("NFC", path)  # some systems decompose accents
            if match := _SEVERAL.fullmatch(name):
                self._add_several(samples[printable(match["id"])], path)
                continue
            if match := _FOLDER.fullmatch(name):
                if path in self.tree.broken:
                    samples[printable(match["id"])].unclear.append(path)
                else:
                    self._loose += not _SYSTEM_FILES.match(match["id"])
                continue
            match = _FILE.fullmatch(name)
            if match and not _SYSTEM_FILES.match(match["file"]):
                stem, suffix = stem_and_suffix(printable(match["file"]))
                files = samples[printable(match["id"] or stem)]
                if suffix:
                    files.add(path, stem if match["id"] else None)
                else:
                    files.unclear.append(path)
        if not any(files.images for files in samples.values()):
            unclear = [file for files in samples.values() for file in files.unclear]
            contents = f"it holds: {list_contents(self.tree.root)}"
            what = self._unclear(unclear[0]) if unclear else contents
            raise MissingDataError(
                f"{self.tree.root} holds no {_LAYOUT}; {what}; {self._other_layout()}"
            )

    def _other_layout(self) -> str:
        """Return what to do with a folder in which no image was found."""
        for images in self.tree.root.glob("*/images"):
            if images.with_name("masks").is_dir():
                name, path = (printable(str(one)) for one in (images.parent.name, images.parent))
                return f"{name} in it has that layout: give {path}"
        return f"move the files into that layout ({_SCRIPTS})"

    def _add_several(self, files: SampleFiles, path: str) -> None:
        """Add the annotators in a file of BSDS500, as ``path#1``, ``path#2`` and so on."""
        count = 1  # reading it says what is wrong
        with suppress(DataError):
            count = count_annotations(self.tree.read(path, _LARGEST)) or 1
        for number in range(1, count + 1):
            files.add(f"{path}#{number}", str(number))

    @cached_property
    def classes(self) -> int:  # type: ignore[override]  # a constant of other layouts
        """Number of classes: as given, or counted in the masks that can be read."""
        if self._classes is not None:
            return self._classes
        if self.masks.two_classes:
            return 2
        with ThreadPoolExecutor() as pool:
            values = self.masks.classes_of(set().union(*pool.map(self._values, self.items())))
        counted = 2 if 255 in values else next(value for value in count() if value not in values)
        return counted if 2 < counted <= _MOST_COUNTED else 2

    @cached_property
    def _has_bytes(self) -> bool:
        """Whether some soft mask has integers above 1, of which 255 is a probability of 1."""
        return any(value > 1 for name in self.items() for value in self._values(name))

    def _values(self, name: str) -> set[float]:
        """Return the values in the masks of a sample; damaged files are told when they are read."""
        files, values = self.files[name], set[float]()
        with suppress(DataError):
            image = self.open(files.images[0])
            for file, *_ in files.masks.values():
                pixels = self.open(file, image).pixels
                values.update(np.unique(pixels).tolist() if len(pixels) == 1 else ())
        return values

    def open(self, file: str, image: Picture | None = None) -> Picture:
        """Read an image, or the mask of one."""
        if match := _MEMBER.fullmatch(file):
            masks = np.atleast_3d(read_matlab(self.tree.read(match[1], _LARGEST)))
            return Picture(masks[int(match[2]) - 1][None], np.full(2, np.nan))
        data, suffix = self.tree.read(file, _LARGEST), stem_and_suffix(file)[1]
        palette, resample = self._reading
        return read_picture(data, suffix, image, palette=palette, resample=resample)

    def labels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return the classes of a mask, or its probabilities."""
        if self.masks.soft and mask.dtype.kind in "iu" and mask.max() == 1 and self._has_bytes:
            raise DataError(
                "has integers up to 1, and other masks up to 255, which is a probability of 1: "
                "save it on that scale too"
            )
        return self.masks.read(mask, self.classes)

    def channel_names(self) -> tuple[str, ...] | None:
        """Return what the channels of pictures are; those of arrays are unknown."""
        images = [file for files in self.files.values() for file in files.images]
        return channel_names({stem_and_suffix(file)[1] for file in images}, self.kind.channels)

    def group(self, name: str) -> str:
        """Return the group in the table, or else the name."""
        return self._groups.get(name, name)

    def lacking(self, name: str) -> str:
        """Return what a sample lacks, or nothing."""
        files = self.files[name]
        if files.unclear:
            return "; ".join(map(self._unclear, files.unclear))
        if not files.images:
            return f"has no image images/{name}.png{self._exchanged(files)}"
        if not files.masks:
            return f"has no annotation masks/{name}/ANNOTATOR.png{self._outside()}"
        if self._groups and name not in self._groups:
            return f"has no group in {_GROUPS}, where an id is an image's name without its suffix"
        return ""

    def _outside(self) -> str:
        """Return that there are masks outside of folders of images, if there are."""
        files = f"{self._loose} file{'' if self._loose == 1 else 's'}"
        return f"; masks/ itself holds {files} ({_SCRIPTS})" if self._loose else ""

    def _exchanged(self, files: SampleFiles) -> str:
        """Return which images the masks of a folder without image are named after, if they are."""
        named = [who for who in files.masks if who in self.files and self.files[who].images]
        if not named:
            return ""
        return f", but masks of image {named[0]}: it is masks/ID/ANNOTATOR.png ({_SCRIPTS})"

    def _unclear(self, file: str) -> str:
        kinds = f"is none of {', '.join(SUFFIXES)}; convert it to one of them"
        return f"{printable(file)} {self.tree.broken.get(file, kinds)}"


def _may_enter(folder: str) -> bool:
    """Return whether a folder of this relative name belongs to the layout."""
    return re.fullmatch(r"images|masks(/[^/]+)?", folder) is not None


def _read_groups(tree: FileTree) -> dict[str, str]:
    """Return the group of each id, or nothing where there is no ``groups.csv``.

    Raises:
        DataError: It is no such table, or an id is in it twice.
    """
    files = [name for name in tree.names() if _TABLE.fullmatch(name)]
    if len(files) > 1:
        raise DataError(f"{tree.root}: {files[0]} occurs twice, also as {files[1]}")
    if not files:
        return {}
    with in_file(f"{tree.root}/{files[0]}"):
        data = tree.read(files[0], _LARGEST_TABLE)
    return _parse_groups(data, f"{tree.root}/{files[0]}")


def read_groups(file: str | os.PathLike[str]) -> dict[str, str]:
    """Return the group of each id from a CSV file headed ``id,group``.

    Raises:
        DataError: There is no such file, it is no such table, or an id is in it twice.
    """
    try:
        return _parse_groups(Path(file).expanduser().read_bytes(), str(file))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from error


def _parse_groups(data: bytes, file: str) -> dict[str, str]:
    try:
        text = data.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(normalize("NFC", text), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} is no CSV file in UTF-8 ({error})") from error
    head, *rows = [[cell.strip() for cell in row] for row in rows if any(row)] or [[]]
    wrong = [row for row in rows if len(row) != 2 or not all(row)]
    if head != ["id", "group"] or wrong:
        row = head if head != ["id", "group"] else wrong[0]
        raise DataError(
            f"{file} must have two columns, headed id,group and separated by commas; "
            f"it has the row {','.join(row)!r}"
        )
    groups: dict[str, str] = {}
    for name, group in rows:
        if groups.setdefault(name, group) != group:
            raise DataError(f"{file} gives {name} two groups")
    return groups
