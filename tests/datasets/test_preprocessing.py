"""What is done to images is one thing for data sets and new files, is recorded, and is undone."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.folder import folder
from probseg.datasets.formats.mask_values import MaskValues
from probseg.datasets.formats.preprocessing import resize_images, stretch
from probseg.datasets.preprocessing import Preprocessing, wanted
from probseg.datasets.shapes import AmbiguousShapes
from probseg.datasets.survey import survey
from probseg.datasets.views import Annotated, CentreCrop, Subset
from probseg.errors import DataError, InputError, OptionError
from probseg.interfaces import Batch
from probseg.utils.model_inputs import ScaleWarning


class Memory:
    """Images that lie in memory, as they are."""

    name = provenance = fingerprint = "memory"
    channels, classes, annotators, groups = 1, 2, 1, ("a",)

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images
        size = (images.shape[2], images.shape[3])
        self.preprocessing = Preprocessing(size=size, normalise="none")

    def batch(self, indices: Any) -> Batch:
        return Batch(self.images[indices], torch.zeros_like(self.images[indices]))


edges = st.integers(1, 40)
sizes = st.tuples(edges, edges)


def grey(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def disc(height: int, width: int, radius: float) -> Any:
    y, x = np.ogrid[:height, :width]
    return (np.hypot(y - height // 2, x - width // 2) < radius).astype(np.uint8)


def write(root: Path, images: dict[str, Any], suffix: str = ".npy") -> Path:
    """Write images, with the masks "a" and "b" of their middle."""
    for name, pixels in images.items():
        mask = disc(*pixels.shape[:2], radius=min(pixels.shape[:2]) / 4)
        for path, array in (
            (root / f"images/{name}{suffix}", pixels),
            (root / f"masks/{name}/a.npy", mask),
            (root / f"masks/{name}/b.npy", mask),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".npy":
                np.save(path, array)
            else:
                Image.fromarray(array).save(path)
    return root


def load(root: Path, **options: Any) -> PackedDataset:
    return folder(root, cache=root / "cache", **options)


# --- size ----------------------------------------------------------------------------------------


def test_the_aspect_is_kept_by_default_and_the_rest_is_filled_up_with_nothing() -> None:
    seen = wanted(64).apply(np.full((1, 1024, 811), 255, np.uint8))[0]
    assert seen.shape == (64, 64) and (seen.any(0).sum(), seen.any(1).sum()) == (51, 64)
    assert seen[:, 6:57].min() == 1 and not seen[:, :6].any() and not seen[:, 57:].any()
    assert wanted((64, 51)).apply(np.full((1, 1024, 811), 255, np.uint8)).all()


def test_a_crop_keeps_the_aspect_and_fills_the_frame() -> None:
    columns = np.tile(np.arange(100, dtype=np.uint8), (1, 50, 1))
    seen = wanted(25, "crop").apply(columns)[0] * 255
    assert seen.shape == (25, 25)
    assert_allclose(seen.mean(), np.arange(25, 75).mean(), atol=1.1)


@given(size=sizes, square=edges, seed=st.integers(0, 9))
def test_of_equal_aspect_every_way_to_resize_is_the_same(size: Any, square: int, seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(1, 2, size[0], size[0]))
    expected = stretch(resize_images(image, (square, square)))  # as it was before there were others
    for resize in ("pad", "crop", "stretch"):
        assert_array_equal(wanted(square, resize).images(image), expected)


@given(
    native=sizes,
    size=sizes,
    resize=st.sampled_from(["pad", "stretch", "crop"]),
    crop=st.none() | sizes,
)
def test_what_is_written_has_the_size_of_the_file(
    native: Any, size: Any, resize: str, crop: Any
) -> None:
    done = replace(wanted(size, resize), crop=crop)
    seen = done.apply(grey(2, *native))
    assert seen.shape == (2, *(size if crop is None else np.minimum(size, crop)))
    back = done.undo(seen, native)
    assert back.shape == (2, *native) and back.dtype == np.float32
    labels = done.undo(np.ones(seen.shape, np.uint8), native)
    assert labels.dtype == np.uint8 and (crop is not None or resize == "crop" or labels.all())


def test_what_is_filled_up_is_nobodys_label_where_there_are_such() -> None:
    ones = np.ones((1, 1, 4, 8), np.uint8)
    assert wanted(8).masks(ones)[0, 0, :, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    ignoring = replace(wanted(8), ignore=255)
    assert ignoring.masks(ones)[0, 0, :, 0].tolist() == [255, 255, 1, 1, 1, 1, 255, 255]


@pytest.mark.parametrize("native", [(1024, 811), (811, 1024), (64, 50), (30, 20)])
@pytest.mark.parametrize("resize", ["pad", "stretch", "crop"])
def test_a_mask_goes_there_and_comes_back(native: Any, resize: str) -> None:
    mask, done = disc(*native, radius=min(native) / 4), wanted(64, resize)
    back = done.undo(done.masks(mask[None, None])[0], native)[0]
    assert (back & mask).sum() / (back | mask).sum() > 0.9


def test_outside_of_a_crop_nothing_is_written() -> None:
    done = Preprocessing(crop=(4, 6))
    back = done.undo(np.ones((1, 4, 6), np.uint8), (10, 10))[0]
    assert back[3:7, 2:8].all() and back.sum() == 24
    assert done.apply(grey(1, 3, 30)).shape == (1, 3, 6), "a small image is left whole"


# --- values --------------------------------------------------------------------------------------


def test_one_pixel_of_metal_flattens_no_image_whose_window_is_fixed_or_robust(
    tmp_path: Path,
) -> None:
    plain = np.random.default_rng(0).normal(-800, 30, (64, 64)).astype(np.float32)
    plain[disc(64, 64, 10) > 0] = 40
    metal = plain.copy()
    metal[5, 5] = 30_000
    root = write(tmp_path, {"plain": plain, "metal": metal})

    def lesions(**options: Any) -> Any:
        images = load(root, **options).batch(range(2)).image
        return [image[disc(64, 64, 9) > 0].mean() for image in images[:, 0].numpy()]

    assert abs(np.diff(lesions())[0]) > 0.5, "as it is by default"
    assert_allclose(lesions(window=(-1000, 400)), (1040 / 1400,) * 2, atol=1e-3)
    assert_allclose(np.diff(lesions(normalise="percentiles")), 0, atol=0.02)


def test_images_that_somebody_windowed_are_left_alone(tmp_path: Path) -> None:
    def image(top: float) -> Any:
        pixels = np.zeros((8, 8), np.float32)
        pixels[2:6, 2:6], pixels[0, 0] = 0.2, top
        return pixels

    root = write(tmp_path, {str(number): image(1 / number) for number in (1, 2, 4)})
    batch = load(root, normalise="none").batch(range(3)).image
    assert_allclose(batch[:, 0, 4, 4], [0.2] * 3, atol=1e-3)
    assert_allclose(load(root).batch(range(3)).image[:, 0, 4, 4], [0.2, 0.4, 0.8], atol=1e-3)


def test_sixteen_bits_are_a_fraction_of_their_range(tmp_path: Path) -> None:
    pixels = np.full((8, 8), 32768, np.uint16)
    root = write(tmp_path, {"a": pixels}, ".png")
    assert_allclose(load(root, normalise="none")[0].image, 0.5, atol=1e-3)


def test_files_of_another_range_are_no_fractions_of_it(tmp_path: Path) -> None:
    learnt = load(write(tmp_path, {"a": grey(8, 8)}, ".png")).preprocessing
    assert learnt and learnt.apply(grey(1, 8, 8)).max() > 0.9
    with pytest.raises(DataError, match="range 0 to 65535, where 0 to 255 became 0 to 1"):
        learnt.apply(grey(1, 8, 8).astype(np.uint16))
    assert_allclose(learnt.apply(np.full((1, 8, 8), 0.5)), 0.5)
    deep = load(
        write(tmp_path / "16", {"a": grey(8, 8).astype(np.uint16)}, ".png"), normalise="none"
    )
    (words,) = learnt.differences(deep.preprocessing or learnt)
    assert "fractions of 255; of the data: values are kept, as fractions of 65535" in words
    assert learnt.differences(AmbiguousShapes(samples=1, size=8).preprocessing) == []


@pytest.mark.parametrize("kind", ["i1", "u4", "i4", "i8"])
def test_whole_numbers_of_another_type_are_no_fractions_either(kind: str) -> None:
    learnt = wanted(normalise="none", window=(0, 255))
    with pytest.raises(DataError, match=r"of type .*, where 0 to 255 became 0 to 1; .* of 8 bits"):
        learnt.apply(np.full((1, 4, 4), 100, kind))
    assert wanted(normalise="none").apply(np.full((1, 4, 4), 100, kind)).max() == 100
    assert learnt.apply(np.ones((1, 4, 4), bool)).max() == 1


def test_a_model_is_not_told_to_take_another_normalisation() -> None:
    with pytest.raises(DataError, match=r"too large .*; scale them as the images were") as caught:
        wanted(normalise="none").apply(np.full((1, 4, 4), 3000.0))
    assert "window=" not in str(caught.value)


LOW, HIGH = grey(1, 32, 32), grey(1, 32, 32).astype(np.uint16) * 257
DARK = np.where(disc(32, 32, 2) > 0, 40, np.random.default_rng(0).normal(-1000, 30, (1, 32, 32)))
WINDOWS = {  # an image, a window, and whether it is in other units
    "8 bits below a window": (LOW, (10_000, 40_000), True),
    "8 bits in a window of 16": (LOW, (0, 65_535), True),
    "16 bits above a window": (HIGH, (0, 200), True),
    "8 bits": (LOW, (0, 200), False),
    "16 bits": (HIGH, (10_000, 40_000), False),
    "a slice of hardly more than air": (DARK, (-1000, 400), False),
    "one value within": (np.full((1, 32, 32), 5, np.uint8), (0, 10), False),
    "one value outside": (np.full((1, 32, 32), 50, np.uint8), (0, 10), True),
    "a few bright cells": (disc(32, 32, 1)[None] * 250, (0, 255), False),
}


@pytest.mark.parametrize("what", WINDOWS)
def test_a_window_in_other_units_is_told(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels, window, other = WINDOWS[what]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        wanted(window=window).apply(pixels)
    assert [one.category for one in told] == [ScaleWarning] * other
    root = write(tmp_path, {name: pixels[0] + (0 if name == "a" else 1) for name in "ab"})
    for _ in range(2):  # packed, and opened again
        caplog.clear()
        data = load(root, window=window)
        assert ("leaves hardly any contrast to any image" in caplog.text) == other
    found = [one.wrong for one in survey(data).findings if "hardly any contrast" in one.what]
    assert found == [True] * other


def test_some_images_outside_of_a_window_are_no_fault_of_it(tmp_path: Path) -> None:
    data = load(write(tmp_path, {"a": LOW[0], "b": LOW[0] // 5 + 201}), window=(0, 200))
    assert data.faint == 1
    assert not [one for one in survey(data).findings if "contrast" in one.what]


def test_values_far_too_large_are_not_left_alone(tmp_path: Path) -> None:
    root = write(tmp_path, {"ct": np.full((8, 8), -1024, np.int16)})
    with pytest.raises(DataError, match=r"images/ct.npy: has values up to 1024.*window="):
        load(root, normalise="none")


@given(
    low=st.floats(0, 40),
    high=st.floats(60, 100),
    seed=st.integers(0, 9),
    channels=st.integers(1, 3),
)
def test_percentiles_are_those_of_each_channel(
    low: float, high: float, seed: int, channels: int
) -> None:
    pixels = np.random.default_rng(seed).normal(size=(channels, 9, 7))
    done = wanted(normalise="percentiles", window=(low, high))
    for channel, seen in zip(pixels, done.apply(pixels), strict=True):
        ends = np.quantile(channel, [low / 100, high / 100])
        assert_allclose(seen, np.interp(channel, ends, [0, 1]), atol=1e-3)


def test_a_window_is_cut_before_pixels_are_averaged() -> None:
    pixels = np.zeros((1, 8, 8))
    pixels[0, 0, 0] = 1e6
    assert wanted(4, window=(0, 100)).apply(pixels).max() <= 1
    assert wanted(4, window=(0, 100)).apply(pixels)[0, 0, 0] < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be an edge of 1 to 8192 pixels"),
        ({"size": (64, 64, 3)}, "size must be"),
        ({"size": True}, "size must be"),
        ({"resize": "padded"}, "did you mean 'pad'"),
        ({"normalise": "percentile"}, "did you mean 'percentiles'"),
        ({"normalise": "window"}, "window must be two finite numbers"),
        ({"window": (400, -1000)}, "the lower first"),
        ({"window": 5}, "the lower first"),
        ({"window": (0, 1), "normalise": "none"}, "window goes with"),
        ({"window": (-1, 101), "normalise": "percentiles"}, "percentiles from 0 to 100"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        load(write(tmp_path, {"a": grey(8, 8)}), **options)


# --- the record ----------------------------------------------------------------------------------


def test_a_data_set_says_what_was_done(tmp_path: Path) -> None:
    images = {"a": grey(30, 20, 3), "b": grey(20, 30, 3)}
    data = load(write(tmp_path, images, ".png"), size=(16, 12))
    assert data.preprocessing == Preprocessing(
        size=(16, 12),
        resize="pad",
        normalise="none",
        window=(0, 255),
        channels=("red", "green", "blue"),
        mask_values=MaskValues(),
        annotators=("a", "b"),
    )
    assert load(tmp_path, size=(16, 12)).preprocessing == data.preprocessing


def test_a_packed_folder_is_not_read_otherwise(tmp_path: Path) -> None:
    ignoring = {255: "ignore"}
    packed = load(write(tmp_path, {"a": grey(8, 8)}, ".png"), values=ignoring).folder
    assert folder(packed, values=ignoring).ignore_index == 255
    assert folder(packed).ignore_index == 255  # without options it is as it was packed
    for options, message in (
        ({"invert": True}, "masks of the options: invert=True; of the packed data: values="),
        ({"threshold": 0}, "masks of the options: threshold=0"),
        ({"classes": 3}, "classes 3 of the options, 2 of the packed data"),
    ):
        with pytest.raises(OptionError, match=message):
            folder(packed, **options)


def test_spacing_is_that_of_what_a_model_sees(tmp_path: Path) -> None:
    write(tmp_path, {"a": grey(30, 20)})
    (tmp_path / "images/a.npy").unlink()
    for path, pixels in (("images/a", grey(20, 30)), ("masks/a/a", disc(20, 30, 5))):
        file = nibabel.Nifti1Image(pixels, np.diag([-0.5, -0.25, 1, 1]))
        nibabel.save(file, tmp_path / f"{path}.nii.gz")
    for mask in (tmp_path / "masks/a").glob("*.npy"):
        mask.unlink()
    data = load(tmp_path, size=15)  # 30 rows of 0.25 mm become 15, 20 columns of 0.5 mm become 10
    assert data.preprocessing and data.preprocessing.spacing == (0.5, 1.0)
    assert_allclose(data.spacing, [[0.5, 1.0]])


def test_a_cache_of_an_older_version_says_unknown(tmp_path: Path) -> None:
    data = load(write(tmp_path, {"a": grey(8, 8)}))
    meta = json.loads((data.folder / "meta.json").read_text())
    del meta["preprocessing"]
    (data.folder / "meta.json").write_text(json.dumps(meta))
    old = PackedDataset(data.folder)
    assert old.preprocessing is None
    assert CentreCrop(old, 4).preprocessing == Preprocessing(crop=(4, 4))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_options_that_change_nothing_share_a_cache(dtype: Any, tmp_path: Path) -> None:
    root = write(tmp_path, {"a": grey(8, 8).astype(dtype)}, ".png")
    first = load(root, size=4)
    assert first.preprocessing
    assert load(root, **first.preprocessing.options).folder == first.folder


def test_views_pass_it_on() -> None:
    data = AmbiguousShapes(size=16, samples=4)
    part = Annotated(Subset(CentreCrop(data, 8), [1, 2]), 1)
    assert data.preprocessing and part.preprocessing == replace(data.preprocessing, crop=(8, 8))
    assert CentreCrop(data, 16).preprocessing == data.preprocessing
    assert part.preprocessing.shape == part[0].image.shape[1:] == (8, 8)


@given(size=sizes, first=sizes, second=sizes)
def test_a_crop_of_a_crop_is_what_a_model_sees_of_the_whole(
    size: Any, first: Any, second: Any
) -> None:
    first, second = np.minimum(size, first).tolist(), np.minimum(size, second).tolist()
    second = np.minimum(first, second).tolist()
    pixels = (np.arange(np.prod(size)).reshape(1, *size) % 256 / 256).astype(np.float32)
    whole = Memory(torch.from_numpy(pixels[None]))
    twice = CentreCrop(CentreCrop(whole, tuple(first)), tuple(second))
    assert twice.preprocessing
    seen = twice.preprocessing.apply(pixels)
    assert_array_equal(twice.batch([0]).image[0], seen)
    back = twice.preprocessing.undo(seen, size)
    assert_array_equal(back[back > 0], pixels[back > 0])
    assert back.sum() == seen.sum()


records = st.builds(
    Preprocessing,
    size=sizes,
    resize=st.none() | st.sampled_from(["pad", "stretch", "crop"]),
    crop=st.none() | sizes,
    normalise=st.none() | st.sampled_from(["stretch", "window", "percentiles", "none"]),
    window=st.tuples(st.floats(-1000, 0), st.floats(1, 100)),
    channels=st.none() | st.lists(st.text(max_size=5), max_size=3).map(tuple),
    mask_values=st.none()
    | st.builds(
        MaskValues.of,
        st.dictionaries(st.floats(0, 1e6), st.just("ignore"), max_size=3),
        threshold=st.none() | st.floats(0, 1),
        invert=st.booleans(),
    ),
    ignore=st.none() | st.integers(2, 255),
    spacing=st.none() | st.just((0.5, 0.75)),
)


@given(records)
def test_plain_data_say_all(record: Preprocessing) -> None:
    assert Preprocessing.from_plain(json.loads(json.dumps(record.to_plain()))) == record
    assert record.differences(record) == record.mask_differences(record) == []


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (
            {"size": [64, 64], "gamma": 2},
            "has 'gamma', which this probseg does not know; update it",
        ),
        ({"size": "64"}, "has the size '64'"),
        ({"size": [64, -1]}, "has the size"),
        ({"size": [8, 8], "resize": "shrink"}, "has the resize"),
        ({"resize": []}, "has the resize"),
        ({"window": [1, 0]}, "has the window"),
        ({"spacing": [1, 0]}, "has the spacing"),
        ({"annotators": "ann"}, "has the annotators"),
        ({"mask_values": [[1, 2, 3]]}, "has the mask_values"),
        ({"mask_values": {"palette": 1}}, "has the mask_values"),
        ({"mask_values": {"values": {"7": 300}}}, "values must map numbers"),
        ([], "must be a mapping"),
        ({"resize": "pad"}, "needs a size"),
        ({"resize": "pad", "size": [8, 10_000_000]}, "size must be an edge of 1 to 8192"),
        ({"normalise": "window"}, "needs a window"),
    ],
)
def test_damaged_records_are_refused(plain: Any, message: str) -> None:
    with pytest.raises((DataError, OptionError), match=message):
        Preprocessing.from_plain(plain)


FILES = Preprocessing(size=(128, 128), normalise="none", spacing=(1, 1), annotators=("a",))
CROPPED = replace(FILES, crop=(64, 64))
SMALL = replace(FILES, size=(64, 64), resize="pad")


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (SMALL, FILES, "size 64x64 of the model, 128x128 of the data"),
        (SMALL, replace(SMALL, resize="stretch"), "64x64 padded of the model, 64x64 stretched"),
        (SMALL, replace(SMALL, size=(64, 96)), "64x64 padded of the model, 64x96 padded"),
        (SMALL, replace(FILES, size=(64, 64)), ""),
        (
            replace(FILES, crop=(64, 64)),
            FILES,
            "128x128, cropped to 64x64 of the model, 128x128, whole",
        ),
        (CROPPED, replace(FILES, size=(64, 64)), ""),
        (CROPPED, SMALL, "128x128 of the model, 64x64 of the data"),
        (FILES, replace(FILES, size=(90, 90)), ""),
        (FILES, replace(FILES, annotators=("b",), spacing=None), ""),
        (FILES, replace(FILES, spacing=(1.0, 1.05)), ""),
        (FILES, replace(FILES, spacing=(2.0, 2.0)), "spacing 1x1 mm of the model, 2x2 mm"),
        (SMALL, replace(SMALL, spacing=(2.0, 2.0)), ""),
        (
            wanted(window=(-1000, 400)),
            wanted(window=(-1000, 1000)),
            "values from -1000 to 400 become 0 to 1; of the data: values from -1000 to 1000",
        ),
        (wanted(window=(-1000, 400)), wanted(normalise="stretch"), "each channel's own extremes"),
        (wanted(window=(-1000, 400)), wanted(), ""),
        (
            replace(FILES, channels=("red", "green", "blue")),
            replace(FILES, channels=("blue", "green", "red")),
            "channels ['red', 'green', 'blue'] of the model, ['blue', 'green', 'red'] of the data",
        ),
        (replace(FILES, channels=("red",)), FILES, ""),
    ],
)
def test_differences_are_those_that_change_the_input(
    one: Preprocessing, two: Preprocessing, words: str
) -> None:
    found = "; ".join(one.differences(two))
    assert (words in found) if words else not found
    assert bool(two.differences(one)) == bool(found)


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (
            MaskValues.of({255: "ignore"}),
            MaskValues(),
            "masks of the model: values={'255': 'ignore'}; of the data: read without options",
        ),
        (MaskValues.of({7: 1}), MaskValues.of({7: 1}), ""),
        (MaskValues(), MaskValues(invert=True), "of the data: invert=True"),
        (MaskValues(threshold=0.5), MaskValues(threshold=1), "threshold=0.5; of the data"),
        (None, MaskValues(invert=True), ""),
    ],
)
def test_differences_of_masks_are_those_of_what_their_values_mean(
    one: MaskValues | None, two: MaskValues | None, words: str
) -> None:
    model, data = replace(FILES, mask_values=one), replace(FILES, mask_values=two)
    found = "; ".join(model.mask_differences(data))
    assert (words in found) if words else not found
    assert model.differences(data) == []  # the images are the same


def test_numbers_of_numpy_are_numbers() -> None:
    low, high = np.float32(-1000), np.int64(400)
    done = wanted(np.int64(8), window=(low, high))
    assert done == wanted(8, window=(-1000, 400))
    by_hand = Preprocessing(size=(np.int64(8), np.int64(8)), window=(low, high))
    assert json.loads(json.dumps(by_hand.to_plain())) == {"size": [8, 8], "window": [-1000, 400]}


def test_pixels_of_other_axes_are_refused() -> None:
    with pytest.raises(InputError, match=r"must be \(C, H, W\), not \(8, 8\); a grey image is"):
        wanted(4).apply(grey(8, 8))


def test_packed_data_cannot_be_resized_again(tmp_path: Path) -> None:
    packed = load(write(tmp_path, {"a": grey(8, 8)}), size=4).folder
    assert folder(packed, size=4).folder == folder(packed).folder == packed
    with pytest.raises(OptionError, match="size 6x6 padded of the options, 4x4 padded of"):
        folder(packed, size=6)


@pytest.mark.parametrize("kind", [np.bool_, np.int64, np.uint16])
def test_label_maps_of_any_whole_type_go_back_to_the_size_of_the_file(kind):
    done = Preprocessing(size=(4, 4), resize="pad")
    labels = np.array([[[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]])
    back = done.undo(labels.astype(kind), (8, 16))
    assert back.dtype == kind and back.shape == (1, 8, 16)
    np.testing.assert_array_equal(back, done.undo(labels.astype(np.uint8), (8, 16)))
