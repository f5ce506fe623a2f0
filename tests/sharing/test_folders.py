"""A model as a folder: what is written, what is replaced, what its card says."""

import json
import os
from pathlib import Path

import pytest
import torch
from tiny import tiny

import probseg
from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import CheckpointError
from probseg.sharing.cards import Card
from probseg.utils.atomic_files import WriteError

FILES = {"README.md", "config.json", "model.safetensors"}


@pytest.mark.parametrize("name", [*probseg.models])
def test_round_trip(name, tmp_path):
    model = tiny(name, classes=3)
    model.save_pretrained(tmp_path / "new" / "model")
    assert set(os.listdir(tmp_path / "new" / "model")) == FILES
    assert os.listdir(tmp_path / "new") == ["model"]
    for source in (tmp_path / "new" / "model", str(tmp_path / "new" / "model")):
        loaded = probseg.from_pretrained(source)
        assert loaded.spec == model.spec and not loaded.training
        for key, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], tensor)


def test_the_config_is_the_description(tmp_path):
    model = tiny("csae")
    model.save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config == {
        "format": "probseg-2",
        "probseg": probseg.__version__,
        "spec": model.spec,
        "requires": [],
    }


def test_weights_alone_are_enough(tmp_path):
    """As the benchmark leaves them."""
    model = tiny("punet")
    model.save(tmp_path / "model.safetensors")
    (tmp_path / "result.json").write_text("{}")
    assert probseg.from_pretrained(tmp_path).spec == model.spec


def test_a_saved_model_is_replaced_and_its_readme_stays(tmp_path):
    tiny("punet").save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "README.md").write_text("by hand")
    tiny("csae").save_pretrained(tmp_path / "m")
    assert probseg.from_pretrained(tmp_path / "m").spec["name"] == "csae"
    assert (tmp_path / "m" / "README.md").read_text() == "by hand"
    tiny("csae").save_pretrained(tmp_path / "m", card=Card(title="new"))
    assert "# new" in (tmp_path / "m" / "README.md").read_text()


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"notes.txt": "mine"}, "holds 'notes.txt'"),
        ({"README.md": "mine"}, "holds is no model of probseg"),
        ({"config.json": '{"model_type": "bert"}', "model.safetensors": ""}, "no model of prob"),
        ({"model.safetensors": "", "result.json": "{}"}, "holds 'result.json'"),
    ],
)
def test_something_else_is_not_written_over(others, reason, tmp_path):
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(WriteError, match=reason):
        tiny("punet").save_pretrained(tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == others


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "m.safetensors"
    tiny("punet").save(path)
    before = path.read_bytes()
    with pytest.raises(WriteError, match="it is a file"):
        tiny("csae").save_pretrained(path)
    assert path.read_bytes() == before
    with pytest.raises(
        CheckpointError, match=r"is a file and no folder; read it with probseg.load"
    ):
        probseg.from_pretrained(path)


def test_an_empty_folder_is_filled(tmp_path):
    tiny("punet").save_pretrained(tmp_path / "m")
    (tmp_path / "empty").mkdir()
    tiny("punet").save_pretrained(tmp_path / "empty")
    assert set(os.listdir(tmp_path / "empty")) == FILES


def test_a_save_that_fails_leaves_the_old_folder(tmp_path, monkeypatch):
    tiny("punet").save_pretrained(tmp_path / "m")
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}

    def fail(self, model):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Card, "text", fail)
    with pytest.raises(WriteError, match="No space left on device"):
        tiny("csae").save_pretrained(tmp_path / "m", card=Card())
    assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before
    assert os.listdir(tmp_path) == ["m"]


def test_folders_that_hold_no_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"it has no model\.safetensors"):
        probseg.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="there is no folder"):
        probseg.from_pretrained(tmp_path / "absent")


def test_config_and_weights_of_two_models_are_refused(tmp_path):
    tiny("punet").save_pretrained(tmp_path / "a")
    tiny("csae").save_pretrained(tmp_path / "b")
    (tmp_path / "a" / "config.json").replace(tmp_path / "b" / "config.json")
    with pytest.raises(CheckpointError, match="describe different models"):
        probseg.from_pretrained(tmp_path / "b")


class TestCard:
    """The card says what is known, and says of the rest that it is not."""

    def card(self, folder: Path):
        from huggingface_hub import ModelCard

        return ModelCard.load(folder / "README.md")

    def test_what_nobody_said_is_said_to_be_unknown(self, tmp_path):
        tiny("csae").save_pretrained(tmp_path / "m")
        card = self.card(tmp_path / "m")
        assert card.data.library_name == "probseg" and card.data.license is None
        assert card.data.pipeline_tag == "image-segmentation" and card.data.eval_results is None
        for line in (
            "Not stated by the author",
            "did not say what this model was trained on",
            "gave no measurements",
            "ask the author before you use this model",
        ):
            assert line in card.text

    def test_what_is_known_is_said(self, tmp_path):
        card = Card(
            title="Nodules | four readers",
            licence="mit",
            intended_use="Teaching.",
            dataset="contours",
            data="Rendered images: with a colon, and 'quotes'.",
            metrics={"ged": 0.38067, "hungarian-iou": 0.5},
            measured_on="128 test images.",
            provenance={"code": "revision abc"},
        )
        model = tiny("csae")
        model.preprocessing = Preprocessing(size=(64, 64), normalise="none")
        model.save_pretrained(tmp_path / "m", card=card)
        found = self.card(tmp_path / "m")
        assert found.data.license == "mit"
        results = {r.metric_type: (r.metric_value, r.dataset_name) for r in found.data.eval_results}
        assert results == {"ged": (0.38067, "contours"), "hungarian-iou": (0.5, "contours")}
        for text in ("# Nodules | four", "Teaching.", "Rendered images: with a", "revision abc"):
            assert text in found.text
        assert "128 test images." in found.text and "| ged | 0.3807 |" in found.text
        count = sum(p.numel() for p in model.parameters())
        assert f"{count:,} parameters" in found.text and "Unknown" not in found.text

    def test_its_example_runs(self, tmp_path):
        tiny("csae", in_channels=3).save_pretrained(tmp_path / "m")
        text = (tmp_path / "m" / "README.md").read_text()
        code = text.split("```python\n")[1].split("```")[0]
        names: dict = {}
        exec(code.replace("FOLDER-OR-REPOSITORY", str(tmp_path / "m")), names)
        assert tuple(names["samples"].shape) == (16, 1, 2, 128, 128)
