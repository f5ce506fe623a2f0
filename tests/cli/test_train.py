"""`probseg train` and `evaluate`: what they choose, write, print and refuse."""

import csv

import pytest

import probseg

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
    status, output, _ = command(*arguments)
    assert status == 0 and (out / "best.safetensors").stat().st_mtime_ns == before
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
        (["evaluate", "nowhere", "--data", "contours"], 1, "nowhere"),
    ],
)
def test_what_makes_no_sense_is_told(command, tmp_path, arguments, status, message):
    out = ["--out", tmp_path / "run"] if arguments[0] == "train" else []
    got, _, error = command(*arguments, *out)
    assert got == status and message in error
    assert not (tmp_path / "run").exists()
