"""The values of LIDC's images can be windowed or normalised in every layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lidc_written import WRITERS, random_cases
from numpy.testing import assert_allclose

from probseg.datasets.lidc import lidc
from probseg.errors import OptionError


@pytest.mark.parametrize("layout", ["slices", "crops", "pickle"])
@pytest.mark.parametrize("normalise", ["window", "stretch", "percentiles"])
def test_every_layout_takes_a_window(layout: str, normalise: str, tmp_path: Path) -> None:
    cases = random_cases()
    root = WRITERS[layout](tmp_path / "in", cases)
    largest = 1 if layout == "pickle" else 255  # of the files' values
    window = (0.25 * largest, 0.75 * largest)
    options: dict[str, Any] = (
        {"window": window} if normalise == "window" else {"normalise": normalise}
    )
    data = lidc(root, cache=tmp_path / "cache", **options)
    images = cases.images.astype(np.float64) / 255
    ends = {"window": None, "stretch": (0, 100), "percentiles": (0.5, 99.5)}[normalise]
    for image, seen in zip(images, data.batch(range(len(images))).image, strict=True):
        low, high = (0.25, 0.75) if ends is None else np.percentile(image, ends)
        assert_allclose(seen[0], np.interp(image, (low, high), (0, 1)), atol=2e-3)
    assert data.preprocessing and data.preprocessing.normalise == normalise
    assert lidc(root, cache=tmp_path / "cache").folder != data.folder


@pytest.mark.parametrize("layout", ["slices", "crops", "pickle"])
def test_what_is_done_anyway_shares_a_cache(layout: str, tmp_path: Path) -> None:
    root = WRITERS[layout](tmp_path / "in", random_cases())
    data = lidc(root, cache=tmp_path / "cache")
    assert data.preprocessing and data.preprocessing.annotators is None
    assert lidc(root, cache=tmp_path / "cache", **data.preprocessing.options).folder == data.folder


def test_packed_data_cannot_be_windowed(tmp_path: Path) -> None:
    root = WRITERS["slices"](tmp_path / "in", random_cases())
    packed = lidc(root, cache=tmp_path / "cache").folder
    assert len(lidc(packed))
    with pytest.raises(OptionError, match=r"is packed, and not as asked for: normalisation of the"):
        lidc(packed, window=(0, 100))
