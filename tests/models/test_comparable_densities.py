"""A divergence that does not compare a model's densities is refused when the model is built."""

import pytest
import torch
from small_models import small
from torch import nn

import probseg
from probseg.errors import OptionError
from probseg.models import hierarchical_recipes
from probseg.models.latent import LatentVariableModel

FLOOR = {"name": "kl", "free_bits": 0.5}
FOLLOWING = [{"name": name, "samples": None} for name in ("exact-ot", "sinkhorn")]
TINY = {"channels": [4, 8], "convolutions": 1}
PYRAMID = {"pyramid": {"name": "unet", **TINY}, "scales": 1, "depth": 1, "image_size": 16}
MIXTURE = {"name": "mixture", "experts": 2, **TINY}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("csae", {"kl": FLOOR, "kl_on": "projected"}, "is a TransformedDistribution; compare them"),
        ("punet", {"kl": FLOOR, "encoder": MIXTURE}, "is a ReparameterisedMixture; compare them"),
        (
            "punet",
            {"kl": FLOOR, "kl_on": "annotators", "all_annotators": True},
            "is an AnnotatorMixture; compare them",
        ),
        *(("csae", {"divergence": one}, "samples=None .* give a number") for one in FOLLOWING),
        ("spu-net", {"divergence_on": "projected"}, "samples=None .* give a number"),
        (
            "hierarchical-csae",
            {**PYRAMID, "divergence": FLOOR},
            "is a TransformedDistribution; compare them",
        ),
        ("hierarchical-csae", {**PYRAMID, "divergence": FOLLOWING[0]}, "samples=None"),
    ],
)
def test_what_would_fail_in_the_first_step_is_refused_when_it_is_built(name, options, message):
    make = probseg.build if name.startswith("hierarchical") else small
    with pytest.raises(OptionError, match=message):
        make(name, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("csae", {"kl": FLOOR}),
        ("punet", {"kl": FLOOR, "kl_on": "projected"}),
        ("spu-net", {}),
        ("csae", {"kl": FLOOR, "beta": 0.0, "kl_on": "projected"}),
        ("hierarchical-csae", {**PYRAMID, "kl": FLOOR}),
    ],
)
def test_what_can_be_compared_is_built_as_without_the_check(name, options, monkeypatch):
    make = probseg.build if name.startswith("hierarchical") else small
    torch.manual_seed(0)
    model, after = make(name, **options), torch.rand(1)
    monkeypatch.setattr(LatentVariableModel, "_check_densities", lambda self: None)
    monkeypatch.setattr(hierarchical_recipes, "_check_densities", lambda *_: None)
    torch.manual_seed(0)
    unchecked = make(name, **options)
    assert torch.equal(torch.rand(1), after) and model.penalties
    weights = unchecked.state_dict()
    assert all(torch.equal(one, weights[key]) for key, one in model.state_dict().items())


class Somebodys(nn.Module):
    """A flow that does not work with a single image, as one with batch normalisation."""

    def __init__(self, **_):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, density, context):
        self.norm(context[:, :1])
        return density


@pytest.mark.parametrize("name", ["csae", "hierarchical-csae"])
def test_a_flow_of_somebody_else_is_not_run_when_a_model_is_built(name):
    probseg.projectors.register("somebodys")(Somebodys)
    try:
        small(name, projector="somebodys")
    finally:
        probseg.projectors.unregister("somebodys")


@pytest.mark.parametrize(("samples", "experts"), [(7, 2), (2, 4), (3, 2)])
def test_the_experts_of_a_prior_divide_the_samples_or_energy_is_not_built(samples, experts):
    encoder = {**MIXTURE, "experts": experts}
    with pytest.raises(OptionError, match=f"multiple of the prior's {experts} experts, such as"):
        probseg.build("energy", samples=samples, encoder=encoder, backbone={"name": "unet", **TINY})


def test_one_sample_has_no_spread_and_energy_is_not_built():
    with pytest.raises(OptionError, match="samples must be an integer of at least 2, not 1"):
        probseg.build("energy", samples=1)
