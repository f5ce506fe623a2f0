"""Random small trees of each layout, each with the truth of what is in it; shared by the fuzz."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import nibabel
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from probseg.datasets.splits import natural

Pixels = NDArray[Any]
FIFO = b"a named pipe, which would be waited for"
SOUND = "sound"
UNSEEN = "changed where nothing can tell"
EITHER = "reported or harmless"
SPOILED = "spoiled"
GONE = "without a trace"


@dataclass(repr=False)
class File:
    """A file, what it shows, and its bytes; None if it is not there."""

    name: str
    pixels: Pixels
    encode: Callable[[Pixels], bytes]
    data: Any = None  # bytes; of an entry of a pickle, an array
    touched: bool = False  # a fault is planted in it, or none may be

    def __post_init__(self) -> None:
        self.data = self.encode(self.pixels)

    def __repr__(self) -> str:
        return f"{self.name!r}: {self.pixels.shape} {self.pixels.dtype}"

    @property
    def there(self) -> bool:
        return self.data is not None and self.data is not FIFO


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


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def png_mask(pixels: Pixels) -> bytes:
    return png((pixels * 255).astype(np.uint8) if pixels.max() < 2 else pixels)


def npy(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def tif(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    kinds = [None, "tiff_lzw", "packbits"] if pixels.ndim == 2 and pixels.dtype == "u1" else [None]
    kind = kinds[np.count_nonzero(pixels) % len(kinds)]
    Image.fromarray(pixels).save(file, "TIFF", compression=kind)
    return file.getvalue()


def nifti(pixels: Pixels) -> bytes:
    """Write a picture (H, W) or (H, W, C), column by column and sometimes from the right."""
    affine, voxels = np.diag([-0.5, -0.25, 2.0, 1.0]), np.swapaxes(pixels, 0, 1)
    if voxels.ndim == 3:
        voxels = voxels[:, :, None]
    if np.count_nonzero(pixels) % 2:
        affine[0, 0], voxels = 0.5, voxels[::-1]
    return nibabel.Nifti1Image(np.ascontiguousarray(voxels), affine).to_bytes()


def volume(pixels: Pixels) -> bytes:
    return nibabel.Nifti1Image(pixels, np.eye(4)).to_bytes()


def packed(encode: Callable[[Pixels], bytes]) -> Callable[[Pixels], bytes]:
    return lambda pixels: gzip.compress(encode(pixels), 1, mtime=0)


ENCODERS = {".png": png, ".tif": tif, ".npy": npy, ".nii": nifti, ".nii.gz": packed(nifti)}
KINDS = {  # of pixels that a file keeps exactly, besides 8 bits
    ".png": ["u2"],
    ".tif": ["u2", "f4"],
    ".npy": ["u2", "i2", "f4", "f8"],
    ".nii": ["i2", "f4"],
    ".nii.gz": ["i2", "f4"],
}
LETTERS = st.text("aZ19 éß漢-_", min_size=1, max_size=6).filter(lambda text: text == text.strip())
NAMES = LETTERS | LETTERS.map(lambda text: f"{text}\udce9")  # no UTF-8, as old disks have it


def randoms(draw: Any) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def picture(random: np.random.Generator, *shape: int, kind: str = "u1") -> Pixels:
    """Return noise, or a few squares that compress to some bytes, whose flips may go unseen."""
    scale = {"u1": 255, "u2": 40000, "i2": 3000, "f4": 1, "f8": 1e6}[kind]
    if random.random() < 0.5:
        return (random.random(shape) * scale).astype(kind)
    flat = np.full(shape, int(random.integers(1, 4)) * scale / 4)
    flat[: shape[0] // 2, : shape[1] // 3] = scale
    return flat.astype(kind)


def drawn(random: np.random.Generator, *shape: int) -> Pixels:
    mask = np.zeros(shape, np.uint8)
    if random.random() < 0.8:
        mask[tuple(slice(0, int(random.integers(1, extent + 1))) for extent in shape)] = 1
        mask &= random.random(shape) < random.choice([0.5, 1.0])
    return mask


def names(draw: Any, zipped: bool) -> list[str]:
    of_zip = NAMES.filter(lambda text: "\udce9" not in text)  # a zip file's names are text
    return draw(st.lists(of_zip if zipped else NAMES, min_size=1, max_size=4, unique=True))


@st.composite
def slices(draw: Any) -> Tree:
    numbers = draw(st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True))
    random, zipped, patient = randoms(draw), draw(st.booleans()), draw(st.integers(1, 3))
    cases = []
    for number in numbers:
        who, nodule = f"LIDC-IDRI-{patient + number // 4:04}", number % 4 // 2
        place = f"{who}/nodule-{nodule}/{{}}/slice-{number}.png"
        masks = {
            f"mask-{reader}": File(
                place.format(f"mask-{reader}"), drawn(random, 128, 128), png_mask
            )
            for reader in range(4)
        }
        image = File(place.format("images"), picture(random, 128, 128), png)
        name = f"{who}/nodule-{nodule}/slice-{number}"
        cases.append(Case(name, who, image, masks, needs_all=True))
    above = draw(st.sampled_from(["", "LIDC é/", "a/b c/"]))
    return Tree("slices", cases, 1e-6, zipped, above=above)


@st.composite
def crops(draw: Any) -> Tree:
    random, zipped = randoms(draw), draw(st.booleans())
    edge, first = draw(st.sampled_from([12, 17, 180])), draw(st.sampled_from([0, 1]))
    cases = []
    for who in names(draw, zipped):
        part, crop = draw(st.sampled_from(["train", "val", "test"])), f"{who}/z-1.5_c0"
        masks = {
            f"l{k}": File(f"{part}/gt/{crop}_l{k + first}.png", drawn(random, edge, edge), png_mask)
            for k in range(4)
        }
        image = File(f"{part}/images/{crop}.png", picture(random, edge, edge), png)
        cases.append(Case(crop, who, image, masks, needs_all=True))
    return Tree("crops", cases, 1e-6, zipped)


@st.composite
def qubiq(draw: Any, subset: str, raters: int, shape: tuple[int, ...]) -> Tree:
    random, zipped = randoms(draw), draw(st.booleans())
    volumes = subset == "pancreas"
    way = draw(st.sampled_from(["Training", "Validation", ""]))
    above = draw(st.sampled_from(["", "qubiq données/", "training_data_v3_QC/"]))
    suffix = draw(st.sampled_from([".nii", ".nii.gz", ".nii.gz"]))
    write = volume if volumes else nifti
    encode = packed(write) if suffix.endswith(".gz") else write
    part, cases = way or ("Training" if above.startswith("training") else ""), []
    for name in names(draw, zipped):
        name = f"case{name}"
        folder = "/".join(filter(None, [subset, way, name]))
        own = subset == "kidney" and draw(st.booleans())
        task = name if own else "task01"
        masks = {
            str(rater): File(
                f"{folder}/{task}_seg{rater:02}{suffix}",
                drawn(random, *(shape if volumes else shape[:2])),
                encode,
            )
            for rater in range(1, raters + 1)
        }
        image = File(f"{folder}/image{suffix}", picture(random, *shape, kind="f4"), encode)
        name = "/".join(filter(None, [part, name]))
        cases.append(Case(name, name, image, masks))
    return Tree(subset, cases, 2**-11, zipped, volumes=volumes, eight_bit=False, above=above)


@st.composite
def folder(draw: Any) -> Tree:
    random, zipped, grouped = randoms(draw), draw(st.booleans()), draw(st.booleans())
    eight_bit, colours = draw(st.booleans()), draw(st.sampled_from([1, 1, 3]))
    annotators, cases = names(draw, zipped)[:3], []
    shape = (9, 8) if colours == 1 else (9, 8, 3)
    for name in names(draw, zipped):
        suffix = draw(st.sampled_from(list(ENCODERS) if eight_bit or colours == 1 else [".npy"]))
        kind = "u1" if eight_bit else draw(st.sampled_from(KINDS[suffix]))
        others = [suffix] if suffix.startswith(".nii") else [".png", ".tif", ".npy"]
        image = File(f"images/{name}{suffix}", picture(random, *shape, kind=kind), ENCODERS[suffix])
        masks = {}
        for who in annotators:
            suffix = draw(st.sampled_from(others))
            encode = png_mask if suffix == ".png" else ENCODERS[suffix]
            masks[who] = File(f"masks/{name}/{who}{suffix}", drawn(random, 9, 8), encode)
        cases.append(Case(name, "g" if grouped and "\udce9" not in name else name, image, masks))
    more = {}
    if grouped and not any("\udce9" in case.id for case in cases):
        table = "".join(f"{case.id},{case.group}\n" for case in cases)
        more["groups.csv"] = f"id,group\n{table}".encode()
    else:
        cases = [Case(case.id, case.id, case.image, case.masks) for case in cases]
    above = "outer é/" if zipped and draw(st.booleans()) else ""
    return Tree(
        "folder",
        cases,
        1e-6 if eight_bit else 2**-11,
        zipped,
        eight_bit=eight_bit,
        more=more,
        above=above,
    )


@st.composite
def entries(draw: Any) -> Tree:
    random, cases = randoms(draw), []
    for name in names(draw, zipped=False):
        who = draw(st.sampled_from(["LIDC-IDRI-0007", "1.2.3"]))
        kind, step = draw(st.sampled_from(["f4", "f8"])), picture(random, 128, 128)
        image = File("image", step, lambda pixels, kind=kind: (pixels / 255).astype(kind))
        masks = {str(k): File(str(k), drawn(random, 128, 128), np.copy) for k in range(4)}
        key = f"{name} {who}" if "IDRI" in who else name
        cases.append(Case(key, who, image, masks, needs_all=True))
    return Tree("pickle", cases, 1e-6)


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
