"""LIDC as PNG files, an image and four masks a sample, in the layouts "slices" and "crops"."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from probseg.datasets.cache.source import Block, Record, chunked, read_block
from probseg.datasets.formats.files import FileTree, in_file, printable
from probseg.datasets.formats.images import as_binary, read_grayscale, read_header
from probseg.datasets.lidc.nodules import PROVENANCE, READERS
from probseg.datasets.splits import natural
from probseg.errors import DataError, MissingDataError

_IMAGE = "image"
_LARGEST = 1 << 20  # bytes; a PNG of 128x128 has about 9,000
_CHUNK = 64  # samples that are read at once
_USUAL = (180, 180)  # pixels of the layout "crops"
_WIDEST = 1024  # pixels; no crop of a nodule is larger
_PROBED = 25  # images that are looked at for the size of all

Size = tuple[int, int]


class PngFile(NamedTuple):
    """One file: which part of which sample it is."""

    sample: str  # unique in the data set
    patient: str
    part: str  # "image", or the name of a mask


class PngSample(NamedTuple):
    """The files of one sample."""

    id: str
    patient: str
    files: list[str]  # the image and the four masks


class Chunk(NamedTuple):
    """Samples that are read at once."""

    size: Size
    samples: Sequence[PngSample]


class LidcPngs(ABC):
    """The samples of a file tree, in natural order; a source for the packed cache.

    Args:
        tree: The files.
    """

    name = "lidc"
    classes = 2
    provenance = PROVENANCE

    layout: ClassVar[str]
    description: ClassVar[str]  # of the layout, for messages
    file_pattern: ClassVar[re.Pattern[str]]  # of its files' names, below any folders
    folder_pattern: ClassVar[re.Pattern[str]]  # of the names of the folders that hold them
    spacing: ClassVar[float] = np.nan  # mm

    def __init__(self, tree: FileTree) -> None:
        self.state: dict[str, Any] = {"layout": self.layout, **tree.state}
        self._tree = tree
        self._spacing = np.full(2, self.spacing)

    def __len__(self) -> int:
        return len(self._index)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_index"}  # chunks have the names

    @classmethod
    def matches(cls, name: str) -> re.Match[str] | None:
        """Return the match of a file's name, or None; copies that macOS adds do not match."""
        return None if name.startswith("__MACOSX/") else cls.file_pattern.fullmatch(name)

    @abstractmethod
    def parse(self, match: re.Match[str]) -> PngFile:
        """Return which part of which sample a file is."""

    @abstractmethod
    def mask_names(self, parts: Iterable[str]) -> list[str]:
        """Return the names of the four masks in a sample that has these parts."""

    @abstractmethod
    def image_size(self, samples: Sequence[PngSample]) -> Size:
        """Return the height and width of every image."""

    def chunks(self) -> list[Chunk]:
        """Return the complete samples, some of them at a time."""
        complete = [
            PngSample(sample, patient, [parts[part] for part in self._expected(parts)])
            for (sample, patient), parts in self._index.items()
            if not self._fault(parts)
        ]
        size = self.image_size(complete)
        return [Chunk(size, samples) for samples in chunked(complete, _CHUNK)]

    def faults(self) -> list[str]:
        """Return what the incomplete samples lack."""
        checked = ((sample, self._fault(parts)) for (sample, _), parts in self._index.items())
        return [f"{sample}: {fault}" for sample, fault in checked if fault]

    def read(self, chunk: Chunk) -> Block:
        """Decode some samples."""
        return read_block(chunk.samples, lambda sample: self._read(sample, chunk.size))

    def _read(self, sample: PngSample, size: Size) -> Record:
        planes = np.zeros((1 + READERS, *size), np.uint8)
        for number, name in enumerate(sample.files):
            with in_file(name):
                gray = read_grayscale(self._tree.read(name, _LARGEST), size)
                planes[number] = as_binary(gray) if number else gray
        return Record(sample.id, sample.patient, planes[:1], planes[1:], spacing=self._spacing)

    @cached_property
    def _index(self) -> dict[tuple[str, str], dict[str, str]]:
        index: dict[tuple[str, str], dict[str, str]] = {}
        for name in self._tree.names():
            if match := self.matches(name):
                sample, patient, part = self.parse(match)
                parts = index.setdefault((printable(sample), printable(patient)), {})
                if (other := parts.setdefault(part, name)) != name:
                    raise DataError(
                        f"{self._tree.root}: {printable(name)} is there twice, also as "
                        f"{printable(other)}"
                    )
        if not index:
            raise MissingDataError(
                f"{self._tree.root} holds no LIDC in the layout {self.layout!r}, {self.description}"
            )
        return dict(sorted(index.items(), key=lambda item: natural(item[0][0])))

    def _expected(self, parts: Iterable[str]) -> list[str]:
        return [_IMAGE, *self.mask_names(parts)]

    def _fault(self, parts: dict[str, str]) -> str:
        expected = self._expected(parts)
        if lacking := [part for part in expected if part not in parts]:
            return f"lacks {', '.join(lacking)}"
        more = [part for part in parts if part not in expected]
        return f"has {', '.join(more)}; there should be {READERS} masks only" if more else ""


class LidcSlices(LidcPngs):
    """Slices of nodules at the scans' own resolution, each stretched to its own range."""

    layout = "slices"
    description = "LIDC-IDRI-XXXX/nodule-Y/{images,mask-0..mask-3}/slice-N.png of 128x128 pixels"
    file_pattern = re.compile(
        r"(?:.*/)?(LIDC-IDRI-\d{4})/nodule-(\d+)/(images|mask-\d+)/slice-(\d+)\.png",
        re.IGNORECASE | re.ASCII | re.DOTALL,
    )
    folder_pattern = re.compile(
        r"(?:[^/]+/){0,2}LIDC-IDRI-\d{4}(?:/nodule-\d+(?:/(?:images|mask-\d+))?)?",
        re.IGNORECASE | re.ASCII,
    )

    def parse(self, match: re.Match[str]) -> PngFile:
        """Return which part of which sample a file is."""
        patient, nodule, part, number = match.groups()
        sample = f"{patient.upper()}/nodule-{int(nodule)}/slice-{int(number)}"
        part = _IMAGE if part.lower() == "images" else f"mask-{int(part[5:])}"
        return PngFile(sample, patient.upper(), part)

    def mask_names(self, parts: Iterable[str]) -> list[str]:
        """Return the names of the four masks."""
        return [f"mask-{reader}" for reader in range(READERS)]

    def image_size(self, samples: Sequence[PngSample]) -> Size:
        """Return the one size of this layout."""
        return 128, 128


class LidcCrops(LidcPngs):
    """Crops around the nodules at 0.5 mm; all may have another square size instead.

    The folders ``train``, ``val`` and ``test`` are put together: splits are made by patient.

    References:
        Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities",
        arXiv 1905.13077, 2019.
    """

    layout = "crops"
    description = (
        "{train,val,test}/{images,gt}/PATIENT/z-Z_cC.png of 180x180 pixels, the four masks in gt "
        "with _l0 to _l3 or _l1 to _l4 at the end"
    )
    file_pattern = re.compile(
        r"(?:.*/)?(?:train|val|test)/(?:images/(?P<image>[^/]+/z-[^/]+_c\d+)"
        r"|gt/(?P<gt>[^/]+/z-[^/]+_c\d+)_l(?P<label>\d+))\.png",
        re.IGNORECASE | re.ASCII | re.DOTALL,
    )
    folder_pattern = re.compile(
        r"(?:[^/]+/){0,2}(?:train|val|test)(?:/(?:images|gt)(?:/[^/]+)?)?", re.IGNORECASE
    )
    spacing = 0.5

    def parse(self, match: re.Match[str]) -> PngFile:
        """Return which part of which sample a file is."""
        sample = match["image"] or match["gt"]
        part = _IMAGE if match["image"] else f"l{int(match['label'])}"
        return PngFile(sample, sample.split("/")[0], part)

    def mask_names(self, parts: Iterable[str]) -> list[str]:
        """Return the names of the four masks, which are counted from 0 or from 1."""
        first = 1 if "l4" in parts and "l0" not in parts else 0
        return [f"l{first + reader}" for reader in range(READERS)]

    def image_size(self, samples: Sequence[PngSample]) -> Size:
        """Return the square size that most of some images have."""
        sizes: Counter[Size] = Counter()
        for sample in samples[:: len(samples) // _PROBED + 1]:
            with suppress(DataError):  # is reported when it is read
                sizes[read_header(self._tree.read(sample.files[0], _LARGEST))[:2]] += 1
        sensible = [size for size in sizes if size[0] == size[1] and 0 < size[0] <= _WIDEST]
        return max(sensible, key=lambda size: (sizes[size], size == _USUAL), default=_USUAL)
