"""What was done to a model's images is in its files, its card and what is exported of it."""

import json
import struct

import pytest
from tiny import tiny

import probseg
from probseg.datasets.preprocessing import Preprocessing
from probseg.errors import CheckpointError
from probseg.sharing import export
from probseg.sharing.cards import Card

LEARNT = Preprocessing(
    size=(64, 64),
    resize="pad",
    normalise="window",
    window=(-1000.0, 400.0),
    channels=("CT",),
    classes=("background", "Läsion"),
    annotators=("Ann", "Bob | Ben"),
    spacing=(0.7, 0.7),
)


@pytest.fixture
def model():
    model = tiny()
    model.preprocessing = LEARNT
    return model


def test_a_file_and_a_folder_carry_it(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    assert probseg.load(tmp_path / "m.safetensors").preprocessing == LEARNT
    model.save_pretrained(tmp_path / "hub")
    assert probseg.from_pretrained(tmp_path / "hub").preprocessing == LEARNT
    config = json.loads((tmp_path / "hub/config.json").read_text())
    assert config["format"] == "probseg-2" and config["preprocessing"] == LEARNT.to_plain()
    assert "preprocessing" not in model.state_dict()


def test_what_is_unknown_is_not_written(tmp_path):
    model = tiny()
    assert model.preprocessing is None
    model.save_pretrained(tmp_path / "hub")
    assert "preprocessing" not in json.loads((tmp_path / "hub/config.json").read_text())
    assert b"preprocessing" not in (tmp_path / "hub/model.safetensors").read_bytes()
    assert probseg.from_pretrained(tmp_path / "hub").preprocessing is None


def test_a_card_says_it_or_that_it_is_unknown(model):
    text = Card().text(model)
    assert "images are resized to 64x64, padded; values from -1000 to 400 become 0 to 1" in text
    assert r"| annotators | `['Ann', 'Bob \| Ben']` |" in text
    model.preprocessing = None
    assert "## Images\n\nUnknown" in Card().text(model)


def _edit(path, change):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header["__metadata__"])
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.update(preprocessing=metadata["preprocessing"].replace("4", "5")),
        lambda metadata: metadata.pop("preprocessing"),
        lambda metadata: metadata.pop("preprocessing-digest"),
    ],
)
def test_a_file_in_which_it_was_altered_is_refused(model, tmp_path, change):
    path = tmp_path / "m.safetensors"
    model.save(path)
    _edit(path, change)
    with pytest.raises(CheckpointError, match="damaged or altered"):
        probseg.load(path)


def test_what_a_newer_version_says_is_refused_with_the_remedy(model, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    newer = json.dumps({**LEARNT.to_plain(), "gamma": 2})
    _edit(path, lambda metadata: metadata.update(preprocessing=newer))
    with pytest.raises(CheckpointError, match=r"'gamma', which this probseg does not know; update"):
        probseg.load(path)


def test_an_older_version_reads_the_file(model, tmp_path, monkeypatch):
    """What older versions check is as if the file said nothing of images."""
    path = tmp_path / "m.safetensors"
    model.save(path)
    with_it = path.read_bytes()
    _edit(path, lambda metadata: [metadata.pop(key) for key in [*metadata] if "prepro" in key])
    assert probseg.load(path).preprocessing is None and path.read_bytes() != with_it


@pytest.mark.slow
def test_onnx_carries_it(model, tmp_path):
    pytest.importorskip("onnxscript")
    onnx = pytest.importorskip("onnx")
    export.save_onnx(model, tmp_path / "m.onnx")
    facts = {one.key: one.value for one in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert Preprocessing.from_plain(json.loads(facts["probseg.preprocessing"])) == LEARNT
