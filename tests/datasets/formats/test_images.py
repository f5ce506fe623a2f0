"""Pictures and arrays of many formats: what was saved is read, or refused with the reason."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import scipy.io
import SimpleITK
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from probseg.datasets.folder import folder
from probseg.datasets.formats.images import Picture, read_picture
from probseg.errors import DataError

IMAGE = Picture(np.zeros((1, 9, 7)), np.full(2, np.nan))  # of which pictures are masks
GREY = np.random.default_rng(0).integers(0, 256, (9, 7), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
SMOOTH = np.mgrid[:64, :48].sum(0).astype(np.uint8) + 40
LABELS = (np.arange(63) % 4).reshape(9, 7).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pgm(pixels: np.ndarray, white: int, *, comment: bytes = b"") -> bytes:
    """A PGM file by its specification: numbers up to ``white``, of two bytes beyond 255."""
    height, width = pixels.shape
    head = b"P5\n" + comment + f"{width} {height}\n{white}\n".encode()
    return head + pixels.astype(">u2" if white > 255 else "u1").tobytes()


def test_grey_and_colour_are_read_as_they_are() -> None:
    assert_array_equal(read_picture(pgm(GREY, 255), ".pgm").pixels[0], GREY)
    commented = pgm(GREY, 255, comment=b"# made by a scanner\n")
    assert_array_equal(read_picture(commented, ".pgm").pixels[0], GREY)
    ppm = saved(Image.fromarray(COLOUR), "PPM")
    assert_array_equal(read_picture(ppm, ".ppm").pixels, COLOUR.transpose(2, 0, 1))
    deep = GREY.astype(np.uint16) * 257
    assert_array_equal(read_picture(pgm(deep, 65535), ".pgm").pixels[0], deep)


@pytest.mark.parametrize("kind", ["L", "RGB"])
def test_jpeg_is_read_as_an_image_and_refused_as_a_mask(kind: str) -> None:
    data = saved(Image.fromarray(SMOOTH).convert(kind), "JPEG", quality=95)
    pixels = read_picture(data, ".jpg").pixels
    assert pixels.shape == ({"L": 1, "RGB": 3}[kind], 64, 48) and pixels.dtype == np.uint8
    assert_allclose(pixels[0], SMOOTH, atol=4)
    with pytest.raises(DataError, match=r"is a JPEG, which changes a mask's values .* as \.png"):
        read_picture(data, ".jpeg", IMAGE)
    with pytest.raises(DataError, match="not a complete JPEG"):
        read_picture(data[: len(data) // 2], ".jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_photograph_that_is_stored_turned_is_refused(kind: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = saved(Image.fromarray(SMOOTH), kind, exif=exif)
    with pytest.raises(DataError, match=r"stored turned \(EXIF orientation 6\).* save it upright"):
        read_picture(data, f".{kind.lower()}")
    exif[274] = 1
    assert read_picture(saved(Image.fromarray(SMOOTH), kind, exif=exif), f".{kind.lower()}")


@pytest.mark.parametrize("white", [3, 100, 255, 300, 65535])
def test_classes_in_a_pgm_are_the_numbers_in_it(white: int) -> None:
    """Programs that show a PGM, Pillow among them, stretch it to its white."""
    pixels = read_picture(pgm(LABELS, white), ".pgm", IMAGE).pixels
    assert_array_equal(pixels[0], LABELS)
    black_and_white = saved(Image.fromarray(LABELS > 1), "PPM")
    assert_array_equal(read_picture(black_and_white, ".pbm", IMAGE).pixels[0], LABELS > 1)


def test_an_image_of_sixteen_bit_colours_is_not_cut_to_eight() -> None:
    data = b"P6\n7 9\n65535\n" + COLOUR.astype(">u2").tobytes()
    with pytest.raises(DataError, match="RGB of 16 bits"):
        read_picture(data, ".ppm")


def paletted(colours: list[int]) -> Image.Image:
    image = Image.new("P", (7, 9))
    image.putdata(LABELS.ravel().tolist())
    image.putpalette(colours)
    return image


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", ".gif"), ("PNG", ".png")])
def test_a_palette_is_read_by_its_indices_or_by_its_colours(kind: str, suffix: str) -> None:
    vivid = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    data = saved(paletted(vivid.ravel().tolist()), kind)
    assert_array_equal(read_picture(data, suffix, IMAGE).pixels[0], LABELS)
    colours = read_picture(data, suffix, palette="colours").pixels
    assert_array_equal(colours, vivid[LABELS].transpose(2, 0, 1))
    with pytest.raises(DataError, match='palette="colours"'):
        read_picture(data, suffix)
    # index 0 is white here, so that the indices of a mask would be upside down
    white_first = saved(paletted([255] * 3 + [0] * 9), kind)
    mask = read_picture(white_first, suffix, IMAGE, palette="colours").pixels
    assert_array_equal(mask[0], np.where(LABELS == 0, 255, 0))


def test_a_gif_that_moves_or_is_cut_is_refused() -> None:
    first, second = (Image.fromarray(x) for x in (GREY, GREY.T.copy().reshape(9, 7)))
    with pytest.raises(DataError, match="several pages"):
        read_picture(saved(first, "GIF", save_all=True, append_images=[second]), ".gif", IMAGE)
    whole = saved(Image.fromarray(SMOOTH), "GIF")
    with pytest.raises(DataError, match="not a complete GIF"):
        read_picture(whole[: len(whole) // 2], ".gif", IMAGE)


def mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=True)
    return file.getvalue()


def of_bsds(masks: list[np.ndarray]) -> bytes:
    """A file as BSDS500 has it: a cell, in it a structure for each annotator."""
    cells = np.empty((1, len(masks)), object)
    for index, mask in enumerate(masks):
        segments = (np.arange(mask.size).reshape(mask.shape) // 9 + 1).astype(np.uint16)
        cells[0, index] = {"Segmentation": segments, "Boundaries": mask.astype(bool)}
    return mat(groundTruth=cells)


def test_a_matlab_file_of_one_array_is_an_image_or_a_mask() -> None:
    assert_array_equal(read_picture(mat(x=GREY), ".mat").pixels[0], GREY)
    assert_array_equal(read_picture(mat(seg=LABELS), ".mat", IMAGE).pixels[0], LABELS)
    for data, why in (
        (mat(a=GREY, b=GREY), r"holds 2 variables \(a, b\); save one"),
        (mat(a="text"), "no array of real numbers"),
        (mat(a=GREY)[:150], "not a complete MATLAB file"),
        (b"\x89HDF\r\n\x1a\n", "not a complete MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400), "save it with .* -v7"),
    ):
        with pytest.raises(DataError, match=why):
            read_picture(data, ".mat")


def test_all_annotators_of_bsds_are_read_from_their_one_file(tmp_path: Path) -> None:
    drawn = {"one": [LABELS == k for k in range(3)], "two": [LABELS == k for k in range(2)]}
    (tmp_path / "mine/images").mkdir(parents=True)
    (tmp_path / "mine/masks").mkdir()
    for name, masks in drawn.items():
        Image.fromarray(COLOUR).save(tmp_path / f"mine/images/{name}.jpg")
        (tmp_path / f"mine/masks/{name}.mat").write_bytes(of_bsds(masks))
    dataset = folder(tmp_path / "mine", cache=tmp_path / "cache")
    assert dataset.source_state["annotators"] == ["1", "2", "3"]
    assert_array_equal(dataset.present, [[True] * 3, [True, True, False]])
    assert_array_equal(dataset[0].masks, drawn["one"])
    assert_array_equal(dataset[1].masks[:2], drawn["two"])
    (tmp_path / "mine/masks/two.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(DataError, match=r"two\.mat#1: is not a complete MATLAB file"):
        folder(tmp_path / "mine", cache=tmp_path / "cache")


AXES = {  # directions of ITK's axes, and how an upright picture follows from stored rows
    "as stored": ((1, 0, 0, 0, 1, 0, 0, 0, 1), lambda x: x),
    "columns to the right": ((-1, 0, 0, 0, 1, 0, 0, 0, 1), lambda x: x[:, ::-1]),
    "rows to anterior": ((1, 0, 0, 0, -1, 0, 0, 0, 1), lambda x: x[::-1]),
    "axes exchanged": ((0, 1, 0, 1, 0, 0, 0, 0, -1), lambda x: x.T),
}


def volume(pixels: np.ndarray, path: Path, *, direction: Any = None, origin: Any = None) -> bytes:
    flat = pixels.ndim == 2
    image = SimpleITK.GetImageFromArray(pixels[None] if direction and flat else pixels)
    image.SetSpacing((0.5, 0.25, 3.0)[: image.GetDimension()])
    if direction:
        image.SetDirection(direction)
    if origin:
        image.SetOrigin(origin)
    SimpleITK.WriteImage(image, str(path), useCompression=True)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("axes", AXES)
def test_nrrd_and_mha_are_turned_upright_by_their_headers(
    suffix: str, axes: str, tmp_path: Path
) -> None:
    direction, turned = AXES[axes]
    data = volume(GREY, tmp_path / f"a{suffix}", direction=direction)
    picture = read_picture(data, suffix)
    assert_array_equal(picture.pixels[0], turned(GREY))
    assert_array_equal(picture.spacing, [0.5, 0.25] if axes == "axes exchanged" else [0.25, 0.5])
    flat = read_picture(volume(GREY, tmp_path / f"b{suffix}"), suffix)
    assert_array_equal(flat.pixels[0], GREY)


def test_a_mask_of_one_format_lies_on_an_image_of_another(tmp_path: Path) -> None:
    direction, turned = AXES["columns to the right"]
    origin = (-0.5 * -6, 0.0, 0.0)  # so that both cover the same place
    image = read_picture(volume(GREY, tmp_path / "a.mha", direction=AXES["as stored"][0]), ".mha")
    stored = turned(LABELS)
    data = volume(stored, tmp_path / "b.nrrd", direction=direction, origin=origin)
    assert_array_equal(read_picture(data, ".nrrd", image).pixels[0], LABELS)
    for far in ((3.0, 5.0, 0.0), (3.0, 0.0, 9.0)):
        moved = volume(stored, tmp_path / "c.nrrd", direction=direction, origin=far)
        with pytest.raises(DataError, match="lies elsewhere than its image"):
            read_picture(moved, ".nrrd", image)


@pytest.mark.parametrize("resample", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_a_mask_that_itk_saved_without_a_place_is_not_resampled(
    suffix: str, resample: bool, tmp_path: Path
) -> None:
    """Its header says 1 mm at the origin, which would bring it to another place silently."""
    file, mask = tmp_path / f"a{suffix}", SimpleITK.GetImageFromArray(LABELS)
    image = SimpleITK.GetImageFromArray(GREY)
    image.SetSpacing((0.5, 0.5))
    SimpleITK.WriteImage(image, file)
    picture = read_picture(file.read_bytes(), suffix, resample=resample)
    SimpleITK.WriteImage(mask, file)
    with pytest.raises(DataError, match=r"without a place .* mask\.CopyInformation\(image\)"):
        read_picture(file.read_bytes(), suffix, picture)
    mask.CopyInformation(image)  # what the message says
    SimpleITK.WriteImage(mask, file)
    assert_array_equal(read_picture(file.read_bytes(), suffix, picture).pixels[0], LABELS)


def test_damaged_volumes_and_those_that_name_other_files_are_refused(tmp_path: Path) -> None:
    nrrd, mha = (volume(GREY, tmp_path / f"a{kind}") for kind in (".nrrd", ".mha"))
    other = tmp_path / "secret.raw"
    other.write_bytes(GREY.tobytes())
    head = "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 7 9\nencoding: raw\n"
    outside = f"{head}data file: {other}\n\n".encode()
    meta = "ObjectType = Image\nNDims = 2\nDimSize = 7 9\nElementType = MET_UCHAR\n"
    cases = {
        ".nrrd": {nrrd[:-20]: "not a complete NRRD", outside: "in another file", b"": "is empty"},
        ".mha": {
            mha[:-20]: "not a complete MetaImage",
            f"{meta}ElementDataFile = {other}\n".encode(): "in another file",
            f"{meta}ElementDataFile=LIST\n{other}\n".encode(): "in another file",
            meta.replace("7 9", "70000 90000").encode() + b"ElementDataFile = LOCAL\n": "claims",
        },
    }
    for suffix, faults in cases.items():
        for data, why in faults.items():
            with pytest.raises(DataError, match=why):
                read_picture(data, suffix)


def dicom(pixels: np.ndarray, **tags: Any) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, int(pixels.dtype == np.int16)
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_a_dicom_picture_has_its_own_values_and_spacing() -> None:
    stored = GREY.astype(np.int16) * 4
    ct = dicom(stored, RescaleSlope=2, RescaleIntercept=-1024, PixelSpacing=[0.7, 0.5])
    picture = read_picture(ct, ".dcm")
    assert_array_equal(picture.pixels[0], stored * 2.0 - 1024)
    assert_array_equal(picture.spacing, [0.7, 0.5])
    assert_array_equal(read_picture(dicom(stored), ".dcm").pixels[0], stored)
    for data, mask, why in (
        (ct, IMAGE, "save masks as .png"),
        (ct[:-50], None, "cannot be decoded"),
        (dicom(stored, PhotometricInterpretation="PALETTE COLOR"), None, "in PALETTE COLOR"),
        (dicom(stored, ModalityLUTSequence=[pydicom.Dataset()]), None, "in a table"),
    ):
        with pytest.raises(DataError, match=why):
            read_picture(data, ".dcm", mask)


@pytest.mark.parametrize(("kind", "ends"), [(np.uint16, 4095), (np.int16, -1)])
def test_a_negative_is_turned_round_in_its_own_range(kind: type, ends: int) -> None:
    """Otherwise a window in the file's units would make it black."""
    stored = GREY.astype(kind) * 4
    tags: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1"}  # in which 0 is white
    tags |= {"BitsStored": 12, "HighBit": 11, "RescaleSlope": 2, "RescaleIntercept": 10}
    picture = read_picture(dicom(stored, **tags), ".dcm")
    assert_array_equal(picture.pixels[0], (ends - stored.astype(int)) * 2 + 10)


def tiff(pixels: np.ndarray, *, white: int = 1, kind: int = 1) -> bytes:
    """An uncompressed TIFF of one channel; ``white`` and ``kind`` are those of its tags."""
    height, width = pixels.shape
    content, bits = pixels.tobytes(), 8 * pixels.itemsize
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: white, 273: 134, 277: 1}
    tags |= {278: height, 279: len(content), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II" + struct.pack("<HIH", 42, 8, len(tags)) + entries + bytes(4) + content


@pytest.mark.parametrize("name", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
def test_numbers_in_a_tiff_are_those_that_were_stored(name: str) -> None:
    bits = np.frombuffer(np.random.default_rng(2).bytes(63 * 8), name)[:63].reshape(9, 7)
    stored = GREY.astype(name) / np.float32(3) if name == "f4" else bits
    kind = {"u": 1, "i": 2, "f": 3}[name[0]]
    assert_array_equal(read_picture(tiff(stored, kind=kind), ".tif").pixels[0], stored)


def test_a_tiff_that_programs_read_in_different_ways_is_refused() -> None:
    deep = GREY.astype(np.uint16)
    with pytest.raises(DataError, match=r"0 as its white, .* save it as PNG"):
        read_picture(tiff(deep, white=0), ".tif")
    assert_array_equal(read_picture(tiff(GREY, white=0), ".tif").pixels[0], 255 - GREY)
    with pytest.raises(DataError, match=r"kind that Pillow does not read.* save as \.npy"):
        read_picture(tiff(GREY.astype(np.float64), kind=3), ".tif")


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".nii"])
def test_big_endian_numbers_are_those_of_this_machine(suffix: str) -> None:
    """So that 16-bit values are fractions of 65535 whatever their order of bytes."""
    swapped = GREY.astype(">u2")
    if suffix == ".npy":
        np.save(file := io.BytesIO(), swapped)
        data = file.getvalue()
    elif suffix == ".nii":
        header = nibabel.Nifti1Header(endianness=">")
        header.set_data_dtype(np.uint16)
        data = nibabel.Nifti1Image(swapped, None, header).to_bytes()
    else:
        data = saved(Image.frombytes("I;16B", (7, 9), swapped.tobytes()), "TIFF")
    pixels = read_picture(data, suffix).pixels
    assert pixels.dtype == np.uint16
    assert_array_equal(pixels[0], GREY)


@pytest.mark.parametrize("values", [[0, 255], [0, 2], [255, 0], [0, 1, 255], [255]])
@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_indices_of_greys_are_those_greys_or_refused(values: list[int], suffix: str) -> None:
    """Programs that save only the colours in use number them anew."""
    drawn = np.array(values, np.uint8)[LABELS % len(values)]
    indexed = Image.fromarray((LABELS % len(values)).astype(np.uint8))
    indexed.putpalette([grey for value in values for grey in [value] * 3])
    data = saved(indexed, suffix[1:].upper())
    if values == [0, 255]:
        assert_array_equal(read_picture(data, suffix, IMAGE).pixels[0], drawn > 0)
    else:
        with pytest.raises(DataError, match=r'not its indices .* palette="colours"'):
            read_picture(data, suffix, IMAGE)
    greys = read_picture(data, suffix, IMAGE, palette="colours").pixels
    assert_array_equal(greys[0], drawn)


@pytest.mark.parametrize("colours", [[0, 0, 0, 9, 9, 9, 7, 0, 0], [0, 0, 0]])
def test_indices_of_a_palette_of_colours_or_beyond_it_are_classes(colours: list[int]) -> None:
    """A picture may show only the greys among the colours."""
    mask = Image.fromarray(LABELS % np.uint8(2))
    mask.putpalette(colours)
    read = read_picture(saved(mask, "PNG"), ".png", IMAGE).pixels[0]
    assert_array_equal(read, np.asarray(mask))


def test_a_window_means_the_numbers_in_a_pgm() -> None:
    deep = GREY.astype(np.uint16) * 16
    pixels = read_picture(pgm(deep, 4095), ".pgm").pixels
    assert pixels.dtype == np.uint16
    assert_array_equal(pixels[0], deep)
    with pytest.raises(DataError, match="has 200 as its white; save it as 8-bit"):
        read_picture(pgm(GREY, 200), ".pgm")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_mask_in_colours_is_refused_with_what_mends_it(mode: str) -> None:
    with pytest.raises(DataError, match=r"as grey$"):
        read_picture(saved(Image.new(mode, (7, 9)), "PNG"), ".png", IMAGE)
