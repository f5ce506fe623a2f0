"""A folder of colour images with five classes, in groups, of two to ten annotators."""

from pathlib import Path

import numpy as np
from PIL import Image

ANNOTATORS = 10
SIZE = 32
_COLOURS = np.array([[40, 40, 60], [200, 60, 60], [60, 200, 60], [60, 60, 220], [220, 200, 60]])


def write_five_classes(
    root: Path, *, images: int = 12, annotators: int = ANNOTATORS, unlabelled: int | None = None
) -> Path:
    """Write it and return its path.

    Args:
        root: A folder that does not exist.
        images: How many; two are of one group.
        annotators: The most of an image; the first image has all of them, the second two.
        unlabelled: The value of the first row of each mask, which nobody labelled; None labels it.
    """
    random = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    groups = [f"case{number},patient{number // 2}" for number in range(images)]
    (root / "groups.csv").write_text("\n".join(["id,group", *groups]) + "\n")
    for number in range(images):
        discs = np.column_stack([random.uniform(7, SIZE - 7, (4, 2)), random.uniform(3, 6, 4)])
        image = _COLOURS[_drawn(discs, 0.0)] + random.normal(0, 20, (SIZE, SIZE, 1))
        colours = Image.fromarray(image.clip(0, 255).astype(np.uint8))
        colours.save(root / "images" / f"case{number}.png")
        folder = root / "masks" / f"case{number}"
        folder.mkdir(parents=True)
        fewest = min(2, annotators)
        count = {0: annotators, 1: fewest}.get(number, random.integers(fewest, annotators + 1))
        for annotator in random.permutation(annotators)[:count]:
            mask = _drawn(discs, random.normal(0, 1.5))
            if unlabelled is not None:
                mask[0] = unlabelled
            Image.fromarray(mask).save(folder / f"a{annotator}.png")
    return root


def _drawn(discs: np.ndarray, wider: float) -> np.ndarray:
    """Return discs (4, 3) of the classes 1 to 4, each so much wider; later ones lie on top."""
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for k, (row, column, radius) in enumerate(discs, start=1):
        mask[(y - row) ** 2 + (x - column) ** 2 < (radius + wider) ** 2] = k
    return mask
