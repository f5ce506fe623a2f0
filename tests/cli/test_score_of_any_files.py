"""`probseg score` of files of another program equals an independent computation, to 1e-9."""

import contextlib
import csv
import io
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from class_scores import class_scores
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from probseg.cli import main

KINDS = ("png", "npy", "npz", "nii.gz")


def write(folder, maps, kind):
    """Write label maps (N, H, W), one file each, as another program might."""
    folder.mkdir(parents=True)
    for number, one in enumerate(maps):
        path = folder / f"{number}.{kind}"
        match kind:
            case "png":
                Image.fromarray(one).save(path)
            case "npy":
                np.save(path, one)
            case "npz":
                np.savez_compressed(path, mask=one)
            case "nii.gz":
                nibabel.save(nibabel.Nifti1Image(one.T, np.eye(4)), path)


def drawn(random, count, size, classes):
    """Return label maps: of rectangles, of scattered classes, or empty."""
    maps = np.zeros((count, *size), np.uint8)
    for one in maps:
        match random.integers(4):
            case 0:
                pass
            case 1:
                one[...] = random.integers(classes, size=size)
            case _:
                (top, bottom), (left, right) = (
                    np.sort(random.integers(s + 1, size=2)) for s in size
                )
                one[top:bottom, left:right] = random.integers(1, classes)
    return maps


cases = {
    "seed": st.integers(0, 2**32 - 1),
    "classes": st.integers(2, 4),
    "kind": st.sampled_from(KINDS),
    "samples": st.lists(st.integers(1, 6), min_size=1, max_size=4),
}


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(**cases)
@example(seed=0, classes=2, kind="png", samples=[1])
@example(seed=1, classes=4, kind="npz", samples=[6, 1, 6, 2])
def test_every_value_is_that_of_numpy_to_a_billionth(seed, classes, kind, samples):
    random = np.random.default_rng(seed)
    wanted = {}
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        for number, count in enumerate(samples):
            size = tuple(random.integers(2, 10, size=2))
            sides = {
                "samples": drawn(random, count, size, classes),
                "annotations": drawn(random, random.integers(1, 5), size, classes),
            }
            for side, maps in sides.items():
                write(root / side / f"case{number}", maps, kind)
            wanted[f"case{number}"] = class_scores(*sides.values(), classes)
        names = list(wanted["case0"])
        out = root / "scores.csv"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = main(
                [
                    *("score", "--samples", str(root / "samples"), "--classes", str(classes)),
                    *("--annotations", str(root / "annotations"), "--out", str(out)),
                    *("--metrics", *names),
                ]
            )
        assert status == 0
        with out.open(newline="") as file:
            rows = {row["image"]: row for row in csv.DictReader(file)}
    assert rows.keys() == wanted.keys()
    for case, values in wanted.items():
        found = [float(rows[case][name] or "nan") for name in names]
        assert found == pytest.approx(list(values.values()), abs=1e-9, nan_ok=True), (case, names)
