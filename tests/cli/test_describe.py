"""`probseg describe`: the numbers are those of the model, and the data go where they go."""

import json

import pytest
import torch
from matplotlib.image import imread
from torch.utils.flop_counter import FlopCounterMode

import probseg
from probseg.cli.anatomy import dissect
from probseg.cli.assignments import assigned
from probseg.cli.tracing import Tracer
from probseg.errors import OptionError

SMALL = {"channels": [4, 8], "convolutions": 1}
OPTIONS = {"backbone": {"name": "unet", **SMALL}, "encoder": {"name": "axis-aligned", **SMALL}}
SET = [
    f"{part}.{key}={value}" for part, options in OPTIONS.items() for key, value in options.items()
]


@pytest.fixture
def csae():
    return probseg.build("csae", **OPTIONS)


@pytest.fixture
def anatomy(csae):
    return dissect(csae, size=32, samples=5)


def test_parameters_add_up(csae, anatomy):
    wanted = sum(one.numel() for one in csae.parameters())
    assert sum(part.parameters for part in anatomy.parts) == wanted
    assert anatomy.memory.weights == 4 * wanted and anatomy.memory.training_state == 16 * wanted


def test_operations_of_a_convolution_are_those_one_counts_by_hand(csae, anatomy):
    flops = {part.name: part.sampling_flops for part in anatomy.parts}
    for module in csae.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(_count)
    _count.total = 0
    csae.backbone(torch.rand(1, 1, 32, 32))
    assert flops["backbone"] == _count.total > 0


def _count(module, arguments, result):
    per_pixel = 2 * module.weight[0].numel()
    _count.total += per_pixel * result.numel()


def test_operations_of_a_whole_step_are_torchs(csae, anatomy):
    image, label = torch.rand(1, 1, 32, 32), torch.zeros(1, 32, 32).long()
    with FlopCounterMode(display=False) as forward:
        terms = csae.loss(image, label)
    with FlopCounterMode(display=False) as backward:
        sum(terms.values()).backward()
    # a divergence's matrix products are outside of all parts
    inside = sum(anatomy.training.flops.values())
    assert 0.98 * forward.get_total_flops() <= inside <= forward.get_total_flops()
    assert anatomy.backward_flops == backward.get_total_flops()


def _reads(flow):
    return {node.name: set(node.reads) for node in flow.nodes}


def test_data_go_where_they_go_in_training(anatomy):
    flow = "prior_projector = posterior_projector"
    assert _reads(anatomy.training) == {
        "image": set(),
        "label": set(),
        "posterior_encoder": {"image", "label"},
        "prior_encoder": {"image"},
        "backbone": {"image"},
        flow: {"posterior_encoder", "prior_encoder"},  # a density and the prior's context
        "decoder": {"backbone", flow},
        f"{flow} #2": {"prior_encoder"},
        "cross_entropy": {"label", "decoder"},
        "kl": {"posterior_encoder", "prior_encoder"},
        "divergence": {flow, f"{flow} #2"},
    }


def test_sampling_needs_no_projector_and_no_posterior(anatomy):
    assert _reads(anatomy.sampling) == {
        "image": set(),
        "prior_encoder": {"image"},
        "backbone": {"image"},
        "decoder": {"prior_encoder", "backbone"},
        "samples": {"decoder"},
    }
    gives = {node.name: node.gives for node in anatomy.sampling.nodes}
    assert gives["prior_encoder"] == "Normal (1, 6), (1, 8)"
    assert gives["samples"] == "(5, 1, 2, 32, 32)"


class Forgetful(torch.nn.Module):
    """Its second part reads a constant, made where something of the image has just lain."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Identity(), torch.nn.Linear(16, 16)
        self.memory = bytearray(64)

    def forward(self, image):
        lost = torch.frombuffer(self.memory, dtype=torch.float32)
        lost.copy_(self.first(image))
        place = lost.data_ptr()
        del lost
        self.memory[:] = bytes(64)
        constant = torch.frombuffer(self.memory, dtype=torch.float32)
        assert constant.data_ptr() == place
        return self.second(constant)


def test_a_tensor_at_the_address_of_a_lost_one_has_its_own_sources():
    model, image = Forgetful(), torch.rand(16)
    tracer = Tracer(model, {"image": image})
    with torch.no_grad(), tracer.running():
        output = model(image)
    assert _reads(tracer.flow({"output": output})) == {
        "image": set(),
        "second": set(),
        "output": {"second"},
    }


@pytest.mark.parametrize("name", ["csae", "punet"])
def test_a_model_is_the_same_however_often_it_is_taken_apart(name):
    model = probseg.build(name, **OPTIONS)
    found = [dissect(model, size=16, samples=3) for _ in range(6)]
    assert all(one == found[0] for one in found)


def test_what_is_kept_for_the_gradients_grows_with_the_image(csae):
    small, large = (dissect(csae, size=size, samples=1).memory for size in (32, 64))
    assert 3.5 < large.training_image / small.training_image < 4.1


def test_a_name_a_file_and_a_checkpoint_are_the_same_model(command, csae, tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(csae.spec))
    (tmp_path / "spec.toml").write_text('name = "csae"\n' + "\n".join(map(_toml, SET)))
    csae.save(tmp_path / "model.safetensors")
    specs = [str(tmp_path / file) for file in ("spec.json", "spec.toml", "model.safetensors")]
    told = [command("describe", one, "--size", "32", "--json") for one in specs]
    told += [command("describe", "csae", "--set", *SET, "--size", "32", "--json")]
    assert all(status == 0 for status, _, _ in told)
    assert len({output for _, output, _ in told}) == 1
    assert json.loads(told[0][1])["spec"] == csae.spec


def _toml(assignment):
    key, _, value = assignment.partition("=")
    return f"{key} = {value if value[0] in '[0123456789' else json.dumps(value)}"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_flow_is_told_and_drawn(command, tmp_path, suffix):
    out = tmp_path / f"flow.{suffix}"
    status, output, _ = command("describe", "csae", "--set", *SET, "--size", "32", "--out", out)
    assert status == 0 and str(out) in output and "\x1b" not in output
    assert (
        "decoder [FComb] → (16, 1, 2, 32, 32)" in output
        and "posterior_encoder (see above)" in output
    )
    if suffix == "png":
        assert imread(out).std() > 0.02
    else:
        assert out.read_text().count("<text") + out.read_text().count('<g id="text') > 10


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["csea"], 2, "did you mean 'csae'?"),
        (["csae", "--set", "laten_dim=3"], 2, "did you mean 'latent_dim'?"),
        (["csae", "--set", "latent_dim"], 2, "KEY=VALUE"),
        (["csae", "--size", "0"], 2, "at least 1"),
        (["csae", "--out", "flow.txt"], 2, "is none of .png, .svg, .pdf"),
        (["missing.json"], 1, "missing.json cannot be read: No such file"),
        (["missing.safetensors"], 1, "no checkpoint at missing.safetensors"),
    ],
)
def test_what_cannot_be_described_is_told_in_a_line(command, arguments, status, message):
    found, _, complaint = command("describe", *arguments)
    assert found == status and message in complaint and complaint.count("\n") == 1


@pytest.mark.parametrize(("text", "reason"), [("{", "is no JSON"), ("[1]", "describes no model")])
def test_a_file_that_is_no_description_is_refused(command, tmp_path, text, reason):
    (tmp_path / "spec.json").write_text(text)
    status, _, complaint = command("describe", tmp_path / "spec.json")
    assert status == 1 and reason in complaint


def test_assignments_that_contradict_each_other_are_refused():
    with pytest.raises(OptionError, match="--set"):
        assigned(["backbone=unet", "backbone.channels=[8]"])
    assert assigned(["a=None", "b.c=x y", "b.d=1.5"]) == {"a": None, "b": {"c": "x y", "d": 1.5}}
