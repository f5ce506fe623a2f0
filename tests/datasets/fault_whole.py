"""Faults to plant in a data set as a whole, most of which nothing can be saved from."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from fault_files import File
from fault_kinds import Exploit, flipped, suffix_of
from fault_trees import EITHER, SOUND, SPOILED, Tree
from hypothesis import strategies as st


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
