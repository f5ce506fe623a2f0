"""Anybody's own data: every kind of file, and everything that can be wrong with it."""

from __future__ import annotations

import io
import shutil
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import probseg
from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.folder import folder
from probseg.errors import DataError, MissingDataError, OptionError

ITK = np.diag([-0.5, -0.25, 1.0, 1.0])


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    file = io.BytesIO()
    if suffix == ".npy":
        np.save(file, pixels)
    elif suffix == ".nii.gz":  # voxels are (column, row) here
        file.write(nibabel.Nifti1Image(np.swapaxes(pixels, 0, 1), ITK).to_bytes())
    else:
        kind = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG"}[suffix]
        Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def put(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(pixels, "".join(path.suffixes)))


def grey(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def drawn(*shape: int, seed: int = 0, classes: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, shape, np.uint8)


def write(root: Path, suffix: str = ".png", count: int = 3) -> None:
    for number in range(count):
        put(root / f"images/scan {number}é{suffix}", grey(9, 7, seed=number))
        for who in ("Ann", "Bob"):
            mask = 255 * drawn(9, 7, seed=number + 10 * len(who) + ord(who[0]))
            put(root / f"masks/scan {number}é/{who}{suffix}", mask)


def load(root: Path, **options: Any) -> PackedDataset:
    return folder(root, cache=root.parent / f"cache of {root.name}", **options)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".nii.gz"])
def test_every_kind_of_file_gives_what_was_written(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / "mine", suffix, count=11)
    dataset = load(tmp_path / "mine")
    assert dataset.ids == dataset.groups == [f"scan {number}é" for number in range(11)]
    assert (dataset.name, dataset.channels, dataset.annotators) == ("folder", 1, 2)
    assert dataset.source_state["annotators"] == ["Ann", "Bob"]
    batch = dataset.batch(range(11))
    assert_array_equal((batch.image[3, 0] * 255).round(), grey(9, 7, seed=3))
    assert_array_equal(batch.masks[3, 0], drawn(9, 7, seed=3 + 30 + 65))
    assert_array_equal(batch.masks[3, 1], drawn(9, 7, seed=3 + 30 + 66))
    assert dataset.present.all()
    spacing = [0.25, 0.5] if suffix == ".nii.gz" else [np.nan, np.nan]
    assert_array_equal(dataset.spacing, [spacing] * 11)


def test_a_zip_file_will_do_with_or_without_an_outer_folder(tmp_path: Path) -> None:
    write(tmp_path / "all/mine")
    for base, name in (("all", "outer"), ("all/mine", "inner")):
        archive = Path(shutil.make_archive(str(tmp_path / name), "zip", tmp_path / base))
        assert load(archive).fingerprint == load(tmp_path / "all/mine").fingerprint


def test_who_has_no_mask_is_not_present(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path / "masks/scan 1é/reader 10.png", drawn(9, 7))
    put(tmp_path / "masks/scan 1é/reader 9.png", drawn(9, 7))
    (tmp_path / "masks/scan 1é/Ann.png").unlink()
    dataset = load(tmp_path)
    assert dataset.source_state["annotators"] == ["Ann", "Bob", "reader 9", "reader 10"]
    assert_array_equal(dataset.present, [[1, 1, 0, 0], [0, 1, 1, 1], [1, 1, 0, 0]])
    assert not dataset[1].masks[0].any()


@pytest.mark.parametrize("name", ["groups.csv", "Groups.CSV"])
def test_groups_come_from_their_table(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    table = "\ufeffid,group\nscan 0é,Zoë\nscan 2é, Zoë\n\nscan 1é,Max\n"
    (tmp_path / name).write_text(table, encoding="utf-8")
    assert load(tmp_path).groups == ["Zoë", "Max", "Zoë"]


TABLES = {
    "patient,id\nscan 0é,Zoë\n": "headed id,group",
    "id,group\nscan 0é\n": "two columns",
    "id;group\nscan 0é;Zoë\n": "separated by commas; it has the row 'id;group'",
    "": "headed id,group",
    "id,group\nscan 0é,Zoë\nscan 0é,Max\n": "two groups",
    "id,group\nscan 0é,Zoë\nscan 1é,Max\n": "scan 2é: has no group",
    "id,group\nscan 0é.png,Zoë\n": "without its suffix",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_groups_is_whole(table: str, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "groups.csv").write_text(table, encoding="utf-8")
    with pytest.raises(DataError, match=TABLES[table]):
        load(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "groups.csv").write_bytes("id,group\nscan 0é,Zoë\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_colour_has_three_channels(suffix: str, tmp_path: Path) -> None:
    put(tmp_path / f"images/a{suffix}", grey(9, 7, 3))
    put(tmp_path / "masks/a/me.png", drawn(9, 7))
    image = load(tmp_path)[0].image
    assert_array_equal((image * 255).round(), grey(9, 7, 3).transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_sixteen_bits_are_stretched(suffix: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(500, 40000, (9, 7), np.uint16)
    put(tmp_path / f"images/a{suffix}", pixels)
    put(tmp_path / "masks/a/me.png", drawn(9, 7))
    image = load(tmp_path)[0].image[0].numpy()
    span = float(pixels.max()) - float(pixels.min())
    assert_allclose(image, (pixels - float(pixels.min())) / span, atol=5e-4)


def test_an_image_with_a_palette_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    Image.fromarray(grey(9, 7)).convert("P").save(tmp_path / "images/scan 0é.png")
    with pytest.raises(DataError, match=r"scan 0é\.png: is a picture with a palette; pass pal"):
        load(tmp_path)


def test_masks_may_be_palettes_or_black_and_white(tmp_path: Path) -> None:
    write(tmp_path, count=1)
    mask = drawn(9, 7, classes=2)
    palette = Image.fromarray(mask).convert("P")
    palette.putdata(mask.ravel().tolist())
    palette.putpalette([0, 0, 0, 250, 100, 0])
    palette.save(tmp_path / "masks/scan 0é/Ann.png")
    Image.fromarray(mask * np.uint8(255)).convert("1").save(tmp_path / "masks/scan 0é/Bob.png")
    assert_array_equal(load(tmp_path)[0].masks, [mask, mask])


def test_more_classes_are_labels(tmp_path: Path) -> None:
    put(tmp_path / "images/a.png", grey(9, 7))
    put(tmp_path / "masks/a/me.png", drawn(9, 7, classes=4))
    dataset = load(tmp_path, classes=4)
    assert_array_equal(dataset[0].masks[0], drawn(9, 7, classes=4))
    with pytest.raises(DataError, match=r"no mask of 0 to 2: it has the values 3"):
        load(tmp_path, classes=3)
    with pytest.raises(DataError, match=r"no mask of 0 and 1, or 0 and 255: .* values 2, 3"):
        load(tmp_path, classes=2)


@pytest.mark.parametrize(
    ("values", "classes"),
    [([[0]], 2), ([[0, 255], [0, 1]], 2), ([[0, 1], [1, 2]], 3), ([[0, 4], [1, 2, 3]], 5)],
)
def test_classes_are_counted_in_the_masks(tmp_path: Path, values: list, classes: int) -> None:
    for number, one in enumerate(values):
        put(tmp_path / f"images/{number}.png", grey(9, 7))
        put(tmp_path / f"masks/{number}/me.png", np.resize(np.array(one, np.uint8), (9, 7)))
    dataset = load(tmp_path)
    assert dataset.classes == classes
    assert load(tmp_path).fingerprint == dataset.fingerprint
    assert load(tmp_path, classes=classes).fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ([0, 1, 2, 255], "0 and 1, or 0 and 255: .* 2"),
        (range(63), "0 and 1, or 0 and 255: .* 2, 3, 4"),
    ],
)
def test_values_that_are_no_classes_are_not_counted(
    tmp_path: Path, values: list, refused: str
) -> None:
    put(tmp_path / "images/a.png", grey(9, 7))
    put(tmp_path / "masks/a/me.png", np.resize(np.array(values, np.uint8), (9, 7)))
    with pytest.raises(DataError, match=rf"me.png: is no mask of {refused}"):
        load(tmp_path)


def test_images_of_another_kind_are_named_with_the_remedy(tmp_path: Path) -> None:
    write(tmp_path)
    for file in (tmp_path / "images").iterdir():
        file.rename(file.with_suffix(".webp"))
    with pytest.raises(MissingDataError, match=r"scan 0é.webp is none of .*; convert it to one"):
        load(tmp_path)


def test_sizes_that_vary_need_a_size(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path / "images/wide.png", np.full((9, 8), 77, np.uint8))
    put(tmp_path / "masks/wide/Ann.png", np.ones((9, 8), np.uint8))
    with pytest.raises(DataError, match=r"images/wide.png: is 9x8, the first image 9x7; pass size"):
        load(tmp_path)
    wide = load(tmp_path, size=4)[3]
    assert_array_equal((wide.image * 255).round(), np.full((1, 4, 4), 77))
    assert_array_equal(wide.masks[0], np.ones((4, 4)))


def test_no_file_of_the_system_disturbs(tmp_path: Path) -> None:
    write(tmp_path)
    ids = load(tmp_path).ids
    for name in ("images/.DS_Store", "images/._scan 0é.png", "masks/scan 0é/Thumbs.db", "x.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert load(tmp_path).ids == ids


IMAGE, MASK = "images/scan 1é.png", "masks/scan 1é/Bob.png"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-25])


def instead(suffix: str, pixels: np.ndarray) -> Any:
    def spoil(path: Path) -> None:
        path.unlink()
        put(path.parent / (path.name.removesuffix(".png") + suffix), pixels)

    return spoil


def bare_claim(path: Path) -> None:
    path.unlink()
    header = {"descr": "<f8", "fortran_order": False, "shape": (30000, 30000, 3)}
    with open(path.with_suffix(".npy"), "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def dangling(path: Path, target: Path = Path("/not/mounted")) -> None:
    """A link of git-annex, DataLad or DVC, or one to a disk that is not mounted."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(target)


def other_checksum(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of the pixels' checksum
    path.write_bytes(data)


def open_header(path: Path) -> None:
    path.unlink()
    data = encode(grey(9, 7), ".npy")
    path.with_suffix(".npy").write_bytes(data.replace(b"(9, 7)", b"(9, 7 "))


def a_pickle(path: Path) -> None:
    path.unlink()
    np.save(path.with_suffix(".npy"), np.array([[{}]], object), allow_pickle=True)


def of_mode(mode: str) -> Any:
    return lambda path: Image.new(mode, (7, 9)).save(path)


def pages(path: Path) -> None:
    path.unlink()
    page = Image.fromarray(grey(9, 7))
    page.save(path.with_suffix(".tif"), save_all=True, append_images=[page])


FAULTS: dict[str, tuple[str, Any, str]] = {
    "truncated image": (IMAGE, cut, "not a complete PNG"),
    "truncated mask": (MASK, cut, "not a complete PNG"),
    "zero bytes": (MASK, lambda path: path.write_bytes(b""), "is empty"),
    "something else": (MASK, lambda path: path.write_bytes(b"PK\x03\x04"), "not a complete PNG"),
    "no image": (IMAGE, Path.unlink, "has no image"),
    "no masks": (MASK, lambda path: shutil.rmtree(path.parent), "has no annotation"),
    "another kind": (MASK, lambda path: path.rename(path.with_suffix(".webp")), "none of .nii.gz"),
    "JPEG": (MASK, instead(".jpg", 255 * drawn(9, 7)), "is a JPEG, which changes a mask's values"),
    "link to nowhere": (MASK, dangling, "is a link to /not/mounted, which cannot be reached"),
    "image linked to nowhere": (IMAGE, dangling, "is a link to /not/mounted, which cannot be"),
    "folder linked to nowhere": (MASK, lambda path: dangling(path.parent), "is a link to /not/m"),
    "link to itself": (MASK, lambda path: dangling(path, path), "which cannot be reached"),
    "pointer of LFS": (MASK, lambda path: path.write_bytes(POINTER), "git lfs pull"),
    "other size": (MASK, instead(".png", drawn(7, 9)), "is 7x9, its image 9x7"),
    "grey mask": (MASK, instead(".png", 128 * drawn(9, 7)), "values 128"),
    "nearly one": (MASK, instead(".npy", drawn(9, 7) * 0.99999), "values 0.99999"),
    "NaN mask": (MASK, instead(".npy", np.full((9, 7), np.nan)), "values nan"),
    "colour mask": (MASK, instead(".png", grey(9, 7, 3)), "has 3 channels; a mask has one"),
    "colour image": (IMAGE, instead(".png", grey(9, 7, 3)), "3 channels, the first image 1"),
    "16 bits beside 8": (IMAGE, instead(".png", grey(9, 7).astype(np.uint16)), "is not 8-bit"),
    "NaN": (IMAGE, instead(".npy", np.full((9, 7), np.nan)), "NaN or infinite"),
    "a volume": (IMAGE, instead(".npy", grey(9, 7, 20)), "20 channels, more than 16"),
    "a thin volume": (
        IMAGE,
        instead(".npy", grey(9, 7, 8)),
        "the first image 1; if it is a volume, save its",
    ),
    "a mask of a thin volume": (
        MASK,
        instead(".npy", drawn(9, 7, 8)),
        "a mask has one; if it is a volume, save its",
    ),
    "five axes": (
        IMAGE,
        instead(".npy", grey(1, 1, 9, 7, 8)),
        "; if it is a volume, save its slices",
    ),
    "one axis": (IMAGE, instead(".npy", grey(9)), "not (H, W)"),
    "a huge claim": (IMAGE, bare_claim, "claims 30000x30000x3"),
    "a wrong checksum": (IMAGE, other_checksum, "not a complete PNG"),
    "a header that does not close": (IMAGE, open_header, "not a complete NumPy"),
    "a pickle": (IMAGE, a_pickle, "elements of type object"),
    "transparency": (IMAGE, of_mode("RGBA"), "mode 'RGBA'"),
    "pages": (IMAGE, pages, "several pages"),
    "NIfTI on PNG": (MASK, instead(".nii.gz", drawn(9, 7)), "so their orientation is unknown"),
    "PNG on NIfTI": (IMAGE, instead(".nii.gz", grey(9, 7)), "so their orientation is unknown"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_sample_is_refused_or_left_out(fault: str, tmp_path: Path) -> None:
    name, spoil, why = FAULTS[fault]
    write(tmp_path)
    whole = load(tmp_path)
    spoil(tmp_path / name)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert "scan 1é" in str(caught.value) and why in str(caught.value)
    rest = load(tmp_path, on_fault="skip")
    assert rest.ids == ["scan 0é", "scan 2é"]
    assert rest.skipped and all(why in line for line in rest.skipped)
    for index, other in enumerate((0, 2)):
        assert_array_equal(rest[index].image, whole[other].image)
        assert_array_equal(rest[index].masks, whole[other].masks)


@pytest.mark.parametrize("bits", [1 << 13, 1 << 15])
def test_a_picture_that_claims_too_much_is_refused_unread(bits: int, tmp_path: Path) -> None:
    write(tmp_path)
    data = bytearray((tmp_path / IMAGE).read_bytes())
    data[16:24] = np.array([bits, bits + 1], ">u4").tobytes()
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / IMAGE).write_bytes(data)
    with pytest.raises(DataError, match="claims"):
        load(tmp_path)


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    put(tmp_path / "images/scan 1é.tif", grey(9, 7))
    with pytest.raises(DataError, match="occurs twice"):
        load(tmp_path, on_fault="skip")


def test_every_faulty_file_of_every_sample_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("masks/scan 0é/Ann.png", "masks/scan 0é/Bob.png", "masks/scan 2é/Ann.png"):
        dangling(tmp_path / name)
    dangling(tmp_path / "images/scan 2é.png")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert str(caught.value).count("cannot be reached") == 4


@pytest.mark.parametrize("name", ["images", "masks"])
def test_a_folder_of_the_layout_that_cannot_be_reached_is_named(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    dangling(tmp_path / name)
    with pytest.raises(DataError, match=rf"/{name} is a link to /not/mounted, .*mount its disk"):
        load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"holds no images|has no annotation"):
        load(tmp_path)


def test_a_table_of_groups_that_cannot_be_reached_is_not_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "groups.csv").symlink_to("/not/mounted/groups.csv")
    with pytest.raises(DataError, match=r"groups\.csv: is a link to /not/mounted/groups\.csv"):
        load(tmp_path)


def test_accents_taken_apart_are_the_same_letters(tmp_path: Path) -> None:
    write(tmp_path)
    fingerprint = load(tmp_path).fingerprint
    (tmp_path / "masks/scan 1é").rename(tmp_path / "masks/scan 1e\u0301")
    assert load(tmp_path).fingerprint == fingerprint


def test_slices_across_any_axis_of_other_files_too(tmp_path: Path) -> None:
    for path, voxels in (("images/a", grey(9, 7, 1)), ("masks/a/ann", drawn(9, 7, 1))):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        image = SimpleITK.GetImageFromArray(voxels)  # (Z, Y, X)
        image.SetSpacing((0.5, 0.7, 2.5))
        image.SetOrigin((10, 20, 30))
        SimpleITK.WriteImage(image, str(tmp_path / f"{path}.nrrd"))
    data = load(tmp_path)
    assert_array_equal((data[0].image[0] * 255).round(), grey(9, 7, 1)[::-1, :, 0])
    assert_array_equal(data[0].masks[0], drawn(9, 7, 1)[::-1, :, 0])
    assert_allclose(data.spacing, [[2.5, 0.7]])


def test_slices_across_any_axis_are_pictures_with_their_spacing(tmp_path: Path) -> None:
    affine = np.diag([-0.5, -0.7, 2.5, 1.0])
    for path, voxels in (("images/a", grey(1, 9, 7)), ("masks/a/ann", drawn(1, 9, 7))):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{path}.nii.gz")
    data = load(tmp_path)
    assert_array_equal((data[0].image[0] * 255).round(), grey(1, 9, 7)[0].T[::-1])
    assert_array_equal(data[0].masks[0], drawn(1, 9, 7)[0].T[::-1])
    assert_allclose(data.spacing, [[2.5, 0.7]])


def test_soft_masks_of_one_folder_have_one_scale(tmp_path: Path) -> None:
    write(tmp_path)
    faint = tmp_path / "masks/scan 1é/Ann.png"
    put(faint, drawn(9, 7))
    with pytest.raises(DataError, match=r"1é/Ann.png: has integers up to 1, and other masks up to"):
        load(tmp_path, soft=True)
    for path in (tmp_path / "masks").rglob("*.png"):
        put(path, drawn(9, 7))
    assert load(tmp_path, soft=True).batch(range(3)).masks.unique().tolist() == [0, 1]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path)
    ids = load(tmp_path).ids
    for place in ("loop", "images/loop", "masks/scan 1é/loop"):
        (tmp_path / place).symlink_to(tmp_path, target_is_directory=True)
    assert load(tmp_path).ids == ids


def test_wrong_options_and_missing_data_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(MissingDataError, match="holds: pictures"):
        load(tmp_path)
    with pytest.raises(OptionError, match=r"classes must be 2 to 256.*, not 1"):
        load(tmp_path, classes=1)
    with pytest.raises(OptionError, match=r"size must be .*, not 9000"):
        load(tmp_path, size=9000)
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        (tmp_path / "file.txt").write_text("text")
        load(tmp_path / "file.txt")
    monkeypatch.delenv("PROBSEG_DATA", raising=False)
    with pytest.raises(MissingDataError, match="PROBSEG_DATA"):
        probseg.datasets.create("folder")
