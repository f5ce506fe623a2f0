"""`probseg predict`: anybody's images in, samples and their statistics out, nothing lost."""

import copy
import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

import probseg
from probseg.cli.prediction import predict
from probseg.datasets.formats.nifti import Reorientation, read_nifti

SMALL = {"channels": [4, 8], "convolutions": 1}
OPTIONS = {"backbone": {"name": "unet", **SMALL}, "encoder": {"name": "axis-aligned", **SMALL}}
N = 5


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    model = probseg.build("punet", **OPTIONS).eval()
    assert model.sample(torch.rand(1, 1, 20, 28), 50).std(0).mean() > 0.05, "samples that differ"
    return model


@pytest.fixture
def checkpoint(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 28), dtype=np.uint8)


def _png(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def _wanted(model, pixels, n=N, seed=0):
    """The samples that the model itself gives."""
    image = torch.from_numpy(pixels / 255.0).float()[None, None]
    return model.sample(image, n, generator=torch.Generator().manual_seed(seed))[:, 0]


def _read(path):
    return np.asarray(Image.open(path))


def test_files_hold_what_the_model_says(command, model, checkpoint, pixels, tmp_path):
    image, out = _png(tmp_path / "scan.png", pixels), tmp_path / "out"
    status, output, said = command("predict", checkpoint, image, "--out", out, "-n", N)
    assert status == 0 and output.strip() == str(out / "scan")
    assert "8-bit values from 0 to 255 become 0 to 1" in said
    samples = _wanted(model, pixels)
    for number, wanted in enumerate(samples.argmax(1), start=1):
        assert np.array_equal(_read(out / f"scan/sample-{number}.png"), 255 * wanted.numpy())
    foreground = samples[:, 1].double()
    mean, sd = foreground.mean(0), foreground.std(0, unbiased=False)
    for name, wanted in (("mean", mean), ("sd", sd)):
        assert np.abs(_read(out / f"scan/{name}.png") / 65535 - wanted.numpy()).max() < 1e-5
    about = json.loads((out / "scan/about.json").read_text())
    assert about["spec"] == model.spec and (about["samples"], about["seed"]) == (N, 0)
    assert _read(out / "scan/contours.png").std() > 1


def test_tiles_are_the_whole_image(command, checkpoint, tmp_path):
    large = np.random.default_rng(1).integers(0, 256, (70, 45), dtype=np.uint8)
    image = _png(tmp_path / "scan.png", large)
    for name, more in {"whole": (), "tiles": ("--tile", 16)}.items():
        status, *_ = command(
            "predict", checkpoint, image, "--out", tmp_path / name, "-n", 20, *more
        )
        assert status == 0
    for name in ("sample-01", "sample-20", "mean", "sd"):
        whole, tiles = (_read(tmp_path / one / f"scan/{name}.png") for one in ("whole", "tiles"))
        assert np.abs(whole.astype(int) - tiles).max() <= 1
    assert json.loads((tmp_path / "tiles/scan/about.json").read_text())["tile"] == 16


@pytest.mark.parametrize("tile", [(), ("--tile", 16)])
def test_stratified_samples_are_those_of_the_model(
    command, model, checkpoint, pixels, tmp_path, tile
):
    image, out = _png(tmp_path / "scan.png", pixels), tmp_path / "out"
    asked = ("--out", out, "-n", 4, "--stratified", *tile)
    assert command("predict", checkpoint, image, *asked)[0] == 0
    tensor = torch.from_numpy(pixels / 255.0).float()[None, None]
    seed = torch.Generator().manual_seed(0)
    wanted = model.sample(tensor, 4, stratified=True, generator=seed)[:, 0].mean(0)[1]
    found = _read(out / "scan" / "mean.png") / 65535
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    assert json.loads((out / "scan" / "about.json").read_text())["stratified"] is True


def test_a_model_without_stratified_samples_is_told(command, pixels, tmp_path):
    deterministic = probseg.build("deterministic", backbone=OPTIONS["backbone"])
    deterministic.save(tmp_path / "model.safetensors")
    image = _png(tmp_path / "scan.png", pixels)
    options = (tmp_path / "model.safetensors", image, "--out", tmp_path / "out", "--stratified")
    status, _, said = command("predict", *options)
    assert status and "'deterministic' has no stratified samples" in said
    assert not (tmp_path / "out").exists()


def test_fewer_samples_at_a_time_have_the_same_statistics(model, pixels):
    image = pixels[None].astype(np.float32) / 255
    one = predict(model, image, 400, seed=1, at_once=400)
    few = predict(model, image, 400, seed=1, at_once=7)
    assert one.labels.shape == few.labels.shape == (400, 20, 28)
    assert np.abs(one.mean - few.mean).max() < 0.1 and np.abs(one.sd - few.sd).max() < 0.1
    assert np.allclose(one.mean.sum(0), 1)


def test_an_image_is_predicted_the_same_alone(command, checkpoint, pixels, tmp_path):
    a, b = _png(tmp_path / "a.png", pixels), _png(tmp_path / "b.png", pixels[:, ::-1].copy())
    command("predict", checkpoint, a, b, "--out", tmp_path / "both", "-n", 3, "--seed", 5)
    command("predict", checkpoint, b, "--out", tmp_path / "alone", "-n", 3, "--seed", 5)
    assert np.array_equal(_read(tmp_path / "both/b/mean.png"), _read(tmp_path / "alone/b/mean.png"))


AFFINES = {
    "LPS": np.diag([-0.5, -0.5, 2.0, 1.0]),
    "RAS": np.diag([0.5, 0.75, 2.0, 1.0]),
    "turned": np.array([[0, -0.75, 0, 3], [0.5, 0, 0, 1], [0, 0, 2.0, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_nifti_comes_back_on_its_own_voxels(command, model, checkpoint, pixels, tmp_path, name):
    original = nibabel.Nifti1Image(pixels, AFFINES[name])
    nibabel.save(original, tmp_path / "case.nii.gz")
    out = tmp_path / "out"
    status, _, _ = command("predict", checkpoint, tmp_path / "case.nii.gz", "--out", out, "-n", N)
    assert status == 0
    mean, samples = (nibabel.load(out / f"case/{file}.nii.gz") for file in ("mean", "samples"))
    assert np.array_equal(mean.affine, AFFINES[name]) and mean.shape == pixels.shape
    assert samples.shape == (*pixels.shape, 1, N) and samples.get_data_dtype() == np.uint8
    # as the model sees it: upright, and turned back by hand
    volume = read_nifti((tmp_path / "case.nii.gz").read_bytes(), flat=True)
    upright = Reorientation(volume, axis=2)(volume)[0, 0]
    wanted = _wanted(model, upright.astype(float))[:, 1].mean(0)
    by_value = {int(v): float(p) for v, p in zip(upright.ravel(), wanted.ravel(), strict=True)}
    actual = np.asarray(mean.dataobj).reshape(pixels.shape)
    where = [tuple(np.argwhere(pixels == v)[0]) for v in by_value if (pixels == v).sum() == 1]
    assert len(where) > 20
    for at in where:
        assert abs(actual[at] - by_value[int(pixels[at])]) < 1e-5


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("order", ["LPS", "RAS", "SPL", "AIR"])
def test_upright_pictures_go_back_to_their_voxels(order, axis):
    codes = nibabel.orientations.axcodes2ornt(order)
    affine = nibabel.orientations.inv_ornt_aff(codes, (3, 4, 5)) @ np.diag([2, 3, 4, 1.0])
    voxels = np.random.default_rng(0).normal(size=(3, 4, 5))
    data = nibabel.Nifti1Image(voxels, affine).to_bytes()
    volume = read_nifti(data, flat=False)
    upright = Reorientation(volume, axis=axis)
    assert np.array_equal(upright.inverse(upright(volume)), volume.voxels)


def test_a_window_is_cut_as_it_says(command, model, checkpoint, tmp_path):
    hu = np.linspace(-2000, 2000, 20 * 28, dtype=np.float32).reshape(20, 28)
    np.save(tmp_path / "ct.npy", hu)
    arguments = ("--out", tmp_path / "out", "-n", 2, "--window=-1000,400")
    assert command("predict", checkpoint, tmp_path / "ct.npy", *arguments)[0] == 0
    scaled = np.clip((hu + 1000) / 1400, 0, 1) * 255
    wanted = _wanted(model, scaled.astype(np.float64), n=2)[:, 1].mean(0).numpy()
    assert np.abs(_read(tmp_path / "out/ct/mean.png") / 65535 - wanted).max() < 1e-4


def test_several_classes_have_a_file_each(command, tmp_path, pixels):
    probseg.build("punet", classes=3, **OPTIONS).save(tmp_path / "m.safetensors")
    image, out = _png(tmp_path / "scan.png", pixels), tmp_path / "out"
    assert command("predict", tmp_path / "m.safetensors", image, "--out", out, "-n", 2)[0] == 0
    names = {file.name for file in (out / "scan").iterdir()}
    assert {"mean-1.png", "mean-2.png", "sd-1.png", "sd-2.png"} <= names
    assert set(np.unique(_read(out / "scan/sample-1.png"))) <= {0, 1, 2}


def test_nothing_is_overwritten_unless_that_is_asked_for(command, checkpoint, pixels, tmp_path):
    a, b = _png(tmp_path / "a.png", pixels), _png(tmp_path / "b.png", pixels)
    predict = ("predict", checkpoint, a, b, "--out", tmp_path / "out", "-n", 1)
    assert command(*predict[:3], *predict[4:])[0] == 0
    (tmp_path / "out/a/mine").write_text("mine")
    status, _, stderr = command(*predict)
    assert status == 1 and "exist already; nothing was done" in stderr
    assert not (tmp_path / "out/b").exists()
    assert command(*predict, "--existing", "skip")[0] == 0
    assert (tmp_path / "out/a/mine").exists() and (tmp_path / "out/b/mean.png").exists()
    assert command(*predict, "--existing", "replace")[0] == 0
    assert not (tmp_path / "out/a/mine").exists() and (tmp_path / "out/a/mean.png").exists()


@pytest.mark.parametrize("mine", ["scan.png", "ct.nii.gz", "masks/case0/anna.png", "a/notes.txt"])
def test_a_folder_of_something_else_is_refused(command, checkpoint, pixels, tmp_path, mine):
    image, out = _png(tmp_path / "a.png", pixels), tmp_path / "out"
    (out / mine).parent.mkdir(parents=True)
    (out / mine).write_text("mine")
    predict = ("predict", checkpoint, image, "--out", out, "-n", 1)
    for existing in ("refuse", "skip", "replace"):
        status, _, stderr = command(*predict, "--existing", existing)
        assert status == 2 and f"({mine.split('/')[0]})" in stderr and "give a new" in stderr
    assert [str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()] == [mine]


def test_its_own_folder_takes_more_images_beside_tables(command, checkpoint, pixels, tmp_path):
    out = tmp_path / "out"
    for name in ("a", "b"):
        image = _png(tmp_path / f"{name}.png", pixels)
        assert command("predict", checkpoint, image, "--out", out, "-n", 1)[0] == 0
        (out / "scores.csv").write_text("image,group,ged")
    assert {entry.name for entry in out.iterdir()} == {"a", "b", "scores.csv"}


def test_images_on_which_nothing_is_marked_are_told_in_one_line(command, model, pixels, tmp_path):
    blind = copy.deepcopy(model)
    with torch.no_grad():
        blind.decoder.logits.bias += torch.tensor([99.0, 0.0])
    blind.save(tmp_path / "blind.safetensors")
    model.save(tmp_path / "seeing.safetensors")
    images = [_png(tmp_path / f"{name}.png", pixels) for name in "abc"]
    for name, told in (("blind", 1), ("seeing", 0)):
        status, _, stderr = command(
            *("predict", tmp_path / f"{name}.safetensors", *images, "--out", tmp_path / name),
            *("-n", 2),
        )
        assert status == 0 and stderr.count("marks anything") == told
        if told:
            (line,) = [line for line in stderr.splitlines() if "marks anything" in line]
            assert f"no sample of 3 of 3 images marks anything, such as of {images[0]}" in line
            assert "unlike those" in line and "window" in line and "too short" in line


def test_a_bad_image_costs_only_itself(command, checkpoint, pixels, tmp_path):
    good = _png(tmp_path / "good.png", pixels)
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:200])
    colour = _png(tmp_path / "colour.png", np.stack([pixels] * 3, -1))
    missing, out = tmp_path / "missing.png", tmp_path / "out"
    status, output, stderr = command(
        *("predict", checkpoint, tmp_path / "bad.png", colour, missing, good, "--out", out, "-n", 1)
    )
    assert status == 1 and output.strip() == str(out / "good")
    assert "bad.png: " in stderr and "missing.png: cannot be read" in stderr
    assert "colour.png has 3 channels, but the model was trained on images of 1" in stderr
    assert [folder.name for folder in out.iterdir()] == ["good"], "no half folder is left behind"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan.bmp"], "scan.bmp must be one of"),
        (["a/scan.png", "b/scan.tif"], "a/scan.png and b/scan.tif would both go to"),
        (["scan.png", "-n", "0"], "-n must be an integer of at least 1, not 0"),
        (["scan.png", "--seed", "-1"], "--seed must be an integer of at least 0, not -1"),
        (["scan.png", "--window", "5"], "LOW,HIGH"),
        (["scan.png", "--window", "5,1"], "with the lower first, such as -1000,400, not '5,1'"),
        (["scan.png", "--device", "abacus"], "device must be 'auto', 'cpu'"),
    ],
)
def test_what_makes_no_sense_is_reported_in_a_line(
    command, checkpoint, tmp_path, arguments, message
):
    status, output, stderr = command("predict", checkpoint, *arguments, "--out", tmp_path / "out")
    assert (status, output) == (2, "") and message in stderr
    assert stderr.count("\n") == 1 and not (tmp_path / "out").exists()
