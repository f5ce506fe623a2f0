"""NIfTI files are read exactly, turned upright alike, or refused with the reason."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from numpy.testing import assert_array_equal

from probseg.datasets.formats.nifti import Reorientation, Volume, read_nifti, slice_axis
from probseg.errors import DataError


def nifti(voxels: Any, affine: Any = None, kind: Any = nibabel.Nifti1Image) -> bytes:
    affine = np.eye(4) if affine is None else affine
    return gzip.compress(kind(voxels, affine).to_bytes(), compresslevel=1)


def turned(voxels: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same volume with its voxel axes in another order and direction."""
    change = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    array = nibabel.orientations.apply_orientation(voxels, change)
    return array, affine @ inv_ornt_aff(change, voxels.shape)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 4), (5, 7, 1, 4), (5, 7, 1, 1, 4)])
def test_a_picture_is_read_whatever_its_axes(shape: tuple[int, ...], kind: Any) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    volume = read_nifti(nifti(voxels, np.diag([0.5, 2, 3, 1]), kind), flat=True)
    assert_array_equal(volume.voxels, voxels.reshape(5, 7, 1, -1))
    assert_array_equal(volume.zooms[:2], [0.5, 2])


def test_a_file_need_not_be_compressed_and_values_are_scaled() -> None:
    image = nibabel.Nifti1Image(np.arange(6, dtype=np.int16).reshape(2, 3), np.eye(4))
    image.header.set_slope_inter(2, -1)
    stored = np.asarray(nibabel.Nifti1Image.from_bytes(image.to_bytes()).dataobj)
    assert_array_equal(read_nifti(image.to_bytes(), flat=True).voxels[:, :, 0, 0], stored)


CODES = [a + b + c for a in "LR" for b in "AP" for c in "IS"]
CODES += [c[2] + c[0] + c[1] for c in CODES] + [c[1] + c[0] + c[2] for c in CODES]


@pytest.mark.slow
@settings(deadline=None)
@given(st.sampled_from(CODES), st.sampled_from(CODES), st.integers(0, 2))
def test_an_image_and_its_mask_agree_however_each_was_stored(
    first: str, second: str, axis: int
) -> None:
    voxels = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    image, mask = (
        read_nifti(nifti(*turned(voxels, affine, c)), flat=False) for c in (first, second)
    )
    upright = Reorientation(image, axis)
    assert_array_equal(upright(image), upright(mask))
    assert len(upright(image)) == image.voxels.shape[axis]


@pytest.mark.parametrize("codes", CODES)
def test_an_axial_picture_has_anterior_above_and_the_right_side_on_the_left(codes: str) -> None:
    stored, affine = turned(
        np.arange(12, dtype=np.int16).reshape(3, 4, 1), np.diag([-2.0, -5.0, 1.0, 1.0]), codes
    )
    axis = [code in "IS" for code in codes].index(True)
    image = read_nifti(nifti(stored, affine), flat=False)
    upright = Reorientation(image, axis)
    # x runs to the left and y to posterior here, which is how rows and columns have to run
    assert_array_equal(upright(image)[0, 0], np.arange(12).reshape(3, 4).T)
    assert_array_equal(upright.spacing, [5, 2])


def test_a_header_without_orientation_leaves_pictures_as_stored() -> None:
    image = nibabel.Nifti1Image(np.arange(6).reshape(2, 3).astype(np.int16), None)
    image.header.set_xyzt_units("micron")
    image.header.set_zooms((500, 250))
    volume = read_nifti(image.to_bytes(), flat=True)
    assert volume.affine is None
    upright = Reorientation(volume, 2)
    assert_array_equal(upright(volume)[0, 0], image.dataobj)
    np.testing.assert_allclose(upright.spacing, [0.5, 0.25])
    flipped = volume._replace(affine=np.diag([-1.0, 1, 1, 1]))
    assert_array_equal(upright(flipped), upright(volume))


def test_a_mask_of_a_tool_without_orientation_lies_as_its_image_does() -> None:
    voxels, zooms = np.arange(6).reshape(2, 3, 1, 1), np.ones(3)
    for own, masks in (([-0.5, -0.5, 1], [1, 1, 1]), ([1, 1, 1], [-1, -1, 1])):
        image, mask = (Volume(voxels, np.diag([*a, 1.0]), zooms) for a in (own, masks))
        upright = Reorientation(image, 2)
        assert_array_equal(upright(mask), upright(image))


def test_a_third_axis_without_extent_is_no_obstacle() -> None:
    flat = Volume(np.arange(6).reshape(2, 3, 1, 1), np.diag([-1.0, -1, 0, 1]), np.ones(3))
    assert_array_equal(Reorientation(flat, 2)(flat)[0, 0], np.arange(6).reshape(2, 3).T)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_slice_across_any_axis_is_a_picture(axis: int) -> None:
    block = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    affine = np.diag([-0.5, -0.7, 2.5, 1.0])
    voxels = np.take(block, [2], axis)
    flat = read_nifti(nifti(voxels, affine), flat=True)
    assert flat.voxels.shape == (*voxels.shape, 1) and slice_axis(flat) == axis
    upright = Reorientation(flat, slice_axis(flat))
    rest = np.take(block, 2, axis).T[::-1]  # rows to inferior, columns to the left or posterior
    assert_array_equal(upright(flat)[0, 0], rest)
    np.testing.assert_allclose(upright.spacing, [2.5, (0.7, 0.5)[axis]])
    colour = read_nifti(nifti(np.stack([voxels] * 3, 3), affine), flat=True)
    assert upright(colour).shape == (1, 3, *rest.shape)


def claiming(*shape: int) -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.float64)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return gzip.compress(header.binaryblock + bytes(40))


def with_axis(extent: int) -> bytes:
    data = bytearray(gzip.decompress(nifti(np.zeros((2, 3)))))
    data[42:44] = extent.to_bytes(2, "little", signed=True)
    return bytes(data)


WHOLE = nifti(np.random.default_rng(0).integers(0, 255, (9, 9), np.uint8))
BAD = {
    "empty": (b"", "is empty"),
    "something else": (b"PK\x03\x04 no volume", "is no NIfTI file"),
    "cut": (WHOLE[: len(WHOLE) // 2], "not a complete NIfTI file"),
    "cut in its header": (WHOLE[:60], "not a complete NIfTI file"),
    "a smaller claim": (gzip.compress(with_axis(1))[:-8] + bytes(8), "not a complete NIfTI file"),
    "a long tail": (gzip.compress(gzip.decompress(WHOLE) + bytes(1 << 23)), "far more bytes"),
    "a changed byte": (
        WHOLE[:-6] + bytes([WHOLE[-6] ^ 1]) + WHOLE[-5:],
        "not a complete NIfTI file",
    ),
    "cut before it was compressed": (gzip.compress(gzip.decompress(WHOLE)[:-3]), "430 of 433"),
    "a huge claim": (claiming(30000, 30000, 30000), "claims 30000x30000x30000 voxels"),
    "a claim without bytes": (claiming(500, 500, 100), "is truncated"),
    "no extent": (with_axis(0), "claims a shape of (0, 3)"),
    "a negative extent": (with_axis(-2), "claims a shape of (-2, 3)"),
    "complex": (nifti(np.zeros((3, 3), np.complex64)), "complex64"),
    "a volume": (nifti(np.zeros((3, 3, 3, 2))), "if it is a volume, save its slices"),
    "one axis": (nifti(np.zeros(3)), "not a picture"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_picture_is_refused(fault: str) -> None:
    data, why = BAD[fault]
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        read_nifti(data, flat=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert why in str(caught.value)
    assert peak < 16 << 20


@pytest.mark.slow
@given(st.binary(max_size=500), st.integers(0, 500))
def test_damage_is_refused_or_harmless(noise: bytes, start: int) -> None:
    plain = gzip.decompress(WHOLE)
    try:
        read_nifti(plain[:start] + noise + plain[start + len(noise) :], flat=True)
    except DataError:
        pass


def test_a_picture_is_no_volume() -> None:
    with pytest.raises(DataError, match="not a volume"):
        read_nifti(nifti(np.zeros((3, 3))), flat=False)


def test_an_affine_of_nan_is_refused() -> None:
    data = bytearray(nibabel.Nifti1Image(np.zeros((2, 2)), np.eye(4)).to_bytes())
    data[280:284] = np.float32(np.nan).tobytes()  # srow_x
    with pytest.raises(DataError, match="affine"):
        read_nifti(bytes(data), flat=True)


BASE = np.array([[-0.8, 0, 0, 90], [0, -0.8, 0, 120], [0, 0, 3, -50], [0, 0, 0, 1.0]])


def changed(**places: float) -> np.ndarray:
    """``BASE`` with other numbers in the places ``at_01`` and so on."""
    affine = BASE.copy()
    for place, value in places.items():
        affine[int(place[-2]), int(place[-1])] = value
    return affine


def rotated(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return BASE @ np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def nearest(image: np.ndarray, mask: np.ndarray, voxels: np.ndarray, shape: Any) -> np.ndarray:
    """Each voxel of the image takes the mask's voxel that lies nearest to it in mm."""
    out = np.zeros(shape, voxels.dtype)
    for index in np.ndindex(shape):
        world = image @ [*index, 1]
        at = np.rint(np.linalg.solve(mask, world)[:3]).astype(int)
        if (at >= 0).all() and (at < voxels.shape).all():
            out[index] = voxels[tuple(at)]
    return out


PLACES = {  # the affine of a mask whose image has BASE, and whether it lies elsewhere
    "same": (BASE, False),
    "rounding": (changed(at_01=1e-6, at_03=90.001), False),
    "directions off by .4 voxels at the far end": (changed(at_01=0.01), False),
    "origin off by .4 voxels": (changed(at_03=90.32), False),
    "origin off by .6 voxels": (changed(at_03=90.48), True),
    "origin off by 50 mm": (changed(at_03=140), True),
    "another slice": (changed(at_23=-47), True),
    "wider spacing": (changed(at_00=-1.53, at_11=-1.57), True),
    "far away": (BASE[[1, 0, 2, 3]], True),
    "rotated by 33 degrees": (rotated(33), True),
    "no header": (np.eye(4), False),
}


@pytest.mark.parametrize("what", PLACES)
def test_a_mask_that_lies_elsewhere_is_refused_or_resampled(what: str) -> None:
    affine, elsewhere = PLACES[what]
    random = np.random.default_rng(0)
    image = Volume(random.random((32, 32, 1, 1)), BASE, np.ones(3))
    mask = Volume(random.integers(0, 3, (32, 32, 1, 1), np.uint8), affine, np.ones(3))
    unturned = Volume(mask.voxels, BASE, np.ones(3))
    upright = Reorientation(image, 2)
    if not elsewhere:
        assert_array_equal(upright(mask), upright(unturned))
        return
    with pytest.raises(DataError, match=r"lies elsewhere .* voxels \(.* mm\).*resample_masks=True"):
        upright(mask)
    if what in ("another slice", "origin off by 50 mm", "far away"):
        with pytest.raises(DataError, match="nothing inside of its image"):
            Reorientation(image, 2, resample=True)(mask)
        return
    moved = nearest(BASE, affine, mask.voxels[..., 0], (32, 32, 1))
    expected = upright(Volume(moved[..., None], BASE, np.ones(3)))
    assert_array_equal(Reorientation(image, 2, resample=True)(mask), expected)


def test_a_mask_of_another_size_is_resampled_and_a_flipped_one_is_only_turned() -> None:
    fine = changed(at_00=-0.4, at_11=-0.4)
    voxels = np.random.default_rng(0).integers(0, 2, (64, 64, 1, 1), np.uint8)
    image = Volume(np.zeros((32, 32, 1, 1)), BASE, np.ones(3))
    resampling = Reorientation(image, 2, resample=True)
    assert_array_equal(
        resampling(Volume(voxels, fine, np.ones(3))),
        Reorientation(image, 2)(Volume(voxels[::2, ::2], BASE, np.ones(3))),
    )
    flipped = changed(at_00=0.8, at_03=90 - 0.8 * 31)  # the same place, stored the other way
    part = voxels[:32, :32]
    for upright in (resampling, Reorientation(image, 2)):
        actual = upright(Volume(part, flipped, np.ones(3)))
        assert_array_equal(actual, upright(Volume(part[::-1], BASE, np.ones(3))))


def test_a_mask_of_an_image_with_unit_steps_is_compared_as_well() -> None:
    here, there = np.eye(4), np.eye(4)
    here[:3, 3], there[:3, 3] = (10, 20, 30), (60, 20, 30)
    upright = Reorientation(Volume(np.zeros((8, 8, 1, 1)), here, np.ones(3)), 2)
    with pytest.raises(DataError, match="lies elsewhere"):
        upright(Volume(np.ones((8, 8, 1, 1)), there, np.ones(3)))
