"""`probseg train` and `evaluate`: what they choose, write, print and refuse."""

import csv
import shlex
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import probseg
from probseg.cli.train_defaults import choose_model
from probseg.training.settings import TrainingSettings

TINY = ["data.samples=30", "data.size=16", "training.max_steps=2", "training.batch_size=4"]
NETS = ["model.backbone.name=unet", "model.backbone.channels=[4, 8]", "model.latent_dim=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, and the arguments that made it."""
    from probseg.cli import main

    out = tmp_path_factory.mktemp("train") / "run"
    arguments = ["train", "punet", "--data", "ambiguous-shapes", "--out", str(out), "-n", "3"]
    arguments += ["--set", *TINY, *NETS]
    assert main(arguments) == 0
    return out, arguments


def test_a_run_leaves_a_model_scores_and_a_picture(trained):
    out, _ = trained
    model = probseg.load(out / "best.safetensors")
    assert (model.in_channels, model.classes, model.spec["beta"]) == (1, 2, 1.0)
    prior = model.spec["decoder"]["class_prior"]
    assert sum(prior) == pytest.approx(1) and prior[0] > prior[1]
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and all(float(row["ged"]) >= 0 for row in rows)
    assert (out / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_trains_no_more_and_says_what_is_next(trained, command):
    out, arguments = trained
    before = (out / "best.safetensors").stat().st_mtime_ns
    status, output, error = command(*arguments)
    assert status == 0 and (out / "best.safetensors").stat().st_mtime_ns == before
    assert "scoring 6 test images" in error
    assert ("Train longer" in output) == ("no sample marks anything" in output)
    for told in ("30 images of 30 groups", "max_steps=2", "probseg evaluate", "ged"):
        assert told in output


def test_evaluate_gives_the_scores_of_the_run(trained, command, tmp_path):
    out, _ = trained
    data = ["--data", "ambiguous-shapes", "--set", *TINY[:2]]
    file = tmp_path / "again.csv"
    status, output, _ = command("evaluate", out, "-n", "3", "--out", file, *data)
    assert status == 0 and "6 images of 6 groups" in output
    assert file.read_text() == (out / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train", "csea", "--data", "x"], 2, "did you mean 'csae'"),
        (["train", "csae", "--data", "contuors"], 2, "did you mean 'contours'"),
        (["train", "csae", "--data", "contours", "--set", "size=3"], 2, "SECTION.KEY=VALUE"),
        (["train", "csae", "--data", "contours", "--set", "modle.beta=3"], 2, "did you mean"),
        (["train", "csae", "--data", "contours", "-n", "0"], 2, "-n must be"),
        (["train", "csae", "--data", "contours", "--set", "model.name=x"], 2, "first argument"),
        (
            ["train", "csae", "--data", "contours", "--set", "model.beat=3"],
            2,
            "did you mean 'beta'",
        ),
        (["train", "csae", "--data", "contours", "--set", "training.max_steps=-5"], 2, "not -5"),
        (["train", "csae", "--data", "contours", "--set", "training.batchsize=4"], 2, "batch_size"),
        (["train", "csae", "--data", "contours", "--set", "training.device=gpu"], 2, "not 'gpu'"),
        (
            ["train", "punet", "--data", "contours", "--set", "model.geco=0.05"],
            2,
            "a setting of training: give it to --set training.geco=…",
        ),
        (
            ["train", "csae", "--data", "contours", "--set", "model.encoder={name: mixture}"],
            2,
            "write model.encoder.name=NAME",
        ),
        (["evaluate", "nowhere", "--data", "contours"], 1, "nowhere"),
        (["evaluate", ".", "--data", "contours"], 1, "holds no model.safetensors or best"),
        (["evaluate", "x", "--data", "contours", "--out", "."], 2, "such as scores.csv"),
    ],
)
def test_what_makes_no_sense_is_told(command, tmp_path, arguments, status, message):
    out = ["--out", tmp_path / "run"] if arguments[0] == "train" else []
    got, _, error = command(*arguments, *out)
    assert got == status and message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def write(root, count=8, classes=2, channels=1, size=16, who=("ann", "bob")):
    """Write images with discs, each annotator's a little larger, in a folder of one's own."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for number in range(count):
        distance = np.hypot(*(axis - random.uniform(5, 11) for axis in (y, x)))
        image = np.clip(200 - 20 * distance + random.uniform(0, 40, (size, size)), 0, 255)
        files = {f"images/case{number}.png": np.dstack([image] * 3) if channels == 3 else image}
        for reach, name in enumerate(who, start=3):
            mask = sum((distance < reach * level).astype(int) for level in (1, 0.5)[: classes - 1])
            files[f"masks/case{number}/{name}.png"] = mask
        for name, pixels in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name)
    return root


@pytest.fixture
def train(command, tmp_path, monkeypatch):
    """A function that trains a tiny model on a folder."""
    monkeypatch.setenv("PROBSEG_CACHE", str(tmp_path / "cache"))

    def train(data, *more, out=tmp_path / "run"):
        given = ["--data", data, "--out", out, "-n", "2", "--set", TINY[2], *NETS, *more]
        return command("train", "punet", *given)

    return train


def test_the_commands_it_ends_with_work_when_they_are_pasted(train, command, tmp_path):
    data = write(tmp_path / "Übung's Daten", classes=3, channels=3)
    status, output, error = train(data, "data.size=12", out=tmp_path / "ein Lauf")
    assert status == 0, error
    assert "3 channels, 3 classes" in output and "step 2 of 2: train " in error
    commands = [shlex.split(line) for line in output.splitlines() if line.startswith("  probseg ")]
    assert [words[1] for words in commands] == ["predict", "evaluate"]
    for words in commands:
        status, _, error = command(*words[1:])
        assert status == 0, error
    (predicted,) = (tmp_path / "ein Lauf/predicted").iterdir()
    with Image.open(predicted / "sample-01.png") as sample:
        assert sample.size == (16, 16)  # the image's own, not that of training
    assert train(data, "data.size=12", out=tmp_path / "ein Lauf")[0] == 0  # its own folder


def test_what_it_chose_can_be_given_again(train, tmp_path):
    data = write(tmp_path / "data")
    output = train(data)[1]
    line = next(line for line in output.splitlines() if line.startswith("model: "))
    words = [word for word in shlex.split(line) if word.startswith("model.")]
    assert "model.beta=1.0" in words
    assert line in train(data, *words, out=tmp_path / "again")[1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root / "images"), "holds no images/ID.png"),
        (lambda root: shutil.rmtree(root / "masks"), "has no annotation masks/case0/ANNOTATOR.png"),
        (lambda root: shutil.rmtree(root / "masks/case3"), "skip"),
        (lambda root: (root / "images/case3.png").unlink(), "has no image images/case3.png"),
        (lambda root: (root / "images/case3.png").write_bytes(b"x"), "not a complete PNG"),
        (lambda root: write(root, 1, size=9), "--set data.size= to resize all"),
        (
            lambda root: (root / "groups.csv").write_text(
                "id,group\n" + "".join(f"case{number},p\n" for number in range(8))
            ),
            "8 images of 1 group, such as patients; training, validation and test need 4",
        ),
        (lambda root: [shutil.rmtree(root / "masks" / f"case{n}") for n in range(8)], "case0"),
    ],
    ids=["images", "masks", "a mask", "an image", "png", "sizes", "groups", "nobody"],
)
def test_data_that_cannot_be_trained_on_are_told_and_leave_nothing(train, tmp_path, spoil, message):
    data = write(tmp_path / "data")
    spoil(data)
    status, _, error = train(data)
    assert status == 1 and message in error
    assert 'on_fault="skip"' not in error  # which nobody can type
    assert not (tmp_path / "run").exists()


def test_samples_that_cannot_be_read_are_left_out_as_the_error_says(train, tmp_path):
    data = write(tmp_path / "data")
    (data / "images/case3.png").write_bytes(b"x")
    assert "--set data.on_fault=skip" in train(data)[2]
    assert "7 images of 7 groups" in train(data, "data.on_fault=skip")[1]


def test_a_folder_that_is_not_the_runs_is_refused_and_kept(train, tmp_path):
    data, other = write(tmp_path / "data"), write(tmp_path / "other", count=9)
    assert "holds other files (images, masks)" in train(data, out=data)[2]
    (tmp_path / "run").mkdir()
    assert train(data)[0] == 0  # into an empty folder
    best = (tmp_path / "run/best.safetensors").read_bytes()
    for more, difference in (
        (["model.latent_dim=3"], "whose model.latent_dim is 2, not 3; choose another folder with"),
        (["training.max_steps=3"], "whose max_steps is 2, not 3"),
        ([], "whose training data is another"),
    ):
        status, _, error = train(data if more else other, *more)
        assert status == 1 and difference in error and "--out" in error and "out=" not in error
    assert (tmp_path / "run/best.safetensors").read_bytes() == best


def test_a_model_of_other_images_is_refused(train, command, tmp_path):
    data, colour = write(tmp_path / "data"), write(tmp_path / "colour", channels=3)
    assert train(data)[0] == 0
    status, _, error = command("evaluate", tmp_path / "run", "--data", colour)
    assert status == 1 and "in_channels=1" in error
    image = colour / "images/case0.png"
    status, _, error = command("predict", tmp_path / "run", image, "--out", tmp_path / "p")
    assert status == 1 and "has 3 channels, but the model was trained on images of 1" in error
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("where", ["choose", "step", "probseg.evaluate", "sample_sheet"])
def test_interrupted_anywhere_the_same_command_ends_as_if_it_never_was(
    train, tmp_path, monkeypatch, where
):
    data, whole = write(tmp_path / "data"), tmp_path / "whole"
    assert train(data, out=whole)[0] == 0
    place = {
        "choose": "probseg.cli.train_defaults.class_prior",
        "step": "probseg.training.module.TrainingModule.validation_step",
        "probseg.evaluate": "probseg.evaluate",
        "sample_sheet": "probseg.plots.sample_sheet",
    }[where]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(place, stop)
        status, _, error = train(data)
    assert status == 130
    assert error.splitlines()[-1].startswith("interrupted; the same command again goes on")
    assert not (tmp_path / "run/samples.png").exists()
    assert train(data)[0] == 0
    for name in ("scores.csv", "samples.png"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    one, other = (load_file(run / "best.safetensors") for run in (tmp_path / "run", whole))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_the_networks_of_a_hierarchical_model_are_small_on_a_cpu():
    data = probseg.datasets.create("ambiguous-shapes", size=32, samples=4)
    chosen = choose_model("hierarchical", {"beta": 2.0}, data, TrainingSettings(device="cpu"))
    model = probseg.build("hierarchical", like=data, **chosen)
    assert sum(p.numel() for p in model.parameters()) < 2e6
    assert (model.spec["norm"], model.spec["beta"]) == ("batch", 2.0)
