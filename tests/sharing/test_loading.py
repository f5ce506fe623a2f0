"""Loading trusts neither the description nor the header of a file."""

import json
import os
import resource
import struct
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import PARTS, package, tiny, written

import probseg
from probseg.errors import CheckpointError, MissingPluginError, OptionError, ProbsegError
from probseg.registry.specs import StoredWeights
from probseg.sharing.checkpoint import read_description
from probseg.sharing.config import MAX_BYTES, MAX_DEPTH, Requirement, parsed


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    torch.manual_seed(1)
    tiny("csae").save(path)
    return path


WIDE = [10**6, 10**6, 10**6]


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": {"name": "unet", "channels": WIDE, "convolutions": 3}},
        {"encoder": {"name": "axis-aligned", "channels": WIDE}},
        {"latent_dim": 10**9},
        {"decoder": {"name": "fcomb", "features": 10**6}},
        {"projector": {"name": "planar", "steps": 10**9}},
        {"projector": {"name": "rational-quadratic", "hidden_features": 10**6}},
        {"projector": {"name": "affine-autoregressive", "steps": 10**7}},
        {"backbone": {"name": "unet", "channels": [1] * 10**5, "convolutions": 1}},
        {"backbone": {"name": "unet", "channels": [2, 4], "convolutions": 10**9}},
        {"backbone": {"name": "dpt", "img_size": 10**6}},
        {"in_channels": 10**12},
    ],
    ids=str,
)
def test_a_description_far_larger_than_its_file_is_refused_before_it_takes_memory(
    changes, tmp_path
):
    path = written(tmp_path / "m.safetensors", tiny("csae"), **changes)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ProbsegError):
        probseg.load(path)
    assert time.process_time() - started < 20
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # KiB, on top of the libraries that dpt imports
    assert torch.is_grad_enabled()  # nothing that was set on the way is left so


def test_what_is_refused_says_why(tmp_path):
    path = written(tmp_path / "m.safetensors", tiny(), projector={"name": "planar", "steps": 10**9})
    with pytest.raises(CheckpointError, match=r"m\.safetensors describes is far larger than the"):
        probseg.load(path)
    path = written(tmp_path / "m.safetensors", tiny(), latent_dim=5)
    with pytest.raises(CheckpointError, match=r"'decoder\.from_latent\.weight' is \(4, 2\), not"):
        probseg.load(path)


def test_building_elsewhere_is_not_counted(saved):
    """Another thread may build a large model while a small one is loaded."""
    stop, failed = threading.Event(), []

    def build():
        while not stop.is_set():
            try:
                torch.nn.Linear(4, 4)
            except Exception as error:
                failed.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    try:
        for _ in range(5):
            probseg.load(saved)
    finally:
        stop.set()
        thread.join()
    assert not failed


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_keep_their_type(kind, tmp_path):
    model = tiny("csae").to(kind)
    model.save(tmp_path / "m.safetensors")
    loaded = probseg.load(tmp_path / "m.safetensors")
    for name, tensor in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize("kind", [torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_are_no_real_numbers_are_refused(kind, tmp_path):
    model = tiny("punet")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["decoder.logits.bias"] = torch.ones(2).to(kind)
    metadata = {"format": "probseg-1", "spec": json.dumps(model.spec)}
    save_file(state, tmp_path / "m.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match=r"'decoder\.logits\.bias' is of the type"):
        probseg.load(tmp_path / "m.safetensors")


def test_one_flipped_bit_of_a_weight_is_seen(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or altered: its digest is not that"):
        probseg.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("key", ["spec", "requires", "probseg", "digest", "format"])
def test_altered_metadata_are_seen(key, saved, tmp_path):
    with saved.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        metadata = json.loads(file.read(length))["__metadata__"]
    altered = {
        "spec": metadata["spec"].replace('"beta": 10.0', '"beta": 11.0'),
        "requires": "[ ]",
        "probseg": "9.9",
        "digest": "sha256:" + 64 * "0",
        "format": "probseg-1",  # which needs no digest, but has one here
    }
    assert altered[key] != metadata[key]
    path = tmp_path / "m.safetensors"
    save_file(load_file(saved), path, metadata={**metadata, key: altered[key]})
    with pytest.raises(CheckpointError, match="damaged or altered"):
        probseg.load(path)


def test_a_file_of_this_format_has_to_have_a_digest(saved, tmp_path):
    metadata = read_description(saved).metadata()
    save_file(load_file(saved), tmp_path / "m.safetensors", metadata=metadata)
    with pytest.raises(CheckpointError, match="damaged or altered"):
        probseg.load(tmp_path / "m.safetensors")


def test_json_that_is_long_deep_or_no_unicode_is_refused(tmp_path):
    file = tmp_path / "config.json"
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parsed(nested, file)
    for text, reason in [
        (f"[{nested}]", f"nested more than {MAX_DEPTH} deep"),
        ("[" * 50_000, "nested more than|damaged"),
        (f'"{"a" * MAX_BYTES}"', "more than"),
        (r'"\ud800"', "surrogates not allowed"),
        ("1" * 5000, "damaged"),
    ]:
        with pytest.raises(CheckpointError, match=reason):
            parsed(text, file)


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**33))
        file.truncate(2**34)  # a hole that takes no room on the disk
    with pytest.raises(CheckpointError, match=f"its header claims {2**33} bytes"):
        probseg.load(path)


def test_loading_downloads_no_weights(tmp_path, monkeypatch):
    """A model that started from ImageNet's weights is loaded without a network."""
    model = probseg.build("punet", backbone={"name": "smp", "encoder": "mobilenet_v2"})
    spec = {**model.spec["backbone"], "encoder_weights": "imagenet"}
    path = written(tmp_path / "m.safetensors", model, backbone=spec)
    code = (
        "import socket, sys, probseg\n"
        "def refuse(*arguments): raise AssertionError('the network is used')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "print(probseg.load(sys.argv[1]).spec['backbone']['encoder_weights'])"
    )
    run = [sys.executable, "-c", code, str(path)]
    found = subprocess.run(run, capture_output=True, text=True)
    assert (found.stdout.strip(), found.returncode) == ("imagenet", 0), found.stderr


def test_a_plugin_is_told_that_its_weights_are_in_the_file(tmp_path):
    received = []

    @probseg.projectors.register("pretrained")
    def pretrained(features: int, context_features: int, *, weights: str = "web"):
        received.append(weights)
        return probseg.projectors["planar"](features, context_features)

    try:
        projector = {"name": "pretrained", "weights": "web"}
        tiny(
            "csae", projector=projector, divergence={"name": "sinkhorn", "weights": "density"}
        ).save(tmp_path / "m.safetensors")
        loaded = probseg.load(tmp_path / "m.safetensors")
    finally:
        probseg.projectors.unregister("pretrained")
    assert received == ["web", "web"]
    assert [isinstance(weights, StoredWeights) for weights in received] == [False, True]
    assert (
        loaded.spec["projector"] == projector and type(loaded.spec["projector"]["weights"]) is str
    )
    assert loaded.spec["divergence"]["weights"] == "density"


@pytest.mark.parametrize("encoder", ["tu-hf-hub:somebody/network", "tu-local-dir:/tmp/network"])
def test_an_encoder_of_a_repository_or_a_folder_is_refused(encoder, tmp_path):
    backbone = {"name": "smp", "encoder": encoder}
    path = written(tmp_path / "m.safetensors", tiny("punet"), backbone=backbone)
    with pytest.raises(OptionError, match="would be looked up in a repository or a folder"):
        probseg.load(path)


def test_a_part_that_looks_at_its_weights_is_loaded_and_limited_too(tmp_path):
    """A constructor may use the values of its weights, so loading needs real ones."""
    from probseg.projectors.planar import planar

    @probseg.projectors.register("looking")
    def looking(features: int, context_features: int, *, steps: int = 1):
        flow = planar(features, context_features, steps=steps)
        assert all(float(p.detach().sum()) < 1e9 for p in flow.parameters())
        return flow

    try:
        model = tiny("csae", projector="looking")
        model.save(tmp_path / "m.safetensors")
        loaded = probseg.load(tmp_path / "m.safetensors")
        assert torch.equal(
            loaded.prior_projector.state_dict()["transform._transforms.0.amortise.bias"],
            model.prior_projector.state_dict()["transform._transforms.0.amortise.bias"],
        )
        many = {"projector": {"name": "looking", "steps": 10**9}}
        path = written(tmp_path / "big.safetensors", model, **many)
        with pytest.raises(CheckpointError, match="is far larger than the weights"):
            probseg.load(path)
    finally:
        probseg.projectors.unregister("looking")


class TestPlugins:
    """A model says which packages its parts are of."""

    def test_the_package_is_recorded_and_named_where_it_is_missing(self, tmp_path, monkeypatch):
        site, path = package(tmp_path / "site"), tmp_path / "m.safetensors"
        with monkeypatch.context() as installed:
            installed.syspath_prepend(str(site))
            tiny("csae", projector="acme").save(path)
            assert probseg.load(path).spec["projector"]["name"] == "acme"
        monkeypatch.delitem(sys.modules, "acme_flows")
        assert read_description(path).requires == (
            Requirement("projector", "acme", "acme-flows", "1.2"),
        )
        wanted = r"m\.safetensors needs the projector 'acme' of the package acme-flows, which is "
        with pytest.raises(MissingPluginError, match=wanted) as raised:
            probseg.load(path)
        assert "pip install 'acme-flows==1.2'" in str(raised.value)

    def test_each_part_of_a_pair_is_recorded(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(package(tmp_path / "site")))
        projector = {"prior": "acme", "posterior": "planar"}
        tiny("csae", projector=projector).save(tmp_path / "m.safetensors")
        (found,) = read_description(tmp_path / "m.safetensors").requires
        assert (found.kind, found.name) == ("projector", "acme")

    def test_what_a_program_registered_is_named(self, tmp_path):
        from probseg.divergences.kl import KL

        probseg.divergences.register("mine")(KL)
        tiny("csae", kl="mine").save(tmp_path / "m.safetensors")
        probseg.divergences.unregister("mine")
        with pytest.raises(MissingPluginError, match=r"divergence 'mine', which its author's prog"):
            probseg.load(tmp_path / "m.safetensors")

    def test_what_probseg_ships_needs_nothing(self, saved):
        assert read_description(saved).requires == ()

    @pytest.mark.parametrize(
        "distribution", ["--index-url=x", "a b", "git+https://x", "a'; rm", ""]
    )
    def test_no_file_puts_a_command_into_the_message(self, distribution, tmp_path):
        entry = {"kind": "projector", "name": "x", "distribution": distribution, "version": "1"}
        with pytest.raises(CheckpointError, match="is damaged"):
            Requirement.parsed(entry, tmp_path)


def test_listing_and_help_import_no_hub():
    code = "import sys, probseg; list(probseg.models); print('huggingface_hub' in sys.modules)"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == "False"
    code = "import sys, probseg.models.latent; print('huggingface_hub' in sys.modules)"
    run = [sys.executable, "-c", code]
    found = subprocess.run(run, capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == "False"


def test_the_parts_of_a_spec_are_those_that_it_was_built_from():
    assert set(PARTS) <= set(tiny("csae").spec)
