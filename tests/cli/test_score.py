"""`probseg score`: two folders of masks in, a table and a CSV file out."""

import csv

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folders(tmp_path):
    """Two folders of random masks of the same four images."""
    random = np.random.default_rng(0)
    for side, count in (("samples", 4), ("annotations", 3)):
        for index in range(4):
            folder = tmp_path / side / f"case{index}"
            folder.mkdir(parents=True)
            for number in range(count):
                mask = random.integers(2, size=(16, 16), dtype=np.uint8)
                Image.fromarray(mask * np.uint8(255)).save(folder / f"{number}.png")
    return ["--samples", str(tmp_path / "samples"), "--annotations", str(tmp_path / "annotations")]


def test_a_table_and_each_images_values(command, folders, tmp_path):
    groups = tmp_path / "groups.csv"
    groups.write_text("id,group\n" + "".join(f"case{i},patient{i % 2}\n" for i in range(4)))
    more = ["--metrics", "ged", "hungarian-iou", "--groups", str(groups)]
    status, output, _ = command("score", *folders, *more, "--out", str(tmp_path / "scores.csv"))
    assert status == 0 and "4 images of 2 groups, 4 samples each" in output
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"case{index}" for index in range(4)]
    assert [row["group"] for row in rows] == ["patient0", "patient1"] * 2
    mean = np.mean([float(row["ged"]) for row in rows])
    assert f"{mean:.3f}" in output


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--classes", "1"], 2, "--classes must be 2 to 256"),
        (["--metrics", "gedd"], 2, "did you mean 'ged'"),
        (["--groups", "none.csv"], 1, "none.csv cannot be read"),
        (["--out", "."], 2, "such as scores.csv"),
        (["--samples", "nowhere"], 1, "there is no folder nowhere"),
    ],
)
def test_what_makes_no_sense_is_told(command, folders, more, status, message):
    got, _, error = command("score", *folders, *more)
    assert got == status and message in error


def test_pixels_that_nobody_labelled_and_soft_masks(command, folders, tmp_path):
    hidden = tmp_path / "annotations/case2/1.png"
    pixels = np.asarray(Image.open(hidden)) // 255
    pixels[:, 12:] = 255
    Image.fromarray(pixels).save(hidden)
    metrics = ["--metrics", "ged", "w-cross-entropy"]
    status, _, error = command("score", *folders, *metrics)
    assert status == 1 and "if nobody labelled pixels of 255, --values 255=ignore" in error
    assert command("score", *folders, *metrics, "--values", "255=ignore")[0] == 0
    soft = tmp_path / "samples/case1/0.png"
    np.save(soft.with_suffix(".npy"), np.asarray(Image.open(soft)) / 300)
    soft.unlink()
    status, _, error = command("score", *folders, *metrics, "--values", "255=ignore")
    assert status == 1 and "--threshold 0.5 makes two classes of them" in error
    options = ["--values", "255=ignore", "--threshold", "0.5"]
    assert command("score", *folders, *metrics, *options)[0] == 0
    status, _, error = command("score", *folders, *metrics, "--values", "255=ignored")
    assert status == 2 and "or to 'ignore'" in error


def test_probabilities_and_several_programs(command, tmp_path):
    random = np.random.default_rng(1)
    p, drawn = random.random((2, 5, 8, 8)), random.integers(2, size=(5, 3, 8, 8), dtype=np.uint8)
    for case in range(5):
        for side, array in (("a", p[0, case]), ("b", p[1, case]), ("masks", drawn[case])):
            (tmp_path / side / f"case{case}").mkdir(parents=True)
            np.save(tmp_path / side / f"case{case}" / "0.npy", array)
    status, output, error = command(
        *("score", "--samples", tmp_path / "a", f"other={tmp_path / 'b'}", "--probabilities"),
        *("--annotations", tmp_path / "masks", "--metrics", "brier", "ged"),
        *("--out", tmp_path / "scores.csv", "--report", tmp_path / "r.html"),
    )
    assert status == 0, error
    brier = ((p - drawn.mean(1)) ** 2).mean((1, 2, 3))
    for value in (*brier, brier[0] - brier[1]):
        assert f"{abs(value):.3f}" in output
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == ["a"] * 5 + ["other"] * 5
    assert (tmp_path / "r.html").exists()


def test_the_conventions_of_papers(command, folders):
    status, output, error = command("score", *folders, "--conventions")
    assert status == 0, error
    assert "HM-IoU, rectangular" in output and "GED, no mask with itself" in output
    status, _, error = command("score", *folders, "--conventions", "--metrics", "ged")
    assert status == 2 and "--metrics" in error


def test_remedies_for_samples_are_true(command, folders, tmp_path):
    sample = tmp_path / "samples/case1/0.png"
    pixels = np.asarray(Image.open(sample)).copy()
    pixels[0] = 1
    pixels[1] = 255
    Image.fromarray(pixels).save(sample)
    status, _, error = command("score", *folders, "--metrics", "ged")
    assert status == 1 and "0.png: is no mask of 0 and 1" in error
    assert "save masks of the classes 0 to 1" in error and "--values" not in error
    Image.fromarray((pixels > 1).astype(np.uint8) * np.uint8(2)).save(sample)
    status, _, error = command("score", *folders, "--metrics", "ged")
    assert status == 1 and "give their number with --classes" in error


def test_a_table_and_a_page_are_two_files(command, folders, tmp_path):
    both = ["--out", tmp_path / "x", "--report", tmp_path / "." / "x"]
    status, _, error = command("score", *folders, *both)
    assert status == 2 and "give two files" in error and not (tmp_path / "x").exists()
