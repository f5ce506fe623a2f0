"""Models on disk: the way there and back, and files that are not what they should be."""

import json
import os
import pickle

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from small_models import RECIPES, batch, generator, shaken, small

import probseg
from probseg.errors import CheckpointError, OptionError, ProbsegError
from probseg.sharing.checkpoint import read_description
from probseg.utils.atomic_files import WriteError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "model.safetensors"
    small("csae").save(path)
    return path


@pytest.mark.parametrize("name", [*RECIPES, "energy", "deterministic"])
def test_round_trip(name, tmp_path):
    model = shaken(small(name, in_channels=2, classes=3), 0.1)
    path = tmp_path / "new folder" / "m.safetensors"
    model.save(path)
    loaded = probseg.load(str(path))
    assert loaded.spec == model.spec == read_description(path).spec
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    image, _ = batch(channels=2)
    wanted = model.eval().sample(image, 3, generator=generator())
    assert torch.equal(loaded.sample(image, 3, generator=generator()), wanted)
    assert os.listdir(path.parent) == ["m.safetensors"]


def test_a_shared_flow_is_still_shared(saved):
    loaded = probseg.load(saved)
    assert loaded.prior_projector is loaded.posterior_projector


def test_channels_last_weights_are_saved(tmp_path):
    model = small("punet").to(memory_format=torch.channels_last)
    model.save(tmp_path / "m.safetensors")
    loaded = probseg.load(tmp_path / "m.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_an_older_checkpoint_is_replaced(tmp_path):
    path = tmp_path / "m.safetensors"
    small("punet").save(path)
    small("csae").save(path)
    assert probseg.load(path).spec["name"] == "csae"


def damaged(kind, content):
    return {
        "empty": b"",
        "random": bytes(range(256)) * 20,
        "text": b"this is no checkpoint",
        "header cut": content[:100],
        "weights cut": content[: len(content) // 2],
        "one byte short": content[:-1],
        "header scrambled": content[:8] + b"}" * 50 + content[58:],
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["empty", "random", "text", "header cut", "weights cut", "one byte short", "header scrambled"],
)
def test_a_damaged_file(kind, saved, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(damaged(kind, saved.read_bytes()))
    with pytest.raises(CheckpointError, match=r"bad\.safetensors is no safetensors file, or a dam"):
        probseg.load(path)


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="there is no checkpoint at"):
            probseg.load(path)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        (None, "not written by probseg: its format is 'not given'"),
        ({"format": "pt"}, "its format is 'pt', not 'probseg-2'"),
        ({"format": "probseg-1"}, "the description in .* is damaged: it has no 'spec'"),
        ({"format": "probseg-1", "spec": "{"}, "the description in .* is damaged"),
        ({"format": "probseg-1", "spec": "[1]"}, "names no model"),
        ({"format": "probseg-1", "spec": '{"name": 3}'}, "names no model"),
    ],
)
def test_a_file_of_another_kind(metadata, text, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=text):
        probseg.load(path)


@pytest.mark.parametrize("other", [{"latent_dim": 3}, {"classes": 3}, {"projector": "identity"}])
def test_the_weights_of_another_model(other, tmp_path):
    spec = small("csae", **other).spec
    path = tmp_path / "mixed.safetensors"
    weights = {name: tensor.clone() for name, tensor in small("csae").state_dict().items()}
    save_file(weights, path, metadata={"format": "probseg-1", "spec": json.dumps(spec)})
    with pytest.raises(CheckpointError, match=r"weights in .*mixed.* are not those of the model"):
        probseg.load(path)


def test_a_description_that_needs_a_missing_plugin(saved, tmp_path):
    spec = {**read_description(saved).spec, "projector": {"name": "radiall"}}
    path = tmp_path / "plugin.safetensors"
    save_file({}, path, metadata={"format": "probseg-1", "spec": json.dumps(spec)})
    with pytest.raises(ProbsegError, match="no projector is called 'radiall'"):
        probseg.load(path)


def test_loading_a_pickle_runs_no_code(tmp_path):
    trace = tmp_path / "trace"

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(trace),))

    path = tmp_path / "trap.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError):
        probseg.load(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()  # the trap was set


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device"),
    ],
)
def test_a_full_disk_leaves_the_old_file_and_no_other(error, tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    small("punet").save(path)
    before = path.read_bytes()

    def fail(model, filename, metadata):
        with open(filename, "wb") as file:
            file.write(b"half")
        raise error

    monkeypatch.setattr("probseg.sharing.checkpoint.save_model", fail)
    wanted = r"cannot write .*m\.safetensors: .*No space left on device; free some space"
    with pytest.raises(WriteError, match=wanted):
        small("csae").save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m.safetensors"]


def test_a_model_is_put_on_a_device(saved):
    for device in ("cpu", "auto", torch.device("cpu")):
        assert next(probseg.load(saved, device=device).parameters()).device.type in ("cpu", "cuda")
    with pytest.raises(OptionError, match=r"device must be 'auto', 'cpu'.* not 'cuba'; did you"):
        probseg.load(saved, device="cuba")
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="'cuda' is not on this machine"):
            probseg.load(saved, device="cuda")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = small("punet")
    model.save("~/model.safetensors")
    model.save_pretrained("~/folder")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "model.safetensors"]
    for again in (probseg.load("~/model.safetensors"), probseg.from_pretrained("~/folder")):
        assert again.spec == model.spec
