"""`probseg protocols`, and results that say by which protocol they came about."""

import json

import pytest

from probseg import protocols


def test_all_are_listed_and_one_is_told(command):
    status, output, _ = command("protocols")
    assert status == 0 and all(name in output for name in protocols.names())
    status, output, _ = command("protocols", "lidc-v2")
    assert status == 0
    for part in ("8843", "530", "the publisher's folders", protocols.get("lidc-v2").fingerprint):
        assert part in output


def test_json_has_everything(command):
    status, output, _ = command("protocols", "lidc-v1", "--json")
    (told,) = json.loads(output)
    assert status == 0 and told["images"] == {"all": 15096} and told["fingerprint"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["protocols", "lidc-v3"], "did you mean"),
        (["protocols", "--root", "."], "give its name"),
        (["evaluate", "run", "--data", "contours", "--protocol", "own", "--crop", "8"], "--crop"),
        (["evaluate", "run", "--data", "contours", "--protocol", "own", "--part", "all"], "part"),
    ],
)
def test_what_makes_no_sense_is_told(command, arguments, message):
    status, _, error = command(*arguments)
    assert status in (1, 2) and message in error


def test_a_model_is_trained_and_scored_by_a_protocol(command, tmp_path):
    few = "data.samples=40"
    small = 'model.backbone={"name": "unet", "channels": [4, 8], "convolutions": 1}'
    given = ["--data", "ambiguous-shapes", "--protocol", "own"]
    status, output, error = command(
        *("train", "punet", *given, "--out", tmp_path / "run", "-n", "2"),
        *("--set", few, "training.max_steps=2", "training.validate_every=1", small),
    )
    assert status == 0, error
    fingerprint = protocols.get("own").fingerprint
    told = " ".join(output.split())
    assert f"protocol own ({fingerprint}), part test, but with 2 samples and other options" in told
    assert "--protocol own" in output
    status, output, error = command(
        *("evaluate", tmp_path / "run", *given, "--set", few, "-n", "3", "--metrics", "ged16")
    )
    assert status == 0, error
    assert (
        f"protocol own ({fingerprint}), part test, but with 3 samples and other options"
        in " ".join(output.split())
    )
