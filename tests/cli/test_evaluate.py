"""`probseg evaluate` of a part of the images, and of their middle."""

import csv

import pytest

import probseg
from probseg.datasets.splits import thin
from probseg.datasets.views import CentreCrop, Subset


@pytest.fixture
def model(tmp_path):
    network = {"name": "unet", "channels": [4, 8], "convolutions": 1}
    path = tmp_path / "model.safetensors"
    probseg.build("deterministic", backbone=network).save(path)
    return path


def test_some_images_are_scored_at_their_middle(command, model, tmp_path):
    data = ["--data", "ambiguous-shapes", "--set", "data.samples=30", "data.size=16"]
    some = ["--images", "3", "--crop", "8", "--metrics", "ged", "-n", "2"]
    out = tmp_path / "scores.csv"
    status, output, _ = command("evaluate", model, *some, "--out", out, *data)
    assert status == 0 and "3 images of 3 groups" in output
    test = probseg.split(probseg.datasets.create("ambiguous-shapes", samples=30, size=16)).test
    view = CentreCrop(Subset(test, thin(range(6), 3, seed=0)), 8)
    expected = probseg.evaluate(probseg.load(model), view, n=2, metrics=["ged"])["ged"]
    with out.open(newline="") as file:
        assert [float(row["ged"]) for row in csv.DictReader(file)] == list(expected)


@pytest.mark.parametrize("option", ["--images", "--crop"])
def test_a_number_below_one_is_refused(command, model, option):
    status, _, error = command("evaluate", model, "--data", "contours", option, "0")
    assert status == 2 and f"{option} must be an integer of at least 1" in error
