"""Stochastic Segmentation Networks: the contract of every model, and what the paper says."""

import math

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal

import probseg
from probseg.errors import InputError, OptionError
from probseg.testing import checks
from probseg_ssn import LowRankLogits, ssn

UNET = {"name": "unet", "channels": [16, 32], "convolutions": 2, "norm": "group"}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _density(batch=1, rank=2, classes=2, height=1, width=2):
    mean = torch.randn(batch, classes, height, width)
    factor = torch.randn(batch, rank, classes, height, width)
    return LowRankLogits(mean, factor, 0.1 + torch.rand(batch, classes, height, width))


def _of_torch(density):
    return LowRankMultivariateNormal(
        density.mean.flatten(1), density.factor.flatten(2).mT, density.scale.flatten(1).square()
    )


@pytest.mark.parametrize("check", checks["model"], ids=lambda check: check.__name__)
def test_ssn_keeps_the_contract(check):
    check({"name": "ssn", "backbone": UNET})


def test_samples_have_the_mean_and_covariance_of_torchs_low_rank_normal():
    density = _density()
    samples = density.rsample((200_000,)).flatten(2)[:, 0]
    wanted = _of_torch(density)
    torch.testing.assert_close(samples.mean(0), wanted.mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(samples.T.cov(), wanted.covariance_matrix[0], atol=0.1, rtol=0)
    torch.testing.assert_close(density.variance.flatten(1), wanted.variance)


def test_a_sample_reaches_mean_factor_and_scale():
    parts = [torch.randn(1, 2, 3, 4), torch.randn(1, 5, 2, 3, 4), torch.rand(1, 2, 3, 4)]
    for part in parts:
        part.requires_grad_()
    gradients = torch.autograd.grad(LowRankLogits(*parts).rsample((3,)).sum(), parts)
    torch.testing.assert_close(gradients[0], torch.full_like(parts[0], 3.0))
    assert all(gradient.any() for gradient in gradients)


def test_the_loss_is_the_likelihood_that_the_integral_has():
    """One pixel, two classes: E[sigmoid(difference of the logits)] has a quadrature to compare."""
    model = ssn(backbone=UNET, samples=20_000).eval()
    torch.nn.init.normal_(model.factor.bias, std=0.5)
    torch.nn.init.zeros_(model.log_scale.bias)
    image, label = torch.rand(1, 1, 1, 1), torch.ones(1, 1, 1, dtype=torch.long)
    with torch.no_grad():
        found = model.loss(image, label)["negative_log_likelihood"]
        density = model.logits(model.features(image))
    of_torch = _of_torch(density)
    contrast = torch.tensor([-1.0, 1.0])
    mean = of_torch.mean[0] @ contrast
    std = (contrast @ of_torch.covariance_matrix[0] @ contrast).sqrt()
    assert std > 1  # or the mean alone would do
    z = torch.linspace(-8, 8, 4001)
    weight = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    likelihood = torch.trapezoid(weight * torch.sigmoid(mean + std * z), z)
    torch.testing.assert_close(found, -likelihood.log(), atol=0.01, rtol=0)


def test_the_loss_sums_over_pixels_and_averages_over_images():
    """With next to no covariance it is the cross-entropy of the mean."""
    model = ssn(backbone=UNET, classes=3, log_scale_bound=1e-3).eval()
    torch.nn.init.zeros_(model.factor.weight)
    torch.nn.init.zeros_(model.factor.bias)
    image, label = torch.rand(2, 1, 9, 7), torch.randint(3, (2, 9, 7))
    with torch.no_grad():
        density = model.logits(model.features(image))
        density.scale.zero_()
        model.logits = lambda features: density
        found = model.loss(image, label)["negative_log_likelihood"]
    wanted = torch.nn.functional.cross_entropy(density.mean, label, reduction="sum") / 2
    torch.testing.assert_close(found, wanted)


def test_pixels_of_a_sample_agree_more_than_by_chance():
    """What sets it apart from pixelwise uncertainty: neighbours rise and fall together."""
    model = ssn(backbone=UNET).eval()
    torch.nn.init.constant_(model.log_scale.bias, -5.0)
    samples = model.sample(torch.rand(1, 1, 8, 8), 200)[:, 0, 1].flatten(1)
    assert samples.std(0).min() > 1e-3
    assert samples.T.corrcoef().abs().mean() > 0.3


# it warns of the very scales that are tried here
@pytest.mark.filterwarnings("ignore::probseg.utils.model_inputs.ScaleWarning")
def test_images_of_hostile_contrast_train_without_nan():
    model = ssn(backbone=UNET)
    label = torch.randint(2, (1, 8, 8))
    for value in (0.0, 1e-38, 1.0, 1e6):
        model.zero_grad()
        model.loss(torch.full((1, 1, 8, 8), value), label)["negative_log_likelihood"].backward()
        assert all(p.grad.isfinite().all() for p in model.parameters()), value


def test_it_has_no_latent_space():
    model = ssn(backbone=UNET)
    assert isinstance(model, probseg.interfaces.Model)
    assert not isinstance(model, probseg.interfaces.LatentModel)


def test_it_is_saved_and_loaded(tmp_path):
    model = probseg.build(
        "ssn", backbone=UNET, in_channels=3, rank=4, class_prior=[0.9, 0.1]
    ).eval()
    model.save(tmp_path / "model.safetensors")
    again, image = probseg.load(tmp_path / "model.safetensors"), torch.rand(2, 3, 10, 12)
    samples = [m.sample(image, 3, generator=_generator()) for m in (model, again)]
    assert torch.equal(*samples)


def test_it_learns_the_distribution_of_ambiguous_shapes(tmp_path):
    """By ``fit``, as every model; samples come nearer to the annotations than any one answer."""
    from probseg.datasets.views import subset
    from probseg.training import TrainingSettings, fit

    data = probseg.datasets.create("ambiguous-shapes", samples=80, size=16)
    train, validation = subset(data, range(60)), subset(data, range(60, 80))
    model = probseg.build("ssn", backbone=UNET)
    settings = TrainingSettings(
        batch_size=16, learning_rate=3e-3, max_steps=120, validate_every=40, clip=100
    )
    result = fit(model, train, validation, settings, out=tmp_path / "run", progress=False)
    first, last = (result.history[i]["validation/loss"] for i in (0, -1))
    assert result.best_validation_loss <= last < first
    again = probseg.load(result.best_path)
    batch = validation.batch(range(20))
    samples = again.sample(batch.image, 16).transpose(0, 1)
    ged = probseg.metrics.create("ged")
    evaluations = [probseg.interfaces.Evaluation(p, batch.masks) for p in (samples, samples[:, :1])]
    ambiguous, certain = (ged(evaluation).mean() for evaluation in evaluations)
    assert ambiguous < certain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be"),
        ({"samples": 5}, "samples must be even"),
        ({"log_scale_bound": 0.0}, "log_scale_bound must be a positive finite number"),
        ({"ranks": 3}, "did you mean 'rank'"),
        ({"class_prior": [1.0]}, "2 positive numbers"),
    ],
)
def test_options_that_make_no_sense_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        probseg.build("ssn", backbone=UNET, **options)


def test_images_of_another_kind_are_refused():
    with pytest.raises(InputError, match="in_channels=2"):
        ssn(backbone=UNET).sample(torch.rand(1, 2, 8, 8), 1)


def _generator():
    return torch.Generator().manual_seed(1)
