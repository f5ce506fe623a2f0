"""LIDC as PNG files, an image and four masks a sample, in the layouts "slices" and "crops"."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.annotated_files import AnnotatedFiles, ImageKind, SampleFiles
from probseg.datasets.formats.files import FileTree, printable
from probseg.datasets.formats.images import Picture, as_binary, picture_size, read_grayscale
from probseg.datasets.lidc.nodules import CLASS_NAMES, PROVENANCE, READERS
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.roots import check_links
from probseg.errors import DataError, MissingDataError

_LARGEST = 1 << 20  # bytes; a PNG of 128x128 has about 9,000
_USUAL = (180, 180)  # pixels of the layout "crops"
_WIDEST = 1024  # pixels; no crop of a nodule is larger
_PROBED = 25  # images that are looked at for the size of all

_PARTS = {"train": "train", "val": "validation", "test": "test"}  # of the layout "crops"

Size = tuple[int, int]


class PngLayout(NamedTuple):
    """How the files of a layout are named, and what is known of them."""

    description: str  # for messages
    file_pattern: re.Pattern[str]  # of files' names, below any folders
    folder_pattern: re.Pattern[str]  # of the names of the folders that hold them
    sample: Callable[[re.Match[str]], str]  # the unique name, which begins with the patient's
    mask: str  # what a mask is called; the pattern's group "label" is its number
    size: Size | None = None  # None: any square, as most files say
    spacing: float = np.nan  # mm

    def matches(self, name: str) -> re.Match[str] | None:
        """Return the match of a file's name, or None; copies that macOS adds do not match."""
        return None if name.startswith("__MACOSX/") else self.file_pattern.fullmatch(name)


def _slice_name(match: re.Match[str]) -> str:
    patient, nodule, number = match["patient"], match["nodule"], match["number"]
    return f"{patient.upper()}/nodule-{int(nodule)}/slice-{int(number)}"


PNG_LAYOUTS = {
    # Slices of nodules at the scans' own resolution, each stretched to its own range.
    "slices": PngLayout(
        description="LIDC-IDRI-XXXX/nodule-Y/{images,mask-0..mask-3}/slice-N.png of 128x128 pixels",
        file_pattern=re.compile(
            r"(?:.*/)?(?P<patient>LIDC-IDRI-\d{4})/nodule-(?P<nodule>\d+)/"
            r"(?:images|mask-(?P<label>\d+))/slice-(?P<number>\d+)\.png",
            re.IGNORECASE | re.ASCII | re.DOTALL,
        ),
        folder_pattern=re.compile(
            r"(?:[^/]+/){0,2}LIDC-IDRI-\d{4}(?:/nodule-\d+(?:/(?:images|mask-\d+))?)?",
            re.IGNORECASE | re.ASCII,
        ),
        sample=_slice_name,
        mask="mask-",
        size=(128, 128),
    ),
    # Crops around the nodules (Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling
    # Multi-Scale Ambiguities", arXiv 1905.13077, 2019). The folders train, val and test are put
    # together; which a sample was in is kept, for the protocol lidc-v2.
    "crops": PngLayout(
        description=(
            "{train,val,test}/{images,gt}/PATIENT/z-Z_cC.png of 180x180 pixels, the four masks in "
            "gt with _l0 to _l3 or _l1 to _l4 at the end"
        ),
        file_pattern=re.compile(
            r"(?:.*/)?(?:train|val|test)/(?:images/(?P<image>[^/]+/z-[^/]+_c\d+)"
            r"|gt/(?P<gt>[^/]+/z-[^/]+_c\d+)_l(?P<label>\d+))\.png",
            re.IGNORECASE | re.ASCII | re.DOTALL,
        ),
        folder_pattern=re.compile(
            r"(?:[^/]+/){0,2}(?:train|val|test)(?:/(?:images|gt)(?:/[^/]+)?)?", re.IGNORECASE
        ),
        sample=lambda match: match["image"] or match["gt"],
        mask="l",
        spacing=0.5,
    ),
}


class LidcPngs(AnnotatedFiles):
    """The samples of a file tree in one of ``PNG_LAYOUTS``."""

    name = "lidc"
    provenance = PROVENANCE
    class_names = CLASS_NAMES
    keeps_bytes = True

    def __init__(self, tree: FileTree, layout: str, wanted: Preprocessing | None = None) -> None:
        super().__init__(tree, wanted)
        self.state: dict[str, Any] = {
            "layout": layout,
            "images": self.wanted.to_plain(),
            **tree.state,
        }
        self._layout = layout
        if layout == "crops":
            self.state["parts"] = True  # which caches of the first versions did not have
        self._spacing = np.full(2, PNG_LAYOUTS[layout].spacing)

    def collect(self, samples: defaultdict[str, SampleFiles]) -> None:
        """Collect the images and masks."""
        layout = PNG_LAYOUTS[self._layout]
        check_links(self.tree, lambda name: layout.folder_pattern.fullmatch(name) is not None)
        for name in self.tree.names():
            if match := layout.matches(name):
                label = match["label"]
                files = samples[printable(layout.sample(match))]
                files.add(name, None if label is None else int(label))
        if not samples:
            raise MissingDataError(
                f"{self.tree.root} holds no LIDC in the layout {self._layout!r}, "
                f"{layout.description}"
            )

    @cached_property
    def annotators(self) -> list[Any]:
        """Nobody's name: the order of the readers has no meaning."""
        return []

    def channel_names(self) -> tuple[str, ...]:
        """Return the name of the one channel."""
        return ("grey",)

    def slots(self, name: str) -> range:
        """Return the labels of the four masks, which are counted from 0 or, in crops, from 1."""
        labels, crops = self.files[name].masks, self._layout == "crops"
        first = int(crops and READERS in labels and 0 not in labels)
        return range(first, first + READERS)

    def part_of(self, name: str) -> str:
        """Return the part of a crop by the folder of its image; that of a slice is unknown."""
        if self._layout != "crops":
            return ""
        return _PARTS[self.files[name].images[0].lower().split("/")[-4]]

    def group(self, name: str) -> str:
        """Return the patient."""
        return name.split("/")[0]

    def lacking(self, name: str) -> str:
        """Return what a sample lacks or has too much, or nothing."""
        files, labels = self.files[name], self.slots(name)
        word = PNG_LAYOUTS[self._layout].mask
        lacking = [] if files.images else ["image"]
        lacking += [f"{word}{label}" for label in labels if label not in files.masks]
        if lacking:
            return f"lacks {', '.join(lacking)}"
        more = [f"{word}{label}" for label in files.masks if label not in labels]
        return f"has {', '.join(more)}; there should be {READERS} masks only" if more else ""

    @cached_property
    def kind(self) -> ImageKind:
        """The kind of all images: 8-bit greyscale of one size."""
        return ImageKind(1, True, PNG_LAYOUTS[self._layout].size or self._usual_size())

    def open(self, file: str, image: Picture | None = None) -> Picture:
        """Decode an image or a mask."""
        pixels = read_grayscale(self.tree.read(file, _LARGEST), self.kind.size)
        return Picture(pixels[None], self._spacing)

    def labels(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a mask of 0 and 255 as one of 0 and 1."""
        return as_binary(mask)

    def _usual_size(self) -> Size:
        """Return the square size that most of some images have."""
        sizes: Counter[Size] = Counter()
        names = self.items()
        for name in names[:: len(names) // _PROBED + 1]:
            with suppress(DataError):  # is reported when it is read
                file = self.files[name].images[0]
                sizes[picture_size(self.tree.read(file, _LARGEST))] += 1
        sensible = [size for size in sizes if size[0] == size[1] and 0 < size[0] <= _WIDEST]
        return max(sensible, key=lambda size: (sizes[size], size == _USUAL), default=_USUAL)
