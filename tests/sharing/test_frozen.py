"""Files that older versions wrote still give the models that they were, to the last digit.

`frozen/NAME-FORMAT.safetensors` was written by the version of that format, with tiny random
weights, and `…-answer.safetensors` holds what the model said then of one image and one latent, or,
without a latent vector, its sample from seed 0.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import probseg
from probseg.errors import CheckpointError
from probseg.sharing import config as descriptions
from probseg.sharing.checkpoint import read_description

FROZEN = Path(__file__).parent / "frozen"
# models since format 2
LATER = ("energy", "hierarchical", "hierarchical-csae", "hierarchical-energy", "spu-net")
FIRST_FORMAT = dict.fromkeys(LATER, 2)
FILES = sorted(p.name for p in FROZEN.glob("*.safetensors") if "answer" not in p.name)


@pytest.mark.parametrize("name", FILES)
def test_a_frozen_file_gives_the_model_that_it_was(name):
    model = probseg.load(FROZEN / name)
    answer = load_file(FROZEN / name.replace(".safetensors", "-answer.safetensors"))
    if "latent" in answer:
        found = model.decode(answer["image"], answer["latent"])
    else:
        found = model.sample(answer["image"], 1, generator=torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(found, answer["probabilities"], atol=1e-6, rtol=1e-5)


def test_every_format_is_frozen_with_every_model(capsys):
    formats = {
        model: range(FIRST_FORMAT.get(model, 1), descriptions.VERSION + 1)
        for model in probseg.models
    }
    wanted = {f"{model}-probseg-{v}.safetensors" for model in formats for v in formats[model]}
    assert set(FILES) == wanted
    with capsys.disabled():
        print(f"\n{len(FILES)} frozen files of {descriptions.VERSION} formats load")


def test_what_the_oldest_format_did_not_say():
    description = read_description(FROZEN / "csae-probseg-1.safetensors")
    assert description.requires == () and description.probseg is None


def test_an_old_model_that_is_saved_again_is_of_the_present_format(tmp_path):
    model = probseg.load(FROZEN / "csae-probseg-1.safetensors")
    model.save_pretrained(tmp_path / "new")
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert config["format"] == f"probseg-{descriptions.VERSION}"
    again = probseg.from_pretrained(tmp_path / "new")
    assert again.spec == model.spec
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@pytest.mark.parametrize("version", [descriptions.VERSION + 1, 999])
def test_a_newer_format_is_refused_with_the_remedy(version, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"format": f"probseg-{version}", "spec": {"name": "csae"}}))
    with pytest.raises(CheckpointError, match=r"of a newer probseg.*pip install --upgrade probseg"):
        descriptions.from_config(path)


def test_migrations_run_one_after_the_other(tmp_path, monkeypatch):
    """Two versions from now, where a key was renamed and then a default changed."""

    def rename(document):
        spec = dict(document["spec"])
        return {**document, "spec": {"beta": spec.pop("kl_weight"), **spec}}

    def scale(document):
        return {**document, "spec": {**document["spec"], "beta": document["spec"]["beta"] * 2}}

    monkeypatch.setattr(descriptions, "VERSION", 4)
    monkeypatch.setattr(
        descriptions, "_MIGRATIONS", {**descriptions._MIGRATIONS, 2: rename, 3: scale}
    )
    path = tmp_path / "config.json"
    for form, spec, beta in [
        (1, {"kl_weight": 3}, 6),
        (2, {"kl_weight": 3}, 6),
        (3, {"beta": 3}, 6),
        (4, {"beta": 3}, 3),
    ]:
        document = {"format": f"probseg-{form}", "spec": {"name": "punet", **spec}}
        path.write_text(json.dumps({**document, **({"requires": []} if form > 1 else {})}))
        assert descriptions.from_config(path).spec == {"name": "punet", "beta": beta}
