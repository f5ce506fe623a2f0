"""A trained model remembers what was done to its images, and so do its commands."""

import csv
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from training_toys import ToyModel

import probseg
from probseg.datasets.formats.mask_values import MaskValues
from probseg.datasets.formats.nifti import Reorientation, read_nifti
from probseg.datasets.formats.preprocessing import resize_images, resize_masks
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.views import CentreCrop
from probseg.errors import InputError

HEIGHT, WIDTH = 96, 76


def _write(root, height=HEIGHT, width=WIDTH, count=6):
    """Images of several sizes, with a bright ellipse that two people outline."""
    random = np.random.default_rng(0)
    for number in range(count):
        extent = height + 4 * number, width
        y, x = np.mgrid[: extent[0], : extent[1]]
        row, column = random.uniform(0.4, 0.6, 2) * extent
        distance = np.hypot((y - row) / 2, x - column)
        image = np.where(distance < width / 5, 200, 40) + random.normal(0, 5, extent)
        files = {f"images/{number}": image}
        files |= {f"masks/{number}/{a}": 255 * (distance < width / (5 + a)) for a in (0, 1)}
        for name, pixels in files.items():
            path = root / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("data") / "mine")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A model that learnt from images of several sizes, which were padded to 32 x 32."""
    out = tmp_path_factory.mktemp("train")
    data = probseg.datasets.create("folder", root=folder, size=32, cache=out / "cache")
    train, validation, test = probseg.split(data)
    net = {"channels": [4, 8], "convolutions": 1}
    parts = {"backbone": {"name": "unet", **net}, "encoder": {"name": "axis-aligned", **net}}
    model = probseg.build("punet", like=data, latent_dim=2, **parts)
    options = {"max_steps": 2, "batch_size": 2, "progress": False}
    probseg.fit(model, train, validation, out=out / "run", **options)
    model = probseg.load(out / "run/best.safetensors")
    probseg.evaluate(model, test, n=2).to_csv(out / "run/scores.csv")
    return out / "run"


def test_the_file_of_a_run_says_what_was_done(run):
    learnt = probseg.load(run / "best.safetensors").preprocessing
    assert learnt == Preprocessing(
        size=(32, 32),
        resize="pad",
        normalise="none",
        window=(0, 255),
        channels=("grey",),
        mask_values=MaskValues(),
        annotators=("0", "1"),
    )


def test_evaluate_opens_data_as_they_were(run, folder, command, tmp_path):
    status, output, _ = command("evaluate", run, "--data", folder, "-n", 2, "--out", tmp_path / "a")
    assert status == 0 and "learnt from" not in output
    assert (tmp_path / "a").read_text() == (run / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--set", "data.size=64"],
            "--set data.size=64, but the model learnt from images with size=32",
        ),
        (["--set", "data.resize=stretch"], "--set data.resize=stretch, but the model learnt from"),
        (["--set", "data.window=[0,9]"], "--set data.window=0,9, but the model learnt from"),
        (["--crop", "16"], "--crop 16, but the model learnt from whole images of 32x32"),
    ],
)
def test_evaluate_refuses_what_contradicts_the_model(run, folder, command, options, message):
    status, output, error = command("evaluate", run, "--data", folder, *options)
    assert (status, output) == (2, "") and message in error and "--as-is" in error


def test_evaluate_takes_other_images_on_purpose(run, folder, command):
    options = ["-n", 2, "--metrics", "ged", "--as-is", "--set", "data.size=64"]
    assert command("evaluate", run, "--data", folder, *options)[0] == 0


def test_masks_are_read_as_those_that_the_model_learnt_from(folder, command, tmp_path):
    """Pixels of 255, which nobody labelled, would otherwise be the foreground."""
    options = {"size": 32, "values": {255: "ignore"}, "cache": tmp_path / "cache"}
    data = probseg.datasets.create("folder", root=folder, **options)
    model = ToyModel()
    model.preprocessing = data.preprocessing
    other = probseg.datasets.create("folder", root=folder, size=32, cache=tmp_path / "cache")
    with pytest.raises(InputError, match=r"values={'255': 'ignore'}; of the data: read without"):
        probseg.evaluate(model, other, n=2)
    saved = tmp_path / "punet.safetensors"
    net = {"channels": [4, 8], "convolutions": 1}
    parts = {"backbone": {"name": "unet", **net}, "encoder": {"name": "axis-aligned", **net}}
    model = probseg.build("punet", like=data, latent_dim=2, **parts)
    model.preprocessing = data.preprocessing
    model.save(saved)
    evaluate = ["evaluate", saved, "--data", folder, "-n", 2, "--metrics", "ged", "--part", "all"]
    status, output, _ = command(*evaluate)
    assert status == 0 and "ged" in output.lower()
    told = [*evaluate, "--set", "data.values.255=1"]  # what the masks of these data mean
    assert command(*told)[1] != output


def test_packed_data_of_another_size_are_refused(run, folder, command, tmp_path):
    packed = tmp_path / "packed"
    pack = ["data", "pack", folder, "--out", packed, "--set", "data.size=64"]
    assert command(*pack)[0] == 0
    status, _, error = command("evaluate", run, "--data", packed)
    assert status == 1 and "size 32x32 padded of the model, 64x64 padded of the data" in error


def _by_hand(run, pixels, n):
    """The labels and the mean that a user gets who pads, resizes and undoes that by hand."""
    model = probseg.load(run / "best.safetensors")
    height, width = pixels.shape
    inner = round(32 * width / height)
    left = (32 - inner) // 2
    framed = np.zeros((32, 32))
    framed[:, left : left + inner] = resize_images(pixels[None, None], (32, inner))[0, 0]
    image = torch.from_numpy(np.rint(framed) / 255).float()[None, None]
    samples = model.sample(image, n, generator=torch.Generator().manual_seed(0))[:, 0]
    samples = samples[..., left : left + inner].numpy()
    labels = samples.argmax(1).astype(np.uint8)
    mean = resize_images(samples.mean(0)[None], (height, width))[0, 1]
    return resize_masks(labels[None], (height, width))[0], mean


def test_predict_does_the_same_and_undoes_it(run, folder, command, tmp_path):
    file, out = folder / "images/3.png", tmp_path / "out"
    status, _, said = command("predict", run, file, "--out", out, "-n", 3)
    assert status == 0 and "images are resized to 32x32, padded" in said
    pixels = np.asarray(Image.open(file))
    labels, mean = _by_hand(run, pixels, 3)
    written = np.asarray(Image.open(out / "3/mean.png")) / 65535
    assert written.shape == pixels.shape and np.abs(written - mean).max() < 1e-4
    for number, label in enumerate(labels, start=1):
        sample = np.asarray(Image.open(out / f"3/sample-{number}.png"))
        assert np.array_equal(sample, 255 * label)
    about = json.loads((out / "3/about.json").read_text())
    assert about["preprocessing"]["size"] == [32, 32] and about["unseen"] == 0


AFFINES = {
    "LPS": np.diag([-0.5, -0.5, 2, 1]),
    "RAS": np.diag([0.5, 0.75, 2, 1]),
    "turned": np.array([[0, -0.75, 0, 3], [0.5, 0, 0, 1], [0, 0, 2, 0], [0, 0, 0, 1]]),
    "turned and flipped": np.array([[0, 0.75, 0, 3], [-0.5, 0, 0, 1], [0, 0, 2, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_a_resized_nifti_comes_back_on_its_own_voxels(run, folder, command, tmp_path, name):
    upright = np.asarray(Image.open(folder / "images/3.png"))
    turned = name.startswith("turned")
    shape = upright.shape if turned else upright.T.shape
    empty = nibabel.Nifti1Image(np.zeros(shape, np.uint8), AFFINES[name])
    orientation = Reorientation(read_nifti(empty.to_bytes(), flat=True), axis=2)
    voxels = orientation.inverse(upright[None, None])[..., 0, 0]
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINES[name]), tmp_path / "case.nii.gz")
    arguments = [tmp_path / "case.nii.gz", "--out", tmp_path / "out", "-n", 3]
    assert command("predict", run, *arguments)[0] == 0
    mean = nibabel.load(tmp_path / "out/case/mean.nii.gz")
    assert np.array_equal(mean.affine, AFFINES[name]) and mean.shape == shape
    expected = orientation.inverse(_by_hand(run, upright, 3)[1][None, None])[..., 0, 0]
    assert np.abs(mean.get_fdata() - expected).max() < 1e-4


def test_predict_refuses_what_contradicts_the_model(run, folder, command, tmp_path):
    predict = ("predict", run, folder / "images/3.png", "--out", tmp_path / "out", "-n", 1)
    for option in ("--size=64", "--window=0,9"):
        status, output, error = command(*predict, option)
        assert (status, output) == (2, "") and "the model learnt from images with" in error
        assert not (tmp_path / "out").exists()
    assert command(*predict, "--size=32")[0] == 0
    status, _, said = command(*predict, "--existing=replace", "--as-is", "--size=64")
    assert status == 0 and "images are resized to 64x64" in said


def test_a_crop_is_cut_out_of_new_images_and_the_rest_is_background(run, command, tmp_path):
    model = probseg.load(run / "best.safetensors")
    model.preprocessing = Preprocessing(size=(40, 40), crop=(16, 24), normalise="none")
    model.save(tmp_path / "m.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    arguments = [tmp_path / "a.png", "--out", tmp_path / "out", "-n", 2]
    status, _, said = command("predict", tmp_path / "m.safetensors", *arguments)
    assert status == 0
    assert "of 1 of 1 images the model saw the middle 16x24 only" in said
    assert "76 % of each was not seen" in said
    image = torch.from_numpy(pixels[12:28, 8:32] / 255).float()[None, None]
    samples = model.sample(image, 2, generator=torch.Generator().manual_seed(0))
    mean = np.asarray(Image.open(tmp_path / "out/a/mean.png")) / 65535
    assert np.abs(mean[12:28, 8:32] - samples.mean((0, 1))[1].numpy()).max() < 1e-4
    mean[12:28, 8:32] = 0
    assert not mean.any()
    about = json.loads((tmp_path / "out/a/about.json").read_text())
    assert about["unseen"] == pytest.approx(1 - 16 * 24 / 1600)


def test_values_that_are_too_large_are_told_what_predict_takes(run, command, tmp_path):
    model = probseg.load(run / "best.safetensors")
    model.preprocessing = Preprocessing(size=(32, 32), normalise="none")
    model.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "a.npy", np.linspace(-1000, 1000, 1024, dtype=np.float32).reshape(32, 32))
    arguments = ["predict", tmp_path / "m.safetensors", tmp_path / "a.npy", "-n", 1, "--out"]
    status, _, said = command(*arguments, tmp_path / "out")
    assert status == 1 and "percentiles" not in said
    assert "scale them as the images were that the model learnt from" in said
    assert command(*arguments, tmp_path / "out", "--as-is", "--window=-1000,400")[0] == 0


def test_a_picture_with_a_palette_is_its_colours(run, command, tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    palette = Image.fromarray(255 - grey, "P")  # of which each index is the opposite grey
    palette.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
    palette.save(tmp_path / "b.png")
    arguments = [tmp_path / "a.png", tmp_path / "b.png", "-n", 1, "--out", tmp_path / "out"]
    assert command("predict", run, *arguments)[0] == 0
    means = [np.asarray(Image.open(tmp_path / f"out/{name}/mean.png")) for name in "ab"]
    assert np.array_equal(*means)


def test_a_crop_of_the_training_data_is_that_of_evaluate(command, tmp_path):
    data = CentreCrop(probseg.datasets.create("ambiguous-shapes", samples=30, size=16), 8)
    train, validation, test = probseg.split(data)
    net = {"name": "unet", "channels": [4, 8], "convolutions": 1}
    model = probseg.build("deterministic", backbone=net)
    probseg.fit(model, train, validation, out=tmp_path / "run", max_steps=1, progress=False)
    expected = probseg.evaluate(model, test, n=2, metrics=["ged"])["ged"]
    options = ["--data", "ambiguous-shapes", "--set", "data.samples=30", "data.size=16"]
    file = tmp_path / "scores.csv"
    score = ["evaluate", tmp_path / "run", "-n", 2, "--metrics", "ged", "--out", file]
    assert command(*score, *options)[0] == 0
    with file.open(newline="") as rows:
        assert [float(row["ged"]) for row in csv.DictReader(rows)] == list(expected)
    status, _, error = command(*score, *options, "--crop", 4)
    assert status == 2 and "--crop 4, but the model learnt from images with crop=8" in error
    whole = data.dataset
    with pytest.raises(InputError, match=r"16x16, cropped to 8x8 of the model, 16x16, whole of .*"):
        probseg.evaluate(model, whole, n=2)
    model.preprocessing = None
    assert len(probseg.evaluate(model, whole, n=2, metrics=["ged"])["ged"]) == 30


def test_two_data_sets_of_one_training_are_alike():
    data = probseg.datasets.create("ambiguous-shapes", samples=8, size=16)
    model = probseg.build("deterministic", backbone={"name": "unet", "channels": [4, 8]})
    with pytest.raises(InputError, match=r"cropped to 8x8 of the training data, 16x16, whole of"):
        probseg.fit(model, CentreCrop(data, 8), data, max_steps=1, progress=False)
    assert model.preprocessing is None


def test_files_of_other_sizes_are_told_but_not_refused():
    small, large = (
        probseg.datasets.create("ambiguous-shapes", samples=2, size=size) for size in (16, 24)
    )
    model = probseg.build("deterministic", backbone={"name": "unet", "channels": [4, 8]})
    model.preprocessing = small.preprocessing
    scores = probseg.evaluate(model, large, n=1, metrics=["ged"])
    assert scores.remarks[0] == ("the model learnt from images of 16x16 pixels, these have 24x24")
    model.preprocessing = replace(small.preprocessing, normalise="stretch")
    with pytest.raises(InputError, match="normalisation of the model: each channel's own extremes"):
        probseg.evaluate(model, large, n=1)


def test_a_strangers_own_preprocessing_is_left_alone():
    data = probseg.datasets.create("ambiguous-shapes", samples=8, size=16)
    model = ToyModel()
    model.preprocessing = torch.nn.Identity()
    probseg.fit(model, data, data, max_steps=1, progress=False)
    assert isinstance(model.preprocessing, torch.nn.Identity)
    assert len(probseg.evaluate(model, data, n=1, metrics=["ged"])["ged"]) == 8
