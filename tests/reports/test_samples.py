"""Pictures of samples in the HTML pages: their pixels say what the masks say."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage

from benchmarks.jobs.pictures import compact
from probseg.plots import CLASSES, Block
from probseg.reports import samples

masks = arrays(
    np.uint8, st.tuples(st.integers(2, 9), st.integers(2, 9)), elements=st.integers(0, 3)
)


def pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def encoded(picture, *, classes: int = 2):
    """A picture as a run keeps it, of one model."""
    block = Block(picture["labels"], picture["mean"], picture["sd"])
    return samples.encode(
        picture["masks"], {"csae": block}, image=picture["image"], classes=classes
    )


@given(masks)
@settings(max_examples=30, deadline=None)
def test_a_segmentation_is_filled_and_bordered_and_clear_elsewhere(labels) -> None:
    shown = pixels(samples._outlined(labels, "#0072B2"))
    cross = ndimage.generate_binary_structure(2, 1)
    inner = np.zeros(labels.shape, dtype=bool)
    for name in (1, 2, 3):
        inner |= ndimage.binary_erosion(labels == name, cross)
    opacity = np.where(labels == 0, 0, np.where(inner, 90, 255))
    assert np.array_equal(shown[..., 3], opacity)
    assert (shown[labels == 1][:, :3] == [0x00, 0x72, 0xB2]).all()


def test_maps_and_images_are_shown_on_their_scales() -> None:
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    lightness = pixels(samples._map(ramp, 1.0))[..., :3].sum(-1).ravel()
    assert (np.diff(lightness) > 0).all()
    assert np.array_equal(pixels(samples._map(ramp / 2, 0.5)), pixels(samples._map(ramp, 1.0)))
    grey = pixels(samples._grey(np.stack([ramp, 1 - ramp])))[..., 0].ravel()
    assert grey[0] == 0 and grey[-1] == 255 and (np.diff(grey) >= 0).all()


@pytest.mark.parametrize("kept", [lambda picture: picture, compact])
def test_several_classes_and_colour_images_are_shown_in_colour(kept) -> None:
    masks = np.array([[[0, 1, 2, 4]], [[0, 1, 3, 4]]], dtype=np.uint8)
    image = np.linspace(0, 1, 12).reshape(3, 1, 4)[::-1].astype(np.float16)
    flat = np.zeros((1, 4), dtype=np.float16)
    picture = {"image": image, "masks": masks, "labels": masks, "mean": flat, "sd": flat}
    shown = encoded(kept(picture), classes=5)
    row = pixels(shown["models"]["csae"]["samples"][1])[0, 1:]
    colours = [f"#{r:02X}{g:02X}{b:02X}" for r, g, b, _ in row]
    assert colours == [CLASSES[k] for k in (0, 2, 3)]
    assert colours == [shown["classes"][f"class {k}"] for k in (1, 3, 4)]
    assert shown["annotators"]["samples"] == shown["models"]["csae"]["samples"]
    assert list(shown["classes"]) == ["class 1", "class 2", "class 3", "class 4"]
    seen = np.moveaxis(pixels(shown["image"])[..., :3], -1, 0) / 255
    assert seen == pytest.approx(image.astype(float), abs=0.01)


@pytest.mark.parametrize("kept", [lambda picture: picture, compact])
def test_what_nobody_labelled_is_hatched_and_told(kept) -> None:
    masks = np.ma.masked_equal(np.array([[[1, 0, 255]], [[1, 255, 255]]], dtype=np.uint8), 255)
    flat = np.zeros((1, 3), dtype=np.float16)
    picture = {"image": flat[None], "masks": masks, "labels": masks.data % 2}
    shown = encoded(kept({**picture, "mean": flat, "sd": flat}))
    greys = {(150, 150, 150, 255), (90, 90, 90, 255)}
    annotators = shown["annotators"]
    tiles = [*annotators["samples"], annotators["mean"], annotators["sd"]]
    hatched = [[tuple(pixel) in greys for pixel in pixels(tile)[0].tolist()] for tile in tiles]
    assert hatched == [[False, False, True], [False, True, True], *[[False, False, True]] * 2]
    assert shown["unlabelled"] and annotators["areas"] == [0.3333] * 2
    assert not greys & set(map(tuple, pixels(shown["models"]["csae"]["mean"])[0].tolist()))


def test_mean_and_spread_are_of_all_masks_and_some_are_shown() -> None:
    drawn = np.zeros((5, 4, 4), np.uint8)
    drawn[3:] = 1
    block = Block.of_annotations(drawn)
    few = samples.encode(drawn, {"a": block}, most=2)
    whole = samples.encode(drawn, {"a": block})
    for one, all_ in (
        (few["annotators"], whole["annotators"]),
        (few["models"]["a"], whole["models"]["a"]),
    ):
        assert len(one["samples"]) == len(one["areas"]) == 2 and len(all_["samples"]) == 5
        assert (one["mean"], one["sd"]) == (all_["mean"], all_["sd"])
