"""`probseg describe`: parameters and FLOPs are exact, and the same in every call."""

import json

import pytest
import torch
from hierarchical_models import WITH_PYRAMID
from torch.utils.flop_counter import FlopCounterMode

import probseg
from probseg.cli.model_summary import OUTSIDE, named_parts, summarise
from probseg.cli.parser import parse_assignments
from probseg.errors import OptionError

SMALL = {"channels": [4, 8], "convolutions": 1}
OPTIONS = {"backbone": {"name": "unet", **SMALL}, "encoder": {"name": "axis-aligned", **SMALL}}
SET = [
    f"{part}.{key}={value}" for part, options in OPTIONS.items() for key, value in options.items()
]
SMALL_PYRAMID = ["pyramid.name=unet", "pyramid.channels=[4, 8]"]
OF_HIERARCHICAL = [*SMALL_PYRAMID, "scales=1"]
FLOW = "prior_projector = posterior_projector"


@pytest.fixture
def csae():
    return probseg.build("csae", **OPTIONS)


@pytest.fixture
def summary(csae):
    return summarise(csae, size=32, samples=5)


def _by_name(summary):
    return {part.name: part for part in summary.parts}


@pytest.mark.parametrize("name", probseg.models)
def test_four_calls_give_four_equal_outputs(command, name):
    chosen = OF_HIERARCHICAL if name in WITH_PYRAMID else SET[:2]
    chosen = [*chosen, "image_size=16"] if name == "hierarchical-csae" else chosen
    arguments = ("describe", name, "--set", *chosen, "--size", "16", "-n", "3", "--json")
    outputs = [command(*arguments) for _ in range(4)]
    assert outputs[0][0] == 0 and all(one == outputs[0] for one in outputs)


def test_a_model_is_summarised_equally_and_left_as_it_was(csae):
    before = {name: value.clone() for name, value in csae.state_dict().items()}
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    summaries = [summarise(csae, size=16, samples=3) for _ in range(4)]
    assert all(one == summaries[0] for one in summaries)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in csae.state_dict().items())
    assert all(one.grad is None for one in csae.parameters())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in csae.modules())


def test_the_parts_add_up_to_the_model(csae, summary):
    wanted = sum(one.numel() for one in csae.parameters())
    assert summary.total.parameters == wanted
    for field in ("parameters", "loss_flops", "sampling_flops"):
        assert sum(getattr(part, field) for part in summary.parts) == getattr(summary.total, field)


def test_flops_of_a_convolution_are_those_one_counts_by_hand(csae, summary):
    counts = []
    for module in csae.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, result: counts.append(2 * m.weight[0].numel() * result.numel())
            )
    csae.backbone(torch.rand(1, 1, 32, 32))
    backbone = _by_name(summary)["backbone"]
    assert backbone.loss_flops == backbone.sampling_flops == sum(counts) > 0


def test_flops_of_a_step_and_of_sampling_are_torchs(csae, summary):
    image, label = torch.rand(1, 1, 32, 32), torch.zeros(1, 32, 32).long()
    with FlopCounterMode(display=False) as forward:
        terms = csae.loss(image, label)
    with FlopCounterMode(display=False) as backward:
        sum(terms.values()).backward()
    with FlopCounterMode(display=False) as sampling:
        csae.sample(image, 5)
    assert summary.total.loss_flops == forward.get_total_flops()
    assert summary.gradient_flops == backward.get_total_flops()
    assert summary.total.sampling_flops == sampling.get_total_flops()


def test_sampling_needs_no_projector_and_no_posterior(summary):
    parts = _by_name(summary)
    for name in ("posterior_encoder", FLOW):
        assert parts[name].loss_flops > 0 and parts[name].sampling_flops == 0
    assert parts[OUTSIDE].loss_flops > 0  # the Sinkhorn divergence's matrix products


class Shared(torch.nn.Module):
    """A model with a container, a module in two parts, and a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.in_channels, self.classes, self.spec = 1, 2, {"name": "shared"}
        self.heads = torch.nn.ModuleList([torch.nn.Conv2d(1, 2, 1), torch.nn.Conv2d(1, 2, 1)])
        self.both = torch.nn.Sequential(self.heads[0])
        self.bias = torch.nn.Parameter(torch.zeros(3))

    def loss(self, image, label):
        return {"sum": sum(head(image).sum() for head in self.heads) + self.bias.sum()}

    def sample(self, image, n):
        return torch.stack([self.both(image)] * n)


def test_what_is_shared_counts_once_and_containers_are_opened():
    summary = summarise(Shared(), size=4, samples=2)
    parts = _by_name(summary)
    assert [name for name, _ in named_parts(Shared())] == ["heads.0", "heads.1", "both"]
    assert [parts[name].parameters for name in parts] == [4, 4, 0, 3]
    convolution = 2 * 2 * 16
    assert summary.total.loss_flops == 2 * convolution == 2 * parts["heads.1"].loss_flops
    assert summary.total.sampling_flops == convolution


def test_a_name_and_a_checkpoint_are_the_same_model(command, csae, tmp_path):
    csae.save(tmp_path / "model.safetensors")
    models = [tmp_path / "model.safetensors", tmp_path]
    outputs = [command("describe", one, "--size", "32", "--json") for one in models]
    outputs += [command("describe", "csae", "--set", *SET, "--size", "32", "--json")]
    assert all(status == 0 for status, _, _ in outputs)
    assert len({output for _, output, _ in outputs}) == 1
    assert json.loads(outputs[0][1])["spec"] == csae.spec


@pytest.mark.parametrize(
    ("size", "chosen", "shape"),
    [
        ([], ["image_size=[16, 24]"], [1, 16, 24]),
        (["--size", "20"], ["image_size=20"], [1, 20, 20]),
        ([], ["projector=identity", "gamma=0", "divergence=None"], [1, 128, 128]),
    ],
)
def test_the_image_is_of_the_models_own_size_unless_one_is_given(command, size, chosen, shape):
    model = ("describe", "hierarchical-csae", *size, "--set", *SMALL_PYRAMID, "scales=1", *chosen)
    status, output, _ = command(*model[:2], "--json", *model[2:])
    assert status == 0 and json.loads(output)["image"] == shape


def test_the_projectors_of_the_default_fit_the_image_that_describes_it():
    default = probseg.models["hierarchical-csae"].defaults
    assert default.image_size is not None  # the size that describe takes


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["csea"], 2, "did you mean 'csae'?"),
        (["csae", "--set", "laten_dim=3"], 2, "did you mean 'latent_dim'?"),
        (["csae", "--set", "latent_dim"], 2, "KEY=VALUE"),
        (["csae", "--size", "0"], 2, "--size must be an integer of at least 1"),
        (["missing.safetensors"], 1, "no checkpoint at missing.safetensors"),
    ],
)
def test_what_cannot_be_described_is_reported_in_a_line(command, arguments, status, message):
    exit_status, _, stderr = command("describe", *arguments)
    assert exit_status == status and message in stderr and stderr.count("\n") == 1


def test_assignments_that_contradict_each_other_are_refused():
    with pytest.raises(OptionError, match="--set"):
        parse_assignments(["backbone=unet", "backbone.channels=[8]"])
    assert parse_assignments(["a=None", "b.c=x y", "b.d=1.5"]) == {
        "a": None,
        "b": {"c": "x y", "d": 1.5},
    }
