"""Samples that lie in files: an image, and a mask of it by each annotator."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.cache.source import FaultyFiles, MaskFile, Record
from probseg.datasets.formats.files import FileTree, in_file, printable, shorten
from probseg.datasets.formats.images import Picture
from probseg.datasets.formats.mask_values import MaskValues
from probseg.datasets.formats.nifti import A_VOLUME
from probseg.datasets.formats.preprocessing import as_labels, check_finite
from probseg.datasets.intensities import value_range
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.splits import natural
from probseg.errors import DataError

_LONGEST = 4096  # characters of all annotators' names together


@dataclass
class SampleFiles:
    """The names of the files found for one sample; two files for one purpose are refused."""

    images: list[str] = field(default_factory=list)
    masks: dict[Any, list[str]] = field(default_factory=dict)  # by annotator
    unclear: list[str] = field(default_factory=list)  # files of no known kind or purpose

    def add(self, file: str, annotator: Any = None) -> None:
        """Add an annotator's mask, or an image."""
        (self.images if annotator is None else self.masks.setdefault(annotator, [])).append(file)


class ImageKind(NamedTuple):
    """What all images must have in common."""

    channels: int
    eight_bit: bool
    size: tuple[int, int]  # height, width
    values: tuple[float, float] | None = (0.0, 255.0)  # of whole numbers


class AnnotatedFiles(ABC):
    """The samples of a file tree, in natural order of their names; a source for the packed cache.

    Args:
        tree: The files.
        wanted: What is to be done to the images; without a size they must all be of one.
    """

    name: str
    provenance: str
    state: dict[str, Any]
    classes = 2
    volumes = False  # whether an image is a volume, whose annotated slices are the samples
    notes_values = False  # whether the values in the masks' files are noted
    class_names: tuple[str, ...] | None = None  # background included
    masks: MaskValues | None = None  # what the values in the masks' files mean
    keeps_bytes = False  # whether 8-bit images are kept unless something else is wanted

    def __init__(self, tree: FileTree, wanted: Preprocessing | None = None) -> None:
        self.tree, self.wanted = tree, wanted or Preprocessing()

    @abstractmethod
    def collect(self, samples: defaultdict[str, SampleFiles]) -> None:
        """Collect the files of each sample (or volume).

        Raises:
            MissingDataError: The tree has another layout.
        """

    @abstractmethod
    def lacking(self, name: str) -> str:
        """Return what a sample lacks, or nothing."""

    @abstractmethod
    def open(self, file: str, image: Picture | None = None) -> Picture:
        """Read an image, or the mask of one.

        Raises:
            DataError: The file is damaged.
        """

    @property
    def ignore_index(self) -> int | None:
        """The value of masks' pixels that nobody labelled, if there may be any."""
        return self.masks.ignore_index if self.masks else None

    @property
    def soft(self) -> bool:
        """Whether masks are probabilities."""
        return bool(self.masks and self.masks.soft)

    def slots(self, name: str) -> Sequence[Any]:
        """Return the annotators of a sample in the order of its masks."""
        return self.annotators

    def group(self, name: str) -> str:
        """Return the group of a sample."""
        return name

    @cached_property
    def annotators(self) -> list[Any]:
        """All annotators, in natural order of their names."""
        return sorted({a for files in self.files.values() for a in files.masks}, key=natural)

    @cached_property
    def files(self) -> dict[str, SampleFiles]:
        """The files of each sample.

        Raises:
            MissingDataError: The tree has another layout.
            DataError: A sample has two images, or two masks of one annotator.
        """
        samples: defaultdict[str, SampleFiles] = defaultdict(SampleFiles)
        self.collect(samples)
        each = samples.values()
        purposes = (names for files in each for names in (files.images, *files.masks.values()))
        twice = [[printable(name) for name in names[:2]] for names in purposes if len(names) > 1]
        if twice:
            lines = [f"{self.tree.root}: {one} occurs twice, also as {more}" for one, more in twice]
            raise FaultyFiles(lines, shorten(lines))
        return {name: samples[name] for name in sorted(samples, key=natural)}

    @cached_property
    def kind(self) -> ImageKind:
        """Kind of the first image that can be read."""
        for name in self.items():
            try:
                return _kind_of(self.open(self.files[name].images[0]))
            except DataError:
                continue  # is reported when it is read
        raise DataError(f"{self.tree.root}: no image of {self.name} can be read")

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """What is done to all images."""
        normalise = self.wanted.normalise or self._usual
        return replace(
            self.wanted,
            size=self.wanted.size or self.kind.size,
            normalise=normalise,
            window=self.kind.values if normalise == "none" else self.wanted.window,
            channels=self.channel_names(),
            classes=self.class_names,
            mask_values=self.masks,
            ignore=self.ignore_index,
            annotators=_few_names(self.annotators),
        )

    def settled(self) -> Preprocessing:
        """Return what is wanted, less a normalisation that is the usual one of these images."""
        if self.wanted.normalise in ("none", "stretch"):
            with suppress(DataError):  # is reported when the images are read
                if self.wanted.normalise == self._usual:
                    return replace(self.wanted, normalise=None, window=None)
        return self.wanted

    @property
    def _usual(self) -> str:
        return "none" if self.keeps_bytes and self.kind.eight_bit else "stretch"

    def channel_names(self) -> tuple[str, ...] | None:
        """Return the names of the channels, if they are known."""
        return None

    def __len__(self) -> int:
        return len(self.files)

    def items(self) -> list[str]:
        """Return the names of the complete samples."""
        return [name for name in self.files if not self.lacking(name)]

    def faults(self) -> list[str]:
        """Return what the incomplete samples lack."""
        lacking = ((name, self.lacking(name)) for name in self.files)
        return [f"{name}: {reason}" for name, reason in lacking if reason]

    def read(self, item: str) -> list[Record]:
        """Read one sample, or the annotated slices of a volume."""
        files, slots = self.files[item], self.slots(item)
        image, drawn, noted = self._opened(files)
        pixels = _slices(image)
        native = pixels.shape[2:]
        kind = np.float32 if self.soft else np.uint8
        masks: NDArray[Any] = np.zeros((len(pixels), len(slots), *native), kind)
        for annotator, mask in drawn.items():
            masks[:, slots.index(annotator)] = mask
        ids = [item]
        if self.volumes:
            kept = np.flatnonzero(masks.any((1, 2, 3)))
            ids = [f"{item}/slice-{index}" for index in kept]
            pixels, masks = pixels[kept], masks[kept]
        faint = self.preprocessing.faint(pixels).tolist()
        with in_file(files.images[0]):
            images, masks = self.preprocessing.images(pixels), self.preprocessing.masks(masks)
        present = np.array([annotator in files.masks for annotator in slots])
        spacing = image.spacing * native / self.preprocessing.placement(native).inner
        group = self.group(item)
        return [
            Record(name, group, image_, *self._annotated(mask, present), spacing, noted, few)
            for name, image_, mask, few in zip(ids, images, masks, faint, strict=True)
        ]

    def _opened(
        self, files: SampleFiles
    ) -> tuple[Picture, dict[Any, NDArray[Any]], list[MaskFile]]:
        """Return the image of a sample, its masks by their annotators, and what is noted of them.

        Raises:
            FaultyFiles: Some are damaged; all of those are named.
        """
        faults: list[str] = []
        try:
            image = self._image(files.images[0])
        except DataError as error:
            links = [file for file, *_ in files.masks.values() if file in self.tree.broken]
            lost = [f"{printable(file)}: {self.tree.broken[file]}" for file in links]
            raise FaultyFiles([str(error), *lost]) from error
        masks, noted = {}, list[MaskFile]()
        for annotator, names in files.masks.items():
            try:
                stored = self._stored_mask(names[0], image)
                if self.notes_values:
                    noted.append(MaskFile.of(names[0], stored))
                with in_file(names[0]):
                    masks[annotator] = self.labels(stored)
            except DataError as error:
                faults.append(str(error))
        if faults:
            raise FaultyFiles(faults)
        return image, masks, noted

    def _annotated(
        self, masks: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return masks (A, H, W), and who annotated: nobody who labelled no pixel."""
        if self.ignore_index is None:
            return masks, present
        present = present & (masks != self.ignore_index).any((1, 2))
        return np.where(present[:, None, None], masks, 0).astype(masks.dtype), present

    def _image(self, file: str) -> Picture:
        with in_file(file):
            image = self.open(file)
            self.check(_kind_of(image))
            return image

    def check(self, kind: ImageKind) -> None:
        """Check that an image is of the same kind as the first.

        Raises:
            DataError: It is not.
        """
        first = self.kind
        if kind.channels != first.channels:
            raise DataError(
                f"has {kind.channels} channels, the first image {first.channels}; {A_VOLUME}"
            )
        if self.keeps_bytes and kind.eight_bit != first.eight_bit:
            depths = ("not 8-bit", "8-bit")
            raise DataError(
                f"is {depths[kind.eight_bit]}, the first image {depths[first.eight_bit]}"
            )
        if self.wanted.size is None and kind.size != first.size:
            sizes = ["x".join(map(str, one.size)) for one in (kind, first)]
            raise DataError(f"is {sizes[0]}, the first image {sizes[1]}; pass size= to resize all")

    def _stored_mask(self, file: str, image: Picture) -> NDArray[Any]:
        with in_file(file):
            mask, pixels = _slices(self.open(file, image)), _slices(image)
            if mask.shape[1] > 1:
                raise DataError(f"has {mask.shape[1]} channels; a mask has one; {A_VOLUME}")
            if mask.shape != (len(pixels), 1, *pixels.shape[2:]):
                raise DataError(f"is {_extent(mask)}, its image {_extent(pixels)}")
            return mask[:, 0]

    def labels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return the classes of a mask.

        Raises:
            DataError: It has other values.
        """
        return as_labels(mask, self.classes)


def _few_names(annotators: Sequence[Any]) -> tuple[str, ...] | None:
    """Return the annotators' names, unless there are none or too many to travel with a model."""
    names = tuple(map(str, annotators))
    return names if names and len(json.dumps(names)) <= _LONGEST else None


def _kind_of(image: Picture) -> ImageKind:
    check_finite(image.pixels)
    channels, height, width = image.pixels.shape[-3:]
    kind = image.pixels.dtype
    return ImageKind(channels, kind == np.uint8, (height, width), value_range(kind))


def _slices(image: Picture) -> NDArray[Any]:
    """Return the pixels of a picture or volume as (n, C, H, W)."""
    return image.pixels.reshape(-1, *image.pixels.shape[-3:])


def _extent(pixels: NDArray[Any]) -> str:
    slices, _, height, width = pixels.shape
    return f"{height}x{width}" if slices == 1 else f"{slices} slices of {height}x{width}"
