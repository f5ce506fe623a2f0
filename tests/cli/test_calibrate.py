"""`probseg calibrate` writes a model that `evaluate` and `predict` take."""

import pytest

import probseg
from probseg.datasets.preprocessing import Preprocessing


@pytest.fixture
def model(tmp_path):
    network = {"name": "unet", "channels": [4, 8], "convolutions": 1}
    path = tmp_path / "model.safetensors"
    probseg.build("punet", backbone=network, latent_dim=2).save(path)
    return path


DATA = ("--data", "ambiguous-shapes", "--set", "data.samples=40", "data.size=16")


def test_the_model_is_written_with_what_was_chosen(command, model, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    status, output, _ = command("calibrate", model, "-n", "2", "--out", out, *DATA)
    assert status == 0 and "prior scale" in output and "the model is in" in output
    data = probseg.datasets.create("ambiguous-shapes", samples=40, size=16)
    expected = probseg.load(model)
    probseg.calibrate(expected, probseg.split(data).validation, n=2)
    assert probseg.load(out).calibration == expected.calibration
    assert "calibration" not in probseg.load(model).spec
    assert command("evaluate", out, "-n", "2", "--metrics", "ged", *DATA)[0] == 0


def test_the_temperature_alone_can_be_chosen(command, model, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    arguments = ("-n", "2", "--temperature-only", "--out", out)
    status, output, _ = command("calibrate", model, *arguments, *DATA)
    assert status == 0 and "prior scale" not in output
    assert probseg.load(out).calibration.prior_scale == 1


def test_test_images_are_refused(command, model, tmp_path):
    arguments = ("--part", "test", "--out", tmp_path / "out.safetensors")
    status, _, error = command("calibrate", model, *arguments, *DATA)
    assert status == 2 and "leave --part out, which takes the validation images" in error


def test_a_folder_is_no_file(command, model, tmp_path):
    status, _, error = command("calibrate", model, "--out", tmp_path, *DATA)
    assert status == 2 and f"--out {tmp_path} is a folder" in error


def test_the_model_is_kept(command, model):
    status, _, error = command("calibrate", model, "--out", model, *DATA)
    assert status == 2 and f"--out {model} is MODEL, which is kept" in error


def test_the_preprocessing_of_the_file_is_kept(command, tmp_path):
    source, out = tmp_path / "model.safetensors", tmp_path / "calibrated.safetensors"
    network = {"name": "unet", "channels": [4, 8], "convolutions": 1}
    model = probseg.build("deterministic", backbone=network)
    model.preprocessing = Preprocessing(crop=(12, 12))
    model.save(source)
    assert command("calibrate", source, "--as-is", "-n", "1", "--out", out, *DATA)[0] == 0
    assert probseg.load(out).preprocessing == model.preprocessing


def test_other_parts_are_told(command, model, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    _, output, _ = command("calibrate", model, "-n", "2", "--part", "all", "--out", out, *DATA)
    assert "chosen on the part 'all' of the data" in " ".join(output.split())


def test_a_run_keeps_the_model_that_its_folder_stands_for(command, model):
    run = model.parent
    model.rename(run / "best.safetensors")
    status, _, error = command("calibrate", run, "--out", run / "model.safetensors", *DATA)
    assert status == 2 and "is MODEL, which is kept" in error
    out = run / "calibrated.safetensors"
    status, output, _ = command("calibrate", run, "-n", "2", "--out", out, *DATA)
    assert status == 0
    assert output.endswith(f"  probseg evaluate {out} {' '.join(DATA)}\n")
