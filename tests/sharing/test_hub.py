"""To a hub and back, with huggingface-hub's own client and a hub on this machine."""

import os

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars
from local_hub import Hub, serving
from tiny import tiny

import probseg
from probseg.errors import CheckpointError, HubError
from probseg.sharing.cards import Card

REPOSITORY = "somebody/tiny-csae"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    hub = Hub()
    with serving(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", "hf_nobody")
        disable_progress_bars()
        yield hub


def same(one, other):
    state = other.state_dict()
    assert one.spec == other.spec and one.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def test_there_and_back(hub, tmp_path):
    model = tiny("csae")
    address = model.push_to_hub(REPOSITORY)
    assert f"/{REPOSITORY}/commit/" in address
    ((_, files),) = hub.repositories[REPOSITORY]
    assert set(files) == {"model.safetensors", "config.json", "README.md"}
    loaded = probseg.from_pretrained(REPOSITORY, cache_dir=tmp_path / "mine")
    same(loaded, model)
    assert not loaded.training
    got = [r for r in hub.requests if r.startswith("GET /somebody")]
    assert not any("README" in r for r in got)  # only what is needed is downloaded


def test_what_was_downloaded_is_there_without_a_network(hub, tmp_path):
    model = tiny("punet")
    model.push_to_hub(REPOSITORY)
    probseg.from_pretrained(REPOSITORY)
    hub.requests.clear()
    same(probseg.from_pretrained(REPOSITORY, local_files_only=True), model)
    assert hub.requests == []
    with pytest.raises(HubError, match="no repository that can be read"):
        probseg.from_pretrained(REPOSITORY, local_files_only=True, cache_dir=tmp_path / "other")


def test_a_revision_is_the_one_asked_for(hub):
    first, second = tiny("csae"), tiny("punet")
    first.push_to_hub(REPOSITORY)
    second.push_to_hub(REPOSITORY)
    (old, _), (_, _) = hub.repositories[REPOSITORY]
    same(probseg.from_pretrained(REPOSITORY, revision=old), first)
    same(probseg.from_pretrained(REPOSITORY), second)
    with pytest.raises(HubError):
        probseg.from_pretrained(REPOSITORY, revision="v9")


def test_a_readme_that_somebody_wrote_stays(hub):
    model = tiny("punet")
    model.push_to_hub(REPOSITORY)
    hub.commit(REPOSITORY, {"README.md": b"# By hand\n"})
    model.push_to_hub(REPOSITORY)
    assert hub.repositories[REPOSITORY][-1][1]["README.md"] == b"# By hand\n"
    model.push_to_hub(REPOSITORY, card=Card(title="By card"))
    assert b"# By card" in hub.repositories[REPOSITORY][-1][1]["README.md"]


def test_a_damaged_download_is_refused(hub):
    tiny("punet").push_to_hub(REPOSITORY)
    weights = bytearray(hub.repositories[REPOSITORY][-1][1]["model.safetensors"])
    weights[-3] ^= 4
    hub.commit(REPOSITORY, {"model.safetensors": bytes(weights)})
    with pytest.raises(CheckpointError, match="damaged or altered"):
        probseg.from_pretrained(REPOSITORY)


@pytest.mark.parametrize("name", ["somebody/absent", "no such folder/at/all", "../up"])
def test_what_is_neither_folder_nor_repository(hub, name):
    with pytest.raises(HubError, match="is no folder here, and no repository that can be read: "):
        probseg.from_pretrained(name)


def test_a_hub_that_does_not_answer(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="'somebody/tiny-csae' cannot be written: "):
        tiny("punet").push_to_hub(REPOSITORY)


def test_no_test_reaches_another_hub(hub):
    tiny("punet").push_to_hub(REPOSITORY)
    assert hub.requests and os.environ["HF_TOKEN"] == "hf_nobody"
