"""Faults to plant in files, and in a data set as a whole, with the damage that each does."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fault_files import FIFO, File, npy, png
from fault_layouts import randoms
from fault_trees import EITHER, SOUND, SPOILED, UNSEEN, Case, Tree
from hypothesis import strategies as st

Plant = Callable[[Any, Tree, Case, File], str]  # plants one and returns the damage to the case
TRACE = Path(tempfile.gettempdir()) / f"probseg-fuzz-{os.getpid()}"  # of code that was run


class Exploit:
    """What leaves a trace when it is unpickled the usual way."""

    def __reduce__(self) -> Any:
        return open, (str(TRACE), "w")


def suffix_of(file: File) -> str:
    return next(suffix for suffix in MASK if file.name.endswith(suffix))


def cut(draw: Any, tree: Tree, case: Case, file: File) -> str:
    length = len(file.data)
    left = draw(st.integers(1, 40) | st.integers(1, length)) if length > 40 else 1
    file.data = file.data[: max(0, length - left)]
    return EITHER if file.name.endswith(".tif") else SPOILED  # which may end in "no more pages"


def empty(draw: Any, tree: Tree, case: Case, file: File) -> str:
    file.data = np.zeros((0, 0), "f4") if tree.layout == "pickle" else b""
    return SPOILED


def flip(draw: Any, tree: Tree, case: Case, file: File) -> str:
    """Change one byte of what has checksums; in gzip's header some bytes mean nothing."""
    place = draw(st.integers(0, 60) | st.integers(0, len(file.data) - 1)) % len(file.data)
    file.data = flipped(file.data, place, draw(st.integers(1, 255)))
    return EITHER if file.name.endswith(".gz") else SPOILED


def scramble(draw: Any, tree: Tree, case: Case, file: File) -> str:
    """Change bytes that have no checksum: an array may come back, but no strange error may."""
    packed = file.name.endswith(".gz")
    data = gzip.decompress(file.data) if packed else file.data
    end = min(len(data), 352 if ".nii" in file.name else 500)  # headers are at the beginning
    for _ in range(draw(st.integers(1, 4))):
        data = flipped(data, draw(st.integers(0, end - 1)), draw(st.integers(1, 255)))
    file.data = gzip.compress(data) if packed else data
    return UNSEEN


def garbage(draw: Any, tree: Tree, case: Case, file: File) -> str:
    file.data = file.data[: draw(st.integers(0, 30))] + draw(st.binary(min_size=1, max_size=60))
    return SPOILED


def sixteen_bits(draw: Any, tree: Tree, case: Case, file: File) -> str:
    pixels = file.pixels.astype("u2") * 256 + 77
    file.data = pixels if tree.layout == "pickle" else png(pixels)
    return SPOILED


def colour(draw: Any, tree: Tree, case: Case, file: File) -> str:
    pixels = np.stack([file.pixels] * 3, -1)
    file.data = file.encode(pixels) if tree.layout == "pickle" else png(pixels)
    return SPOILED


def other_values(draw: Any, tree: Tree, case: Case, file: File) -> str:
    """Put something into a mask that is no class, or is another class than the rest."""
    random, pixels = randoms(draw), file.pixels.astype("u1") * draw(st.sampled_from([1, 255]))
    value = draw(st.sampled_from([2, 127, 128, 254]))
    pixels.flat[int(random.integers(pixels.size))] = value
    file.data = file.encode(pixels)
    return SPOILED


def other_size(draw: Any, tree: Tree, case: Case, file: File) -> str:
    pixels = file.pixels
    other = draw(st.sampled_from([pixels[1:], pixels[:, 1:], np.concatenate([pixels, pixels])]))
    if pixels.ndim == 3 and draw(st.booleans()):
        other = pixels[:, :, 1:]
    file.data = file.encode(other)
    return SPOILED


def not_a_number(draw: Any, tree: Tree, case: Case, file: File) -> str:
    pixels = file.pixels.astype("f8" if tree.layout == "pickle" else "f4")
    value = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    pixels.flat[draw(st.integers(0, pixels.size - 1))] = value
    file.data = file.encode(pixels)
    return SPOILED


def gone(draw: Any, tree: Tree, case: Case, file: File) -> str:
    file.data = (
        None if tree.zipped or tree.layout == "pickle" else draw(st.sampled_from([None, FIFO]))
    )
    return SOUND  # what that means is seen from what is left


def one_more(draw: Any, tree: Tree, case: Case, file: File) -> str:
    first = next(iter(case.masks.values()))
    name = first.name.replace("mask-0", "mask-7").replace("_l0.", "_l7.").replace("_l1.", "_l7.")
    case.more.append(File(name, first.pixels, first.encode))
    return SPOILED


def unclear(draw: Any, tree: Tree, case: Case, file: File) -> str:
    place, _ = file.name.rsplit("/", 1)
    case.more.append(File(f"{place}/case other_seg01.nii", file.pixels, file.encode))
    return SPOILED


def unknown_kind(draw: Any, tree: Tree, case: Case, file: File) -> str:
    case.more.append(File(f"masks/{case.id}/somebody.bmp", file.pixels, lambda _: b"x"))
    return SPOILED


def object_array(draw: Any, tree: Tree, case: Case, file: File) -> str:
    pixels = np.empty((9, 8), object)
    pixels[:] = Exploit()
    out = io.BytesIO()
    np.save(out, pixels, allow_pickle=True)
    file.data = out.getvalue()
    return SPOILED


def claim(draw: Any, tree: Tree, case: Case, file: File) -> str:
    """Claim a size that nobody has the memory for."""
    data = bytearray(file.data)
    data[16:24] = np.array([1 << draw(st.integers(13, 30)), 1 << 15], ">u4").tobytes()
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    file.data = bytes(data)
    return SPOILED


def other_form(draw: Any, tree: Tree, case: Case, file: File) -> str:
    """Make an image unlike the first, of which nothing else may be wrong then."""
    for first in tree.cases[0].files:
        first.touched = True
    shape = draw(st.sampled_from([(9, 8, 2), (10, 8), (9, 7, 3)]))
    kind = "u1" if draw(st.booleans()) or shape[:2] == (9, 8) else "u2"
    place = file.name.removesuffix(suffix_of(file))
    file.name, file.data = f"{place}.npy", npy(np.zeros(shape, kind))
    return SPOILED


def _may_differ(tree: Tree, case: Case) -> bool:
    first = tree.cases[0]
    return case is not first and not any(file.touched for file in first.files)


_ALL: list[Plant] = [cut, empty, garbage, gone]
IMAGE: dict[str, list[Plant]] = {
    ".png": [*_ALL, flip, claim],
    ".tif": _ALL,
    ".npy": [*_ALL, not_a_number, object_array],
    ".nii": [*_ALL, not_a_number],
    ".nii.gz": [*_ALL, flip, not_a_number],
    "": [empty, gone, sixteen_bits, colour, not_a_number, other_size],
}
MASK: dict[str, list[Plant]] = {
    ".png": [*_ALL, flip, claim, other_values, other_size, sixteen_bits, colour],
    ".tif": [*_ALL, scramble, other_values, other_size, not_a_number],
    ".npy": [*_ALL, scramble, other_values, other_size, not_a_number, object_array],
    ".nii": [*_ALL, scramble, other_values, other_size, not_a_number],
    ".nii.gz": [*_ALL, scramble, flip, other_values, other_size, not_a_number],
    "": [empty, gone, colour, not_a_number, other_values, other_size],
}


_WORSE = [SOUND, EITHER, UNSEEN, SPOILED]


def plant(draw: Any, tree: Tree, case: Case) -> None:
    """Spoil one file that is still whole, or a case as such."""
    files = [case.image, *case.masks.values()]
    whole = [file for file in files if file.there and not file.touched]
    if not whole:
        return
    file = draw(st.sampled_from(whole[:1] * 2 + whole[1:]))
    kinds = list((IMAGE if file is case.image else MASK)[suffix_of(file)])
    lidc = tree.layout in ("slices", "crops")
    if lidc and file is case.image:
        # In crops, one that is not square has no say in what their size is.
        kinds += [sixteen_bits, colour, other_size]
    if tree.layout == "folder" and file is case.image and _may_differ(tree, case):
        kinds += [other_form] * 4
    kinds += {"kidney": [unclear], "folder": [unknown_kind]}.get(tree.layout, [])
    kinds += [one_more] if lidc else []
    kind = draw(st.sampled_from(kinds))
    damage = kind(draw, tree, case, file)
    tree.planted.append(f"{kind.__name__}: {file.name}")
    file.touched = True
    case.damage = max(case.damage, damage, key=_WORSE.index)


def flipped(data: bytes, place: int, bits: int) -> bytes:
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


# Of a data set as a whole: most of these leave nothing that can be read.


def leads_out(draw: Any, tree: Tree) -> str:
    places = ["../x.png", "a/../../x.png", "/tmp/x.png", "..\\x.png", "\\x.png", ".."]
    place = draw(st.sampled_from(places))

    def spoil(data: bytes) -> bytes:
        file = io.BytesIO(data)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(place, b"x")
        return file.getvalue()

    tree.spoil = spoil
    return SPOILED


def cut_whole(draw: Any, tree: Tree) -> str:
    share = draw(st.floats(0, 1, exclude_max=True))
    tree.spoil = lambda data: data[: int(share * len(data))]
    return SPOILED


def flip_whole(draw: Any, tree: Tree) -> str:
    share, value = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 255))
    tail = draw(st.booleans())  # where the directory is

    def spoil(data: bytes) -> bytes:
        start = data.find(b"PK\1\2") if tail else 0
        return flipped(data, start + int(share * (len(data) - start)), value)

    tree.spoil = spoil
    return EITHER


def twice(draw: Any, tree: Tree) -> str:
    case = draw(st.sampled_from(tree.cases))
    file = draw(st.sampled_from([case.image, *case.masks.values()]))
    if not file.there:
        return SOUND
    tree.more[_also(tree.layout, file)] = file.data
    file.touched = True
    return SPOILED


def _also(layout: str, file: File) -> str:
    """Return another name for the same part of the same case."""
    if layout == "crops":
        part, place = file.name.split("/", 1)
        return f"{'val' if part == 'train' else 'train'}/{place}"
    if layout == "folder":
        return f"{file.name.removesuffix(suffix_of(file))}.tiff"
    if "image.nii" in file.name:
        return file.name[:-3] if file.name.endswith(".gz") else f"{file.name}.gz"
    return file.name.replace("slice-", "slice-0").replace("_seg", "_seg0")


def carries_code(draw: Any, tree: Tree) -> str:
    def spoil(data: bytes) -> bytes:
        return pickle.dumps({**pickle.loads(data), "x": Exploit()})

    tree.spoil = spoil
    return SPOILED


def loop(draw: Any, tree: Tree) -> str:
    places = ["loop", *(f"{Path(file.name).parent}/loop" for file in tree.cases[0].files)]
    tree.links[draw(st.sampled_from(places))] = draw(st.sampled_from([".", "nowhere", "loop"]))
    return SOUND


def read_only(draw: Any, tree: Tree) -> str:
    tree.read_only = True
    return SOUND


def strays(draw: Any, tree: Tree) -> str:
    name = draw(st.sampled_from(["notes.txt", ".DS_Store", "Thumbs.db", "a/b/c/d.png", "é.nii.gz"]))
    tree.more[name] = b"x"
    return SOUND


def plant_whole(draw: Any, tree: Tree) -> None:
    if tree.layout == "pickle":
        kinds = [cut_whole, flip_whole, carries_code]
    elif tree.zipped:
        kinds = [leads_out, cut_whole, flip_whole, twice, strays]
    else:
        kinds = [twice, loop, read_only, strays]
    kind = draw(st.sampled_from(kinds))
    tree.damage = kind(draw, tree)
    tree.planted.append(kind.__name__)
