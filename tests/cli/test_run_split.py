"""A run knows how its data were split, so that no command takes what it learnt from for other."""

import csv
import shutil

import pytest

import probseg
from probseg.cli.run_split import RunSplit, read_split
from probseg.datasets.splits import split
from probseg.errors import CheckpointError

SIZES = ["data.samples=30", "data.size=16"]
TINY = [*SIZES, "training.max_steps=2", "training.batch_size=4"]
NETS = ["model.backbone.name=unet", "model.backbone.channels=[4, 8]", "model.latent_dim=2"]
SHAPES = ["--data", "ambiguous-shapes"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a seed of its own."""
    from probseg.cli import main

    out = tmp_path_factory.mktemp("split") / "run"
    arguments = ["train", "punet", *SHAPES, "--seed", "3", "--out", str(out), "-n", "2"]
    assert main([*arguments, "--set", *TINY, *NETS]) == 0
    return out


def shapes(seed):
    return probseg.split(
        probseg.datasets.create("ambiguous-shapes", samples=30, size=16), seed=seed
    )


@pytest.mark.parametrize("seed", [[], ["--seed", "3"], ["--seed", "5"]])
@pytest.mark.parametrize("model", ["", "best.safetensors"])
def test_the_validation_images_are_those_of_the_run(run, command, tmp_path, model, seed):
    out = tmp_path / "scores.csv"
    options = ["--part", "validation", "--metrics", "annotator-diversity", "-n", "2", *seed]
    options += ["--out", out]
    assert command("evaluate", run / model, *SHAPES, *options, "--set", *SIZES)[0] == 0
    with out.open(newline="") as file:
        found = [float(row["annotator-diversity"]) for row in csv.DictReader(file)]
    loaded = probseg.load(run / "best.safetensors")
    of_seed = {
        seed: list(
            probseg.evaluate(loaded, shapes(seed).validation, 2, metrics=["annotator-diversity"])[
                "annotator-diversity"
            ]
        )
        for seed in (0, 3, 5)
    }
    assert found == of_seed[3] and found not in (of_seed[0], of_seed[5])


def test_calibration_takes_the_validation_images_of_the_run(run, command, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    assert command("calibrate", run, "-n", "2", "--out", out, *SHAPES, "--set", *SIZES)[0] == 0
    expected = probseg.load(run / "best.safetensors")
    probseg.calibrate(expected, shapes(3).validation, n=2)
    assert probseg.load(out).calibration == expected.calibration


def test_a_run_is_not_continued_with_another_split(run, command):
    again = ["train", "punet", *SHAPES, "--out", run, "-n", "2", "--set", *TINY, *NETS]
    status, _, error = command(*again)
    assert status == 2 and "were split by --seed 3, and not by --seed 0" in error
    assert read_split(run) == RunSplit(3)


def test_a_run_without_the_file_is_not_given_the_split_of_a_refused_command(run, command, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "split.json").unlink()
    again = ["train", "punet", *SHAPES, "--out", folder, "-n", "2", "--set", *TINY, *NETS]
    assert command(*again)[0] != 0 and read_split(folder) is None
    assert command(*again[:4], "--seed", "3", *again[4:])[0] == 0
    assert read_split(folder) == RunSplit(3)


def test_a_run_of_a_protocol_is_not_tested_on_another_split(run, command, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    RunSplit(0, "own").keep(folder)
    options = ["-n", "2", "--metrics", "ged", "--set", *SIZES]
    status, _, error = command("evaluate", folder, *SHAPES, *options)
    assert status == 2 and "give --protocol own as well; for data" in error
    for way in (["--protocol", "own"], ["--part", "all"]):
        assert command("evaluate", folder, *SHAPES, *way, *options)[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"seed": -1}', '{"seed": "0"}', '{"seed": 0, "x": 1}'),
        *('{"seed": 0, "fold": 3, "folds": 3}', '{"seed": 0, "by": "slice"}'),
    ],
)
def test_a_damaged_file_is_told(tmp_path, text):
    (tmp_path / "split.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"split\.json is damaged"):
        read_split(tmp_path)


def test_a_model_of_the_benchmark_is_split_as_it_was_there(run, command, tmp_path):
    folder, out = tmp_path / "cell", tmp_path / "scores.csv"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    data = probseg.datasets.create("ambiguous-shapes", samples=30, size=16)
    written = split(data.groups, fold=1, seed=2, by="image")
    (folder / "split.json").write_text(written.to_json(), encoding="utf-8")
    options = ["--part", "validation", "--metrics", "annotator-diversity", "-n", "2", "--out", out]
    assert command("evaluate", folder, *SHAPES, *options, "--set", *SIZES)[0] == 0
    with out.open(newline="") as file:
        found = [float(row["annotator-diversity"]) for row in csv.DictReader(file)]
    part = probseg.datasets.views.subset(data, written.validation)
    expected = probseg.evaluate(
        probseg.load(folder / "model.safetensors"), part, 2, metrics=["annotator-diversity"]
    )
    assert found == list(expected["annotator-diversity"])
    status, _, error = command("evaluate", folder, *SHAPES, "--protocol", "own", "--set", *SIZES)
    assert status == 2 and "trained with fold 1 of 3 by image with seed 2" in error


def test_a_protocol_that_did_not_split_the_data_of_a_run_is_refused(run, command, tmp_path):
    options = ["-n", "2", "--metrics", "ged", "--set", *SIZES]
    for part in ([], ["--part", "validation"]):
        status, _, error = command("evaluate", run, *SHAPES, "--protocol", "own", *part, *options)
        assert status == 2 and "trained with --seed 3" in error and "leave --protocol out" in error
        assert "copy its file out of the run's folder" in error
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((run / "best.safetensors").read_bytes())
    assert command("evaluate", copy, *SHAPES, "--protocol", "own", *options)[0] == 0


def test_a_protocol_splits_alike_whatever_the_seed():
    assert RunSplit.chosen(1, "own") == RunSplit.chosen(0, "own") == RunSplit(0, "own")
    assert RunSplit.chosen(1, None) == RunSplit(1)
