"""The prediction of one image: its file is read, sampled, and written as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from probseg.datasets.formats.files import in_file
from probseg.datasets.formats.images import Picture, read_picture, stem_and_suffix
from probseg.datasets.formats.nifti import Reorientation
from probseg.datasets.formats.preprocessing import check_finite
from probseg.datasets.mask_folders import ABOUT
from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import DataError
from probseg.models.tiling import Tile, sample_tiles
from probseg.utils.atomic_files import atomic_folder, write_json
from probseg.utils.imports import require

_LARGEST_FILE = 1 << 28  # bytes
_WHITE = 65535  # of 16-bit PNG


class Image(NamedTuple):
    """One image that was read."""

    file: Path
    picture: Picture
    values: NDArray[np.float32]  # (C, H, W), from 0 to 1 as the model sees them, to be drawn

    @property
    def pixels(self) -> NDArray[Any]:
        """(C, H, W), as in the file."""
        return self.picture.pixels


class Prediction(NamedTuple):
    """The samples of one image, and their statistics."""

    labels: NDArray[np.uint8]  # (n, H, W), each sample's most probable class
    mean: NDArray[np.float32]  # (K, H, W), of each class's probability
    sd: NDArray[np.float32]  # (K, H, W), its standard deviation over the samples
    unseen: float = 0.0  # share of the image outside of the crop that the model saw


def read_image(file: Path, done: Preprocessing) -> Image:
    """Read one image, to which something is done before a model sees it.

    Raises:
        DataError: It is missing, damaged, too large or has values that are no numbers.
    """
    with in_file(str(file)):
        try:
            if file.stat().st_size > _LARGEST_FILE:
                raise DataError(f"has more than {_LARGEST_FILE} bytes")
            data = file.read_bytes()
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}") from error
        # data sets read a palette's colours as well, or refuse such images
        picture = read_picture(data, stem_and_suffix(file.name)[1], palette="colours")
        check_finite(picture.pixels)
        values = replace(done, size=None, resize=None, crop=None).apply(picture.pixels)
    return Image(file, picture, values)


def predict_at(
    model: Any,
    pixels: NDArray[Any],
    n: int,
    *,
    seed: int,
    done: Preprocessing,
    stratified: bool = False,
    tile: int | None = None,
) -> Prediction:
    """Sample an image as those were that a model learnt from, and return it at its own size.

    Where the model sees nothing of the image, outside of a crop, everything is background.

    Args:
        model: A ``probseg.interfaces.Model`` in evaluation mode.
        pixels: (C, H, W), of the file.
        n: Samples.
        seed: Of the samples.
        done: What is done to them first, and undone in what is returned.
        stratified: As in :func:`predict`.
        tile: Edge in pixels of the parts that are sampled one after another; None takes the image
            as a whole.

    Raises:
        InputError: The image is not what the model was built for.
        DataError: Its values are far too large to be left as they are.
    """
    native = (pixels.shape[1], pixels.shape[2])
    seen = done.apply(pixels)
    labels, mean, sd, _ = predict(model, seen, n, seed=seed, stratified=stratified, tile=tile)
    labels, mean, sd = (done.undo(one, native) for one in (labels, mean, sd))
    outside = done.undo(np.ones(seen.shape[1:], np.uint8), native) == 0
    mean[0][outside] = 1
    return Prediction(labels, mean, sd, round(float(outside.mean()), 6))


def predict(
    model: Any,
    image: NDArray[np.float32],
    n: int,
    *,
    seed: int,
    at_once: int = 16,
    stratified: bool = False,
    tile: int | None = None,
) -> Prediction:
    """Sample an image (C, H, W); the result does not depend on any other image.

    Args:
        model: A ``probseg.interfaces.Model`` in evaluation mode.
        image: (C, H, W).
        n: Samples.
        seed: Of the samples.
        at_once: Samples at a time, which bounds the memory; another number gives other samples.
        stratified: Let the samples that are drawn at a time share out the model's density.
        tile: Edge in pixels of the parts that are sampled one after another.

    Raises:
        InputError: The image is not what the model was built for.
    """
    device = next(model.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(image))[None].to(device)
    generator = torch.Generator(device).manual_seed(seed)
    labels = torch.empty(n, *image.shape[1:], dtype=torch.uint8)
    total, squares = torch.zeros(2, model.classes, *image.shape[1:], dtype=torch.float64)
    options = {"stratified": True} if stratified else {}
    for start in range(0, n, at_once):
        some = labels[start : start + at_once]
        drawn = _tiles(model, batch, len(some), generator, tile, **options)
        for rows, columns, samples in drawn:
            some[:, rows, columns] = samples[:, 0].argmax(dim=1).to("cpu", torch.uint8)
            exact = samples[:, 0].to("cpu", torch.float64)
            total[:, rows, columns] += exact.sum(0)
            squares[:, rows, columns] += exact.square().sum(0)
    mean = total / n
    sd = (squares / n - mean.square()).clamp_min(0).sqrt()
    return Prediction(labels.numpy(), mean.float().numpy(), sd.float().numpy())


def _tiles(
    model: Any,
    image: torch.Tensor,
    n: int,
    generator: torch.Generator,
    tile: int | None,
    **options: bool,
) -> Iterator[Tile]:
    """Yield the samples of an image tile by tile, or of the whole image as one."""
    if tile is None:
        samples = model.sample(image, n, generator=generator, **options)
        yield Tile(slice(None), slice(None), samples)
    else:
        yield from sample_tiles(model, image, n, tile=tile, generator=generator, **options)


def write_prediction(
    folder: Path, image: Image, prediction: Prediction, about: Mapping[str, Any]
) -> None:
    """Write a folder with label maps, statistics and a drawing, completely or not at all.

    Raises:
        WriteError: The folder cannot be written.
    """
    with atomic_folder(folder) as temporary:
        if image.picture.reorientation:
            _write_nifti(temporary, image, image.picture.reorientation, prediction)
        else:
            _write_png(temporary, prediction)
        _draw(temporary / "contours.png", image, prediction)
        write_json(temporary / ABOUT, about)


def _write_png(folder: Path, prediction: Prediction) -> None:
    # of two classes the foreground is white, which data sets of probseg read as 1
    shade = 255 if len(prediction.mean) == 2 else 1
    digits = len(str(len(prediction.labels)))
    for number, labels in enumerate(prediction.labels, start=1):
        Pillow.fromarray(labels * np.uint8(shade)).save(folder / f"sample-{number:0{digits}}.png")
    for name, values in _statistics(prediction).items():
        Pillow.fromarray(np.rint(values * _WHITE).astype(np.uint16)).save(folder / f"{name}.png")


def _write_nifti(
    folder: Path, image: Image, orientation: Reorientation, prediction: Prediction
) -> None:
    nibabel = require("nibabel", extra="data", for_="writing NIfTI files")
    original = _original(nibabel, image.file, orientation)
    arrays: dict[str, NDArray[Any]] = {"samples": prediction.labels, **_statistics(prediction)}
    for name, values in arrays.items():
        pictures = values if values.ndim == 3 else values[None]
        voxels = orientation.inverse(pictures[None])  # (X, Y, 1, n)
        if len(pictures) == 1:
            voxels = voxels[..., 0].reshape(original.shape[:3])
        header = original.header.copy()
        header.set_data_dtype(values.dtype)
        header.set_slope_inter(1, 0)
        nifti = type(original)(voxels, original.affine, header)
        nibabel.save(nifti, folder / f"{name}.nii.gz")


def _original(nibabel: Any, file: Path, orientation: Reorientation) -> Any:
    """Return the image as NIfTI, of other formats its place alone."""
    if stem_and_suffix(file.name)[1].startswith(".nii"):
        return nibabel.load(file)
    grid = orientation.grid
    return nibabel.Nifti1Image(np.zeros(grid.voxels.shape[:3], np.uint8), grid.affine)


def _statistics(prediction: Prediction) -> dict[str, NDArray[np.float32]]:
    """Return mean and standard deviation of each foreground class, by the names of their files."""
    several = len(prediction.mean) > 2
    return {
        f"{name}-{number}" if several else name: values
        for name, stack in (("mean", prediction.mean), ("sd", prediction.sd))
        for number, values in enumerate(stack[1:], start=1)
    }


def _draw(path: Path, image: Image, prediction: Prediction) -> None:
    """Draw the outlines of all samples over the image, beside mean and standard deviation."""
    from probseg.plots import Block, sample_overview, spread  # matplotlib is of the extra "plot"

    block = Block(prediction.labels, mean=1 - prediction.mean[0], sd=spread(prediction.sd))
    classes = len(prediction.mean)
    figure = sample_overview(image.values, block, title=image.file.name, classes=classes)
    figure.savefig(path, dpi=150)
