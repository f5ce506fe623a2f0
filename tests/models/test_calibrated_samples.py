"""What a calibration changes of a model's samples, and of a prior."""

import copy
import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    TransformedDistribution,
)
from torch.distributions.transforms import AffineTransform

import probseg
from probseg.calibration import Calibration, calibration_of
from probseg.errors import CheckpointError, InputError, OptionError
from probseg.sharing.export import Sampler

NETWORK = {"name": "unet", "channels": [4, 8], "convolutions": 1}
IMAGE = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
HIERARCHY = {"pyramid": {"name": "unet", "channels": [4, 4, 4], "convolutions": 1}, "depth": 1}
MODELS = {
    "punet": {"backbone": NETWORK},
    "csae": {"backbone": NETWORK},
    "energy": {"backbone": NETWORK, "encoder": {"name": "mixture", "experts": 2}},
    "deterministic": {"backbone": NETWORK},
    "hierarchical": {**HIERARCHY, "scales": 2},
}


def _model(name):
    torch.manual_seed(0)
    model = probseg.build(name, **MODELS[name]).eval()
    for weight in model.parameters():  # small ones would hide the temperature
        torch.nn.init.normal_(weight, std=0.3)
    return model


def _sample(model, n=5, **options):
    return model.sample(IMAGE, n, generator=torch.Generator().manual_seed(1), **options)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_logits_are_divided_by_the_temperature(name):
    model = _model(name)
    odds = torch.logit(_sample(model)[:, :, 1].double())
    model.calibration = {"temperature": 2.5}
    torch.testing.assert_close(
        torch.logit(_sample(model)[:, :, 1].double()), odds / 2.5, rtol=1e-3, atol=1e-3
    )


@pytest.mark.filterwarnings("ignore:the prior.s encoder takes the image in one piece")
@pytest.mark.parametrize("name", ["punet", "csae", "deterministic"])
def test_tiles_have_it_too(name):
    model = _model(name)
    model.calibration = {"temperature": 2.5}
    torch.testing.assert_close(_sample(model, tile=8), _sample(model), rtol=1e-4, atol=1e-5)


def test_decoded_latents_and_reconstructions_have_it():
    model = _model("punet")
    latent, label = torch.randn(3, 2, model.latent_dim), torch.zeros(2, 16, 16, dtype=torch.long)

    def drawn():
        generator = torch.Generator().manual_seed(0)
        return model.decode(IMAGE, latent), model.reconstruct(IMAGE, label, generator=generator)

    before = drawn()
    model.calibration = {"temperature": 3}
    for plain, calibrated in zip(before, drawn(), strict=True):
        torch.testing.assert_close(calibrated, Calibration(3).of_probabilities(plain))


@pytest.mark.parametrize("name", ["punet", "energy", "hierarchical"])
def test_losses_do_not_depend_on_it(name):
    model = _model(name)
    label = (IMAGE > 0.5).long()[:, 0]
    masks = label[:, None].repeat(1, 2, 1, 1) if model.all_annotators else label
    losses = []
    for calibration in (None, {"temperature": 2, "prior_scale": 3}):
        model.calibration = calibration
        losses.append(model.loss(IMAGE, masks, generator=torch.Generator().manual_seed(0)))
    assert losses[0] == losses[1]


def test_latents_differ_by_the_scale_from_the_priors_mean():
    model = _model("punet")
    prior = model.prior(IMAGE)
    expected = model.decode(IMAGE, (_noise(5, prior) * 0.5 * prior.stddev + prior.mean).detach())
    model.calibration = {"prior_scale": 0.5}
    torch.testing.assert_close(_sample(model), expected)
    torch.testing.assert_close(model.prior(IMAGE).stddev, prior.stddev)  # what was learnt


def _noise(n, density):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, *density.mean.shape, generator=generator)


def test_a_projected_prior_is_the_projection_of_the_scaled_one():
    torch.manual_seed(0)
    model = probseg.build("csae", **MODELS["csae"]).eval()
    spreads = []
    for scale in (1.0, 1e-3):
        model.calibration = {"prior_scale": scale}
        spreads.append(model.sampled_density(IMAGE, projected=True).rsample((50,)).std(0).max())
    assert 0 < spreads[1] < spreads[0] / 50


def test_a_hierarchical_model_without_scale_has_one_sample():
    model = _model("hierarchical")
    spread = _sample(model).std(0).max()
    model.calibration = {"prior_scale": 1e-3}
    assert _sample(model).std(0).max() < spread / 50


def _matrix():
    factor = torch.tensor([[1.0, 0.0], [0.5, 2.0]])
    return factor @ factor.T


DENSITIES = {
    "normal": Independent(Normal(torch.ones(1, 2), torch.tensor([[1.0, 2.0]])), 1),
    "full": MultivariateNormal(torch.ones(1, 2), _matrix()[None]),
    "low rank": LowRankMultivariateNormal(
        torch.ones(1, 2), torch.tensor([[[1.0], [2.0]]]), torch.ones(1, 2)
    ),
    "flow": TransformedDistribution(
        Independent(Normal(torch.ones(1, 2), torch.ones(1, 2)), 1), [AffineTransform(1.0, 2.0)]
    ),
}


@pytest.mark.parametrize("name", sorted(DENSITIES))
def test_the_covariance_has_the_square_of_the_scale(name):
    density = DENSITIES[name]
    scaled = Calibration(prior_scale=3).scaled(density)
    draws = []
    for one in (density, scaled):
        torch.manual_seed(0)
        draws.append(one.sample((2000,))[:, 0])
    plain, wide = draws
    centre = density.mean if name != "flow" else torch.tensor([[3.0, 3.0]])
    torch.testing.assert_close(wide - centre, 3 * (plain - centre), rtol=1e-4, atol=1e-4)


def test_experts_keep_their_means_and_weights():
    components = Independent(Normal(torch.tensor([[[0.0], [10.0]]]), torch.ones(1, 2, 1)), 1)
    mixture = MixtureSameFamily(Categorical(torch.tensor([[0.25, 0.75]])), components)
    scaled = Calibration(prior_scale=2).scaled(mixture)
    torch.testing.assert_close(scaled.mean, mixture.mean)
    between = 0.25 * 0.75 * 100
    torch.testing.assert_close(scaled.variance, torch.tensor([[4 + between]]))


def test_a_mixture_keeps_its_gradients_and_random_numbers():
    model = _model("energy")
    mixture = model.sampled_density(IMAGE, projected=False)
    draws = []
    for one in (mixture, Calibration(prior_scale=1.001).scaled(mixture)):
        torch.manual_seed(0)
        draws.append(one.rsample((50,)))
    torch.testing.assert_close(*draws, rtol=0.02, atol=0.05)


def test_what_is_no_calibration_of_a_strangers_model_changes_nothing():
    stranger = torch.nn.Module()
    stranger.calibration = torch.nn.Linear(1, 1)
    assert calibration_of(stranger) == Calibration()


def test_a_density_without_scale_is_refused():
    with pytest.raises(InputError, match="StudentT has no scale that could be multiplied"):
        Calibration(prior_scale=2).scaled(StudentT(torch.ones(1)))


def test_it_is_part_of_the_spec_and_of_files(tmp_path):
    model = _model("punet")
    plain = dict(model.spec)
    model.calibration = {"temperature": 2.0, "prior_scale": 1.5}
    assert model.spec == {**plain, "calibration": {"temperature": 2.0, "prior_scale": 1.5}}
    again = probseg.build(**model.spec)
    assert again.calibration == Calibration(2.0, 1.5) and again.spec == model.spec
    model.save(tmp_path / "model.safetensors")
    loaded = probseg.load(tmp_path / "model.safetensors")
    assert torch.equal(_sample(loaded), _sample(model))
    model.calibration = None
    assert model.spec == plain and model.calibration == Calibration()


def test_a_file_with_a_damaged_one_is_refused(tmp_path):
    model = _model("punet")
    model.spec = {**model.spec, "calibration": {"temperature": -1.0}}
    model.save(tmp_path / "model.safetensors")
    with pytest.raises((OptionError, CheckpointError), match="temperature must be"):
        probseg.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("value", [0, -1, 1e-39, 1e9, math.inf, math.nan, "two", True])
def test_numbers_that_are_not_positive_are_refused(value):
    with pytest.raises(OptionError, match="temperature"):
        Calibration(temperature=value)


@pytest.mark.parametrize("given", [{"heat": 2}, [1, 2], 2.0])
def test_what_is_no_calibration_is_refused(given):
    with pytest.raises(OptionError, match="mapping of temperature and prior_scale"):
        _model("punet").calibration = given


def test_a_model_without_prior_refuses_a_scale():
    with pytest.raises(OptionError, match="'deterministic' has no prior whose scale"):
        _model("deterministic").calibration = {"prior_scale": 2}


def test_certain_probabilities_stay_certain():
    given = torch.tensor([[[1.0]], [[0.0]]])
    assert torch.equal(Calibration(4.0).of_probabilities(given), given)


def test_programs_for_others_have_it():
    model = _model("punet")
    model.calibration = {"temperature": 2.5, "prior_scale": 0.5}
    noise = torch.randn(3, 2, model.latent_dim, generator=torch.Generator().manual_seed(0))
    latent = model.prior(IMAGE).mean + 0.5 * noise * model.prior(IMAGE).stddev
    with torch.no_grad():
        drawn = Sampler(model)(IMAGE, noise)
    torch.testing.assert_close(drawn, model.decode(IMAGE, latent.detach()))


def test_a_copy_has_its_own():
    model = _model("punet")
    model.calibration = {"temperature": 2.0}
    other = copy.deepcopy(model)
    other.calibration = None
    assert model.calibration == Calibration(2.0) and "calibration" in model.spec
    assert "calibration" not in other.spec
