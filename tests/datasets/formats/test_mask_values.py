"""What values of mask files mean, and what users are told of values that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probseg.datasets.formats.mask_values import MaskValues
from probseg.errors import DataError, OptionError

KINDS = [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
def test_values_are_mapped_one_by_one(seed, kind):
    random = np.random.default_rng(seed)
    classes = int(random.integers(2, 6))
    files = random.choice(np.arange(10, 120), size=classes, replace=False)
    mapping = {int(value): k for k, value in enumerate(files)} | {130: "ignore", 255: "ignore"}
    mask = random.choice([*files, 130, 255], (5, 7)).astype(kind)
    read = MaskValues.of(mapping, classes=classes).read(mask, classes)
    wanted = [
        [255 if mapping[int(v)] == "ignore" else mapping[int(v)] for v in row] for row in mask
    ]
    assert read.dtype == np.uint8 and read.tolist() == wanted


def test_other_values_are_classes():
    mask = np.array([[0, 1, 2, 7, 255]])
    values = MaskValues.of({255: "ignore", 7: 2})
    assert values.read(mask, 3).tolist() == [[0, 1, 2, 2, 255]]
    assert values.ignore_index == 255 and MaskValues.of({7: 2}).ignore_index is None


def test_255_is_ignored_only_if_it_is_said():
    mask = np.array([[0, 255]], np.uint8)
    assert MaskValues().read(mask, 2).tolist() == [[0, 1]]
    assert MaskValues.of({255: "ignore"}).read(mask, 2).tolist() == [[0, 255]]
    assert MaskValues.of({0: "ignore"}).read(mask, 2).tolist() == [[255, 1]]
    assert MaskValues.of({255: 0, 0: 1}).read(mask, 2).tolist() == [[1, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_threshold_is_in_the_files_own_units(kind):
    mask = np.array([[0, 100, 101, 200]]).astype(kind)
    assert MaskValues.of(threshold=100).read(mask, 2).tolist() == [[0, 0, 1, 1]]
    assert MaskValues.of(threshold=0.5).read(mask, 2).tolist() == [[0, 1, 1, 1]]
    some = MaskValues.of({200: "ignore"}, threshold=100)
    assert some.read(mask, 2).tolist() == [[0, 0, 1, 255]]


def test_an_inverted_mask_keeps_what_is_ignored():
    mask = np.array([[0, 255, 7]], np.uint8)
    assert MaskValues.of({7: "ignore"}, invert=True).read(mask, 2).tolist() == [[1, 0, 255]]
    soft = MaskValues.of({7: "ignore"}, invert=True, soft=True)
    assert soft.read(np.array([[0.0, 0.25, 7]]), 2).tolist() == [[1, 0.75, 255]]
    assert MaskValues.of(invert=True, threshold=9).read(mask, 2).tolist() == [[1, 0, 1]]


def test_soft_masks_are_probabilities():
    soft = MaskValues.of(soft=True)
    for mask, wanted in (
        (np.array([[0.0, 0.25, 1.0]]), [0, 0.25, 1]),
        (np.array([[0, 51, 255]], np.uint8), [0, 0.2, 1]),
        (np.array([[0, 1, 1]], np.uint8), [0, 1, 1]),
        (np.array([[False, True]]), [0, 1]),
    ):
        read = soft.read(mask, 2)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read[0], wanted, rtol=1e-6)


@pytest.mark.parametrize("mask", [[[0.0, 1.01]], [[-0.01, 1]], [[0, 300]], [[0.0, np.nan]]])
def test_what_is_no_probability_is_refused(mask):
    with pytest.raises(DataError, match=r"no soft mask|NaN"):
        MaskValues.of(soft=True).read(np.array(mask), 2)


@pytest.mark.parametrize(
    ("values", "classes", "remedy"),
    [
        ([0, 0.99998], 2, {"threshold": 0.5}),
        ([0, 0.7, 1], 2, {"soft": True}),
        ([0, 1, 2.00001], 3, {"values": {2.00001: 2}}),
        ([0, 1, 2.00001], 2, {"values": {2.00001: 2}, "classes": 3}),
        ([0, 0.99998, 2.00001], 3, {"values": {0.99998: 1, 2.00001: 2}}),
        ([0, 127.5, 255], 2, {"threshold": 127.5}),
        ([0, 3, 90, 254], 2, {"threshold": 127}),
        ([0, 128], 2, {"values": {128: 1}}),
        ([0, 1, 254], 2, {"values": {254: "ignore"}}),
        ([0, 1, -1], 2, {"values": {-1: "ignore"}}),
        ([0, 1, 255], 2, {"values": {255: "ignore"}}),
        ([0, 1, 2, 255], 3, {"values": {255: "ignore"}}),
        ([0, 1, 2, 255], 2, {"values": {255: "ignore"}, "classes": 3}),
        ([0, 1, 3], 3, {"classes": 4}),
    ],
)
def test_the_remedy_that_an_error_names_helps(values, classes, remedy):
    mask = np.array([values])
    with pytest.raises(DataError) as caught:
        MaskValues().read(mask, classes)
    for option, value in remedy.items():
        shown = "" if option == "classes" else f"{value}".replace("'", '"')
        assert f"{option}={shown}" in str(caught.value)
    MaskValues.of(**remedy).read(mask, remedy.get("classes", classes))


def test_values_between_classes_have_no_threshold():
    for values, told in (
        ([0, 1.5, 2], "resample such masks by nearest neighbour"),
        ([1.00001, 1.00002, 2.00001, 2.00002], "save them as whole numbers"),
    ):
        with pytest.raises(DataError, match=told) as caught:
            MaskValues().read(np.array([values]), 3)
        assert "threshold" not in str(caught.value)


def test_a_value_in_single_precision_is_named_exactly():
    mask = np.array([[0, 1, 2.00001]], np.float32)
    with pytest.raises(DataError, match=r"values=\{(\S+): 2\} makes") as caught:
        MaskValues().read(mask, 3)
    value = str(caught.value).split("values={")[1].split(":")[0]
    assert MaskValues.of({value: 2}).read(mask, 3).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("values", [[0, 0.99998], [0, 1, 7], [-1, 0, 1], [0, 0.3, 1], [0, 128]])
def test_only_options_that_are_taken_are_named(values):
    mask = np.array([values])
    with pytest.raises(DataError) as caught:
        MaskValues().read(mask, 2, takes=("threshold",))
    assert not any(option in str(caught.value) for option in ("values=", "soft", "classes="))
    threshold = float(str(caught.value).split("threshold=")[1].split()[0])
    MaskValues.of(threshold=threshold).read(mask, 2)


def test_nan_is_never_a_class():
    mask = np.array([[0, np.nan]])
    for values in (MaskValues(), MaskValues.of(threshold=0.5), MaskValues.of({7: "ignore"})):
        with pytest.raises(DataError, match=r"nan|NaN"):
            values.read(mask, 2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"values": [255]}, r'values must be a mapping, as in values=\{255: "ignore"\}'),
        ({"values": {"x": 1}}, "must map numbers in files to classes .*not 'x' to 1"),
        ({"values": {True: 1}}, "must map numbers"),
        ({"values": {255: "ignored"}}, "or to 'ignore', .*not 255 to 'ignored'"),
        ({"values": {255: -1}}, "must map numbers"),
        ({"values": {255: 1.5}}, "must map numbers"),
        ({"values": {7: 3}, "classes": 3}, "maps to class 3, but classes=3 are 0 to 2"),
        ({"values": {7: 1}, "soft": True}, "with soft=True, values= can only say what to ignore"),
        ({"values": {7: 1}, "threshold": 3}, "with threshold=, values= can only say"),
        ({"threshold": 0.5, "soft": True}, "give one"),
        ({"threshold": 0.5, "classes": 3}, "threshold= is for masks of two classes, not classes=3"),
        ({"invert": True, "classes": 3}, "invert=True is for masks of two classes"),
        ({"soft": True, "classes": 3}, "soft=True is for masks of two classes"),
        ({"values": {300: "ignore"}, "classes": 256}, "255 classes at most"),
        ({"threshold": float("nan")}, "threshold must be a finite number, not nan"),
    ],
)
def test_options_that_mean_nothing(options, text):
    with pytest.raises(OptionError, match=text):
        MaskValues.of(**options)


def test_keys_may_be_text_as_in_toml():
    wanted = MaskValues.of({255: "ignore", 7.0: 2})
    assert MaskValues.of({"255": "ignore", "7": 2}) == wanted
    assert MaskValues.of({np.uint8(255): "ignore", np.float32(7): np.int64(2)}) == wanted


def test_a_threshold_for_another_scale_empties_no_mask():
    values = MaskValues.of(threshold=128)
    assert not values.read(np.zeros((2, 2), np.uint8), 2).any()
    with pytest.raises(DataError, match=r"values up to 1, of which threshold=128 .*rescale this"):
        values.read(np.eye(2, dtype=np.uint8), 2)
