from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


class Tree(NamedTuple):
    """A tree in the layout "slices" and what was written into it, in natural order."""

    root: Path
    images: NDArray[np.uint8]  # (n, 128, 128)
    masks: NDArray[np.uint8]  # (n, 4, 128, 128), 0 and 1
    ids: list[str]


def png(pixels: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture
def encode() -> Callable[[NDArray[np.generic]], bytes]:
    return png


@pytest.fixture
def tree(tmp_path: Path, _written: Tree) -> Tree:
    root = tmp_path / "data" / "données LIDC"
    shutil.copytree(_written.root, root)
    return _written._replace(root=root)


@pytest.fixture(scope="session")
def _written(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    root, random = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    ids = [
        f"LIDC-IDRI-{patient:04}/nodule-{nodule}/slice-{number}"
        for patient, nodule, slices in [(2, 0, 11), (2, 1, 1), (10, 0, 2), (31, 0, 1)]
        for number in range(slices)
    ]
    images = random.integers(0, 256, (len(ids), 128, 128), np.uint8)
    masks = random.integers(0, 2, (len(ids), 4, 128, 128), np.uint8)
    masks[1, 2:] = 0
    for name, image, readers in zip(ids, images, masks, strict=True):
        write(root, name, [image, *(255 * readers)])
    return Tree(root, images, masks, ids)


def write(root: Path, name: str, pictures: list[NDArray[np.uint8]]) -> None:
    nodule, number = name.rsplit("/", 1)
    for part, pixels in zip(("images", *(f"mask-{k}" for k in range(4))), pictures, strict=True):
        path = root / nodule / part / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels))


@pytest.fixture
def as_zip(tmp_path: Path) -> Callable[[Path, str], Path]:
    def make(root: Path, name: str = "lidc_slices.zip") -> Path:
        path = tmp_path / "zipped" / name
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(root.rglob("*.png"), reverse=True):
                archive.write(file, str(file.relative_to(root)))
        return path

    return make
