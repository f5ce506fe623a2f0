"""`probseg share`: a run's model becomes a folder that travels, with what is known on its card."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import probseg
from probseg.cli.share import card_of

NETS = {"name": "unet", "channels": [4, 8], "convolutions": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder as `probseg train` leaves it, as far as its model and card go."""
    folder = tmp_path_factory.mktemp("run")
    data = probseg.datasets.create("ambiguous-shapes", samples=30, size=16)
    parts = probseg.split(data)
    model = probseg.build("deterministic", like=data, backbone=NETS)
    model.save(folder / "best.safetensors")
    scores = probseg.evaluate(model, parts.test, n=2, metrics=["ged", "hungarian-iou"])
    card_of(scores, parts, {"max_steps": 7}).write(folder / "card.json")
    (folder / "ged.txt").write_text(f"{scores.mean()['ged']:.4g}")
    return folder


def test_the_folder_is_the_model_with_its_data_and_scores_on_the_card(run, command, tmp_path):
    shared = tmp_path / "shared"
    status, output, _ = command("share", run, shared, "--licence", "mit")
    assert status == 0 and "--title" not in output and "--intended-use" in output
    assert f"hf upload NAME/MODEL {shared}" in output
    model, kept = probseg.from_pretrained(shared), probseg.load(run / "best.safetensors")
    for name, tensor in kept.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    text = (shared / "README.md").read_text()
    assert "# deterministic on ambiguous-shapes" in text and "license: mit" in text
    assert f"| ged | {(run / 'ged.txt').read_text()} |" in text
    for known in ("16 train, 8 validation, 6 test", "6 test images of 6 groups", "max_steps=7"):
        assert known in text
    assert "Not stated by the author" in text  # what it is for


def test_what_to_know_of_the_scores_is_on_the_card():
    data = probseg.datasets.create("ambiguous-shapes", samples=30, size=16)
    parts, model = probseg.split(data), probseg.build("deterministic", like=data, backbone=NETS)
    scores = probseg.evaluate(model, parts.test, n=2, metrics=["ged"])
    told = replace(scores, remarks=["no sample marks anything"])
    assert card_of(told, parts, {}).measured_on.endswith("Beware: no sample marks anything.")
    assert "Beware" not in card_of(replace(scores, remarks=[]), parts, {}).measured_on


def test_a_folder_of_ones_own_is_on_the_card_and_the_table_by_its_name():
    data = probseg.datasets.create("ambiguous-shapes", samples=30, size=16)
    data.name, data.provenance = "folder", "your own data: my-data"
    parts, model = probseg.split(data), probseg.build("deterministic", like=data, backbone=NETS)
    scores = probseg.evaluate(model, parts.test, n=2, metrics=["ged"])
    assert scores.data == "my-data (folder)"
    card = card_of(scores, parts, {})
    assert (card.title, card.dataset) == ("deterministic on my-data (folder)", scores.data)


def test_a_lone_checkpoint_is_shared_and_what_nobody_said_is_told(run, command, tmp_path):
    model = tmp_path / "model.safetensors"
    model.write_bytes((run / "best.safetensors").read_bytes())
    status, output, _ = command("share", model, tmp_path / "shared", "--title", "Shapes")
    assert status == 0 and f"no data and metrics on the card: {tmp_path} has no card.json" in output
    text = (tmp_path / "shared" / "README.md").read_text()
    assert "# Shapes" in text and "Unknown: the author gave no measurements." in text


def test_a_folder_that_is_shared_already_is_left_alone(run, command, tmp_path):
    assert command("share", run, tmp_path / "shared")[0] == 0
    status, _, error = command("share", tmp_path / "shared", tmp_path / "again")
    assert status == 2 and "is a folder to share already" in error
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("facts", ["{", "[]", '{"metrics": {"ged": "low"}}', '{"titel": "x"}'])
def test_a_damaged_card_is_named(run, command, tmp_path, facts):
    (tmp_path / "best.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    (tmp_path / "card.json").write_text(facts)
    status, _, error = command("share", tmp_path, tmp_path / "shared")
    assert status == 1 and "card.json is damaged" in error and error.count("\n") == 1
    assert not (tmp_path / "shared").exists()


def test_a_folder_without_a_model_is_named(command, tmp_path):
    status, _, error = command("share", tmp_path, tmp_path / "shared")
    assert status == 1 and str(tmp_path) in error and error.count("\n") == 1
    status, _, error = command("share", tmp_path / "nowhere", tmp_path / "shared")
    assert status == 1 and "or the folder of a run" in error
