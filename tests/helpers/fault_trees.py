"""A tree of files with the truth of what is in it, and how it is written to a disk."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fault_files import FIFO, File, Pixels

from probseg.datasets.splits import natural

SOUND = "sound"
UNSEEN = "changed where nothing can tell"
EITHER = "reported or harmless"
SPOILED = "spoiled"
GONE = "without a trace"


@dataclass
class Case:
    """An image and its masks."""

    id: str
    group: str
    image: File
    masks: dict[str, File]  # by annotator
    damage: str = SOUND
    needs_all: bool = False  # masks
    more: list[File] = field(default_factory=list)

    @property
    def files(self) -> list[File]:
        return [self.image, *self.masks.values(), *self.more]

    @property
    def state(self) -> str:
        if not any(file.there for file in self.files):
            return GONE
        wanted = all if self.needs_all else any
        whole = self.image.there and wanted(mask.there for mask in self.masks.values())
        return self.damage if whole else SPOILED

    def is_named(self, text: str, above: str) -> bool:
        """Whether a line of a report is about this case."""
        names = [self.id, *(above + file.name for file in self.files)]
        return text.strip().startswith(tuple(f"{printable(name)}: " for name in names))


class Row(NamedTuple):
    """A sample as it should come back."""

    group: str
    image: Pixels  # (C, H, W) in [0, 1]
    masks: Pixels  # (A, H, W)
    present: list[bool]


@dataclass
class Tree:
    """Cases on their way to a disk, and what is true of all of them."""

    layout: str
    cases: list[Case]  # in natural order
    tolerance: float
    zipped: bool = False
    volumes: bool = False
    eight_bit: bool = True
    above: str = ""
    planted: list[str] = field(default_factory=list)
    damage: str = SOUND  # of the file that holds everything
    more: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    spoil: Callable[[bytes], bytes] = bytes  # of the file that holds everything
    read_only: bool = False
    root: str = "data"

    def __post_init__(self) -> None:
        self.cases.sort(key=lambda case: natural(printable(case.id)))

    @property
    def columns(self) -> list[str]:
        """The annotators that there are: in anybody's own data, who has any mask."""
        masks = [item for case in self.cases for item in case.masks.items()]
        found = {name for name, mask in masks if mask.there or self.layout != "folder"}
        return sorted(found, key=lambda name: natural(printable(name)))

    def files(self) -> dict[str, bytes]:
        files = {file.name: file.data for case in self.cases for file in case.files}
        return {
            self.above + name: data
            for name, data in {**files, **self.more}.items()
            if data is not None
        }

    def rows(self, case: Case) -> dict[str, Row]:
        """Return what should come of a sound case."""
        masks = [case.masks.get(name) for name in self.columns]
        present = [mask is not None and mask.there for mask in masks]
        slices = case.image.pixels if self.volumes else case.image.pixels[None]
        planes = np.zeros((len(masks), *slices.shape[:3]), np.uint8)
        for place, mask in enumerate(masks):
            if mask is not None and mask.there:
                planes[place] = mask.pixels
        rows = {}
        for index, picture in enumerate(slices):
            if not self.volumes or planes[:, index].any():
                name = printable(f"{case.id}/slice-{index}" if self.volumes else case.id)
                image = np.atleast_3d(picture).transpose(2, 0, 1)
                values = image / 255 if self.eight_bit else stretched(image)
                rows[name] = Row(printable(case.group), values, planes[:, index], present)
        return rows


def printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def stretched(image: Pixels) -> Pixels:
    low = image.min((1, 2), keepdims=True).astype(float)
    width = image.max((1, 2), keepdims=True) - low
    return (image - low) / np.where(width > 0, width, 1)


def pickled(tree: Tree) -> bytes:
    content = {}
    for case in tree.cases:
        masks = [mask.data for mask in case.masks.values() if mask.there]
        entry = {"image": case.image.data, "masks": masks, "series_uid": case.group}
        content[case.id] = {key: value for key, value in entry.items() if value is not None}
    return pickle.dumps(content, len(tree.cases))


def write(tree: Tree, root: Path) -> Path:
    """Write a tree of files, or the zip file of it; return what is to be loaded."""
    if tree.layout == "pickle":
        path = root.with_suffix(".pickle")
        path.write_bytes(tree.spoil(pickled(tree)))
        return path
    if tree.zipped:
        path = root.with_suffix(".zip")
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in tree.files().items():
                if data != FIFO:
                    archive.writestr(name, data)
        path.write_bytes(tree.spoil(file.getvalue()))
        return path
    for name, data in tree.files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(root / name) if data == FIFO else (root / name).write_bytes(data)
    for name, target in tree.links.items():
        place = root / tree.above / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.join(root, target))
    if tree.read_only:
        for path in [*root.rglob("*"), root]:
            if not path.is_symlink() and not path.is_fifo():
                path.chmod(0o555 if path.is_dir() else 0o444)
    return root
