"""Strict reading of NIfTI files, and how their voxels become upright pictures."""

from __future__ import annotations

import gzip
import io
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError
from probseg.utils.imports import require

_HEADER = 540  # bytes of the longer of the two headers, NIfTI-2's
_CHUNK, _MORE = 1 << 20, 1 << 22  # bytes: read at once, allowed behind the voxels
LARGEST = 1 << 29  # bytes of a file, unpacked: 256 slices of 512x512 in double precision
_LPI = np.array([[0, -1], [1, -1], [2, -1]])  # axes to the left, posterior and inferior
_MOST_APART = 0.5  # voxels, between an image and its mask
A_VOLUME = "if it is a volume, save its slices one by one"
_NOWHERE = np.diag([-1.0, -1.0, 1.0, 1.0])  # what ITK writes for an array without a place
_MILLIMETRES = {1: 1e3, 3: 1e-3}  # metre and micrometre; mm is assumed for other units
_RESAMPLE = (
    "resample_masks=True brings it onto the image's voxels (check first that it belongs to this "
    "image)"
)
_GIVE_PLACE = (
    "it was saved without a place of its own: if it is drawn on the image's voxels, save it with "
    "the image's (in SimpleITK mask.CopyInformation(image))"
)


class ElsewhereError(DataError):
    """A mask lies elsewhere than its image; ``difference`` is both places in words."""

    difference = ""


class Volume(NamedTuple):
    """Voxels as they are stored, and their position according to the header."""

    voxels: NDArray[Any]  # (X, Y, Z, C)
    affine: NDArray[np.float64] | None  # (4, 4), voxels to RAS+ mm; None if the header has none
    zooms: NDArray[np.float64]  # (3,) mm along X, Y, Z; NaN where unknown


def read_nifti(data: bytes, *, flat: bool) -> Volume:
    """Decode a NIfTI-1 or NIfTI-2 file, compressed or not.

    Args:
        data: The file's bytes.
        flat: Whether it is one picture (X, Y), whose third axis, if any, counts channels, or
            one slice of a volume, (X, 1, Z) or (1, Y, Z); otherwise it is a volume (X, Y, Z).

    Raises:
        DataError: The bytes are not a complete file, of other axes, or unpack to more than 512 MiB;
            the header is checked before memory is allocated for what it claims.
        MissingDependencyError: nibabel is not installed.
    """
    if not data:
        raise DataError("is empty")
    library = _nibabel()
    try:
        with np.errstate(all="ignore"):
            image = _decode(library, data)
            voxels = np.asanyarray(image.dataobj)
            affine = np.asarray(image.affine, np.float64)
    except DataError:
        raise
    except Exception as error:  # a damaged header leads nibabel to errors of any type
        raise DataError(f"is not a complete NIfTI file ({error})") from error
    if voxels.dtype.kind not in "buif":
        raise DataError(f"has voxels of type {voxels.dtype}, not real numbers")
    return Volume(four_axes(voxels, flat), _affine(image.header, affine), _zooms(image.header))


class Reorientation:
    """Turns the voxels of an image, and of its masks, into upright pictures.

    Pictures are as a radiologist sees them: columns go to the patient's left, or to posterior in a
    sagittal plane; rows go to posterior, or to inferior in a sagittal or coronal plane; slices
    keep the image's own order. Axes are only exchanged and flipped, nothing is resampled.

    An image without orientation in its header (or with an identity matrix, which some tools write
    instead) has its first picture axis as rows and its second as columns. If the header of an image
    or of its mask has no orientation, the mask's voxels are ordered as the image's.

    A mask has to lie where its image does: if both headers say where, and that differs by more than
    half a voxel anywhere in the image, the mask is refused, or resampled if that is asked for.

    Args:
        image: The image that the masks belong to.
        axis: Its voxel axis that counts the slices.
        resample: Whether masks on another grid are brought onto the image's, by nearest neighbour.

    Attributes:
        spacing: (2,) mm between rows and between columns, NaN where unknown.
        grid: The image's place and shape, without its values.
    """

    def __init__(self, image: Volume, axis: int, *, resample: bool = False) -> None:
        self.grid, self._resample = image._replace(voxels=image.voxels[:, :, :, :0]), resample
        self._own = _orientation(image.affine)
        self._unknown = unknown = _is_unoriented(image)
        self._target = self._own.copy() if unknown else _LPI.copy()
        self._slices = int(self._own[axis, 0])
        self._target[self._slices, 1] = self._own[axis, 1]
        plane = [world for world in range(3) if world != self._slices]
        self._rows, self._columns = plane if unknown else reversed(plane)
        zooms = image.zooms[np.argsort(self._own[:, 0])]
        self.spacing = zooms[[self._rows, self._columns]]

    def __call__(self, volume: Volume) -> NDArray[Any]:
        """Return the pictures (slices, C, H, W) of the image or of one of its masks.

        Raises:
            ElsewhereError: The mask lies elsewhere.
        """
        library = _nibabel().orientations
        if self._resample and _are_located(self.grid, volume) and not _is_nowhere(volume):
            volume = resampled(volume, self.grid)
        as_image = self._unknown or _is_unoriented(volume)
        own = self._own if as_image else _orientation(volume.affine)
        _check_place(self.grid, volume, library.ornt_transform(own, self._own))
        turned = library.apply_orientation(volume.voxels, library.ornt_transform(own, self._target))
        return np.transpose(turned, (self._slices, 3, self._rows, self._columns))

    def inverse(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Return pictures (slices, C, H, W) as voxels (X, Y, Z, C), ordered as the image's."""
        library = _nibabel().orientations
        axes = np.argsort((self._slices, 3, self._rows, self._columns))
        own = library.ornt_transform(self._target, self._own)
        voxels: NDArray[Any] = library.apply_orientation(np.transpose(pictures, axes), own)
        return voxels


def resampled(mask: Volume, image: Volume) -> Volume:
    """Return a mask on the voxels of an image, by nearest neighbour; 0 beyond the mask.

    Raises:
        DataError: Nothing of it lies in the image.
    """
    from scipy.ndimage import affine_transform

    to_mask = np.linalg.inv(_solid(mask)) @ _solid(image)
    shape = (*image.voxels.shape[:3], mask.voxels.shape[3])
    matrix = np.eye(4)
    matrix[:3, :3], offset = to_mask[:3, :3], (*to_mask[:3, 3], 0)
    options = {"order": 0, "mode": "grid-constant", "output_shape": shape}
    voxels: NDArray[Any] = affine_transform(mask.voxels, matrix, offset, **options)
    if mask.voxels.any() and not voxels.any():
        raise DataError("marks nothing inside of its image: by their headers they lie elsewhere")
    return Volume(voxels, image.affine, image.zooms)


def _check_place(image: Volume, mask: Volume, turn: NDArray[np.intp]) -> None:
    """Check that the voxels of a mask, turned as its image's, lie where those of the image do.

    Raises:
        ElsewhereError: By their headers they do not.
    """
    if not _are_located(image, mask):
        return
    inverse = _nibabel().orientations.inv_ornt_aff(turn, mask.voxels.shape[:3])
    ends = [(0, extent - 1) for extent in image.voxels.shape[:3]]
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*ends)]).T
    places = _solid(image) @ corners, _solid(mask) @ inverse @ corners
    apart = np.abs((np.linalg.inv(_solid(image)) @ (places[1] - places[0]))[:3]).max()
    if apart <= _MOST_APART:
        return
    millimetres = np.linalg.norm((places[1] - places[0])[:3], axis=0).max()
    spacings, centres = zip(*(_place_of(volume) for volume in (image, mask)), strict=True)
    remedy = _GIVE_PLACE if _is_nowhere(mask) else _RESAMPLE
    difference = (
        f"by up to {apart:.3g} voxels ({millimetres:.3g} mm): its spacing is {spacings[1]} mm and "
        f"its centre at {centres[1]}, not {spacings[0]} and {centres[0]}"
    )
    error = ElsewhereError(f"lies elsewhere than its image, {difference}; {remedy}")
    error.difference = difference
    raise error


def _place_of(volume: Volume) -> tuple[str, str]:
    """Return the spacing and the position of the centre, as text."""
    affine = _solid(volume)
    middle = affine @ [*((extent - 1) / 2 for extent in volume.voxels.shape[:3]), 1]
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return "x".join(
        f"{mm:.4g}" for mm in spacing
    ), f"({', '.join(f'{mm:.4g}' for mm in middle[:3])})"


def _are_located(*volumes: Volume) -> bool:
    """Return whether headers say where the volumes lie; some tools write an identity instead."""
    known = (v.affine is not None and not np.array_equal(v.affine, np.eye(4)) for v in volumes)
    return all(known)


def _is_nowhere(volume: Volume) -> bool:
    """Return whether a header tells the place that ITK writes where it knows none."""
    return volume.affine is not None and np.array_equal(_solid(volume), _NOWHERE)


def _solid(volume: Volume) -> NDArray[np.float64]:
    """Return the affine; an axis without extent, a flat picture's third, gets 1 mm."""
    assert volume.affine is not None
    affine = volume.affine.copy()
    for axis in np.flatnonzero(~affine[:3, :3].any(axis=0)):
        normal = np.cross(affine[:3, axis - 2], affine[:3, axis - 1])
        affine[:3, axis] = normal / (np.linalg.norm(normal) or 1)
    return affine


def _decode(library: Any, data: bytes) -> Any:
    packed = data.startswith(b"\x1f\x8b")
    stream = gzip.GzipFile(fileobj=io.BytesIO(data)) if packed else io.BytesIO(data)
    head = stream.read(_HEADER)
    kinds = (library.Nifti1Image, library.Nifti2Image)
    kind = next((k for k in kinds if k.header_class.may_contain_header(head)), None)
    if kind is None:
        raise DataError("is no NIfTI file")
    length = _length(kind.header_class, head)
    content = head + _read(stream, length - len(head))
    if len(content) < length:
        raise DataError(f"is truncated: it has {len(content)} of {length} bytes")
    if len(_read(stream, _MORE)) == _MORE:  # the checksum is at the end, whatever a header says
        raise DataError("has far more bytes than its voxels need")
    return kind.from_bytes(content)


def _read(stream: Any, count: int) -> bytes:
    # In chunks, because read(count) allocates count bytes even if the stream is shorter.
    chunks = []
    while count > 0 and (chunk := stream.read(min(count, _CHUNK))):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _length(kind: Any, head: bytes) -> int:
    """Return the bytes that a header claims, after checking that the claim is sensible."""
    header = kind(head[: kind.template_dtype.itemsize], check=False)
    shape = [int(extent) for extent in header.get_data_shape()]
    size = math.prod(shape) * int(header.get_data_dtype().itemsize)
    if min(shape, default=0) < 1:
        raise DataError(f"claims a shape of {tuple(shape)}")
    if size > LARGEST:
        raise DataError(f"claims {'x'.join(map(str, shape))} voxels, more than {LARGEST} bytes")
    return int(header["vox_offset"]) + size


def four_axes(voxels: NDArray[Any], flat: bool) -> NDArray[Any]:
    """Return voxels as (X, Y, Z, C), of a flat picture (X, Y, 1, C) or a slice along an axis.

    Raises:
        DataError: They have other axes.
    """
    shape = voxels.shape
    space = 2 if flat and not _is_slice(shape) else 3
    more = [extent for extent in shape[space:] if extent > 1]
    if len(shape) < space or len(more) > (1 if flat else 0):
        what = f"a picture with channels; {A_VOLUME}" if flat else "a volume"
        raise DataError(f"has the shape {shape}, which is not {what}")
    return voxels.reshape(*shape[:space], *[1] * (3 - space), -1)


def slice_axis(volume: Volume) -> int:
    """Return the axis of extent one of a picture's voxels."""
    return 2 if volume.voxels.shape[2] == 1 else volume.voxels.shape.index(1)


def _is_slice(shape: tuple[int, ...]) -> bool:
    """Return whether voxels are a slice across the first or the second axis."""
    return len(shape) > 2 and sorted(shape[:3]).count(1) == 1 and shape[2] > 1


def _affine(header: Any, affine: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if not (header["qform_code"] or header["sform_code"]):
        return None
    if not np.isfinite(affine).all():
        raise DataError("has an affine that is not finite")
    return affine


def _zooms(header: Any) -> NDArray[np.float64]:
    zooms = np.full(3, np.nan)
    stored = np.asarray(header.get_zooms()[:3], np.float64)
    known = np.isfinite(stored) & (stored > 0)
    zooms[: len(stored)] = np.where(known, stored, np.nan)
    return zooms * _MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)


def _nibabel() -> Any:
    return require("nibabel", extra="data", for_="reading NIfTI files")


def _is_unoriented(volume: Volume) -> bool:
    return volume.affine is None or np.array_equal(volume.affine[:3, :3], np.eye(3))


def _orientation(affine: NDArray[np.float64] | None) -> NDArray[np.intp]:
    """Return, for each voxel axis, the axis of RAS+ that it runs along and its direction."""
    orientation: NDArray[np.float64] = _nibabel().orientations.io_orientation(
        np.eye(4) if affine is None else affine
    )
    lost = np.isnan(orientation[:, 0])  # an axis without extent: a flat picture's third
    orientation[lost, 0] = sorted({0.0, 1.0, 2.0} - {*orientation[~lost, 0]})
    orientation[lost, 1] = 1
    return orientation.astype(np.intp)
