"""A prediction as files: label maps, mean, deviation and a picture of the outlines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from probseg.cli.sampling import Predicted
from probseg.cli.scaling import Image
from probseg.datasets.formats.nifti import Reorientation
from probseg.errors import ProbsegError
from probseg.utils.atomic_files import atomic_folder, write_json
from probseg.utils.optional import require

_WHITE = 65535  # of 16-bit PNG


def write_prediction(
    folder: Path, image: Image, predicted: Predicted, about: Mapping[str, Any]
) -> None:
    """Write a folder with everything, which is there as a whole or not at all.

    Raises:
        ProbsegError: matplotlib is not installed.
        WriteError: The folder cannot be written.
    """
    with atomic_folder(folder) as place:
        if image.picture.reorientation:
            _write_nifti(place, image, image.picture.reorientation, predicted)
        else:
            _write_png(place, predicted)
        _draw(place / "contours.png", image, predicted)
        write_json(place / "about.json", about)


def _write_png(place: Path, predicted: Predicted) -> None:
    # of two classes the foreground is white, which data sets of probseg read as 1
    shade = 255 if len(predicted.mean) == 2 else 1
    digits = len(str(len(predicted.labels)))
    for number, labels in enumerate(predicted.labels, start=1):
        Pillow.fromarray(labels * np.uint8(shade)).save(place / f"sample-{number:0{digits}}.png")
    for name, values in _named(predicted).items():
        Pillow.fromarray(np.rint(values * _WHITE).astype(np.uint16)).save(place / f"{name}.png")


def _write_nifti(
    place: Path, image: Image, orientation: Reorientation, predicted: Predicted
) -> None:
    nibabel = require("nibabel", extra="data", for_="writing NIfTI files")
    original = nibabel.load(image.file)
    arrays: dict[str, NDArray[Any]] = {"samples": predicted.labels, **_named(predicted)}
    for name, values in arrays.items():
        pictures = values if values.ndim == 3 else values[None]
        voxels = orientation.inverse(pictures[None])  # (X, Y, 1, n)
        header = original.header.copy()
        header.set_data_dtype(values.dtype)
        header.set_slope_inter(1, 0)
        voxels = voxels if len(pictures) > 1 else voxels[..., 0]
        made = type(original)(voxels, original.affine, header)
        nibabel.save(made, place / f"{name}.nii.gz")


def _named(predicted: Predicted) -> dict[str, NDArray[np.float32]]:
    """Return mean and deviation of each class but the background, by the names of their files."""
    several = len(predicted.mean) > 2
    return {
        f"{name}-{number}" if several else name: values
        for name, stack in (("mean", predicted.mean), ("sd", predicted.sd))
        for number, values in enumerate(stack[1:], start=1)
    }


def _draw(path: Path, image: Image, predicted: Predicted) -> None:
    try:
        from probseg.cli.outlines import outline_sheet
    except ImportError as error:
        raise ProbsegError(
            "contours are drawn with matplotlib: pip install 'probseg[bench]'"
        ) from error
    # the foreground is whatever is not background, and varies as much
    mean, sd = 1 - predicted.mean[0], predicted.sd[0]
    name = image.file.name
    figure = outline_sheet(image.values[0], predicted.labels, mean, sd, title=name)
    figure.savefig(path, dpi=150)
