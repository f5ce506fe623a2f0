"""Latents that are replaced: by the prior's own numbers nothing changes, by others much may."""

from dataclasses import replace
from math import isnan

import pytest
import torch

import probseg
from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.predictors import ModelPredictor, make_sampler
from benchmarks.jobs.provenance import GitState, Provenance
from benchmarks.jobs.results import DataSummary, Result
from benchmarks.jobs.scoring import PriorScale, score_dataset
from benchmarks.reports.results_table import summarise
from probseg.datasets.shapes import AmbiguousShapes
from probseg.errors import InputError, OptionError
from probseg.metrics.evaluation import compute_metrics
from probseg.training.execution import choose_execution
from probseg.training.settings import TrainingSettings

SHAPES = AmbiguousShapes(size=16, samples=12)
BATCH = SHAPES.batch(range(4, 8))


def answers(model, **options):
    execution = choose_execution(TrainingSettings(device="cpu", precision="fp32"))
    predict = ModelPredictor(make_sampler(model, 5, execution=execution, seed=3), **options)
    return {name: found[0] for name, found in predict(BATCH, 4).items()}


@pytest.fixture
def model():
    torch.manual_seed(0)
    networks = {"channels": [4, 8], "convolutions": 1}
    made = probseg.build(
        "punet",
        latent_dim=3,
        backbone={"name": "unet", **networks},
        encoder={"name": "axis-aligned", **networks},
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return made.eval()


def test_scores_are_those_of_probseg_evaluate(model) -> None:
    settings = TrainingSettings(device="cpu", precision="fp32", channels_last=False)
    sampler = make_sampler(model, 5, execution=choose_execution(settings), seed=3)
    found = score_dataset(ModelPredictor(sampler), SHAPES, batch=4)["base"]
    scores = probseg.evaluate(model, SHAPES, 5, seed=3, batch_size=4, device="cpu")
    assert {"ged", "latent-kl"} < set(scores) < set(found)
    assert {name: found[name] for name in scores} == {n: v.tolist() for n, v in scores.items()}


def test_pixels_that_nobody_labelled_are_left_out_of_every_variant(model) -> None:
    execution = choose_execution(TrainingSettings(device="cpu", precision="fp32"))
    sampler = make_sampler(model, 5, execution=execution, seed=3)
    predict = ModelPredictor(
        replace(sampler, ignore_index=255), latents=("noise", "swapped"), others=SHAPES
    )
    masks = BATCH.masks.clone()
    masks[..., 0] = 255
    for (one,) in predict(BATCH._replace(masks=masks), 4).values():
        assert compute_metrics(one, ["ged", "w-iou"])["ged"].isfinite().all()


def test_a_metric_that_fails_has_no_value_and_says_why(model, monkeypatch, caplog) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(PriorScale, "__call__", fail)
    execution = choose_execution(TrainingSettings(device="cpu", precision="fp32"))
    predictor = ModelPredictor(make_sampler(model, 2, execution=execution, seed=0))
    found = score_dataset(predictor, SHAPES, batch=12)["base"]
    assert all(map(isnan, found["prior-scale"])) and not any(map(isnan, found["ged"]))
    assert "prior-scale of base has no value on some images: ValueError: no luck" in caplog.text


def test_latents_of_the_same_images_are_the_base_priors(model) -> None:
    found = answers(model, latents=["swapped"], others=SHAPES)
    torch.testing.assert_close(found["swapped"].probabilities, found["base"].probabilities)


def test_latents_of_other_images_come_from_those_images(model) -> None:
    from probseg.datasets.views import Subset

    found = answers(model, latents=["swapped"], others=Subset(SHAPES, [11, 0, 2]))
    others = SHAPES.batch([0, 2, 11, 0]).image  # places 4 to 7, round and round
    normal = (model.prior(BATCH.image), model.prior(others))
    with torch.no_grad():
        own, other = (density.base_dist for density in normal)
        assert (own.loc - other.loc).abs().min() > 1e-4
        expected = _decoded_with(model, other)
    torch.testing.assert_close(found["swapped"].probabilities, expected)
    assert (found["swapped"].probabilities - found["base"].probabilities).abs().max() > 1e-3


def test_noise_is_standard_normal(model) -> None:
    found = answers(model, latents=["noise"])
    standard = torch.distributions.Normal(torch.zeros(4, 3), torch.ones(4, 3))
    torch.testing.assert_close(found["noise"].probabilities, _decoded_with(model, standard))
    assert found["noise"].prior is None  # no latent metric belongs to it


def _decoded_with(model, normal):
    """Sample an encoder-less copy of the model whose prior is ``normal``."""
    encode = model.prior_encoder
    density = torch.distributions.Independent(normal, 1)
    try:
        model.prior_encoder = _Constant(density, encode.context_features)
        return answers(model)["base"].probabilities
    finally:
        model.prior_encoder = encode


class _Constant(torch.nn.Module):
    def __init__(self, density, features) -> None:
        super().__init__()
        self.density, self.features = density, features

    def forward(self, image):
        return self.density, image.new_zeros(len(image), self.features)


def test_a_model_that_ignores_its_latents_answers_the_same(model) -> None:
    torch.nn.init.zeros_(model.decoder.from_latent.weight)
    found = answers(model, latents=["noise", "swapped"], others=SHAPES)
    for name in ("noise", "swapped"):
        torch.testing.assert_close(found[name].probabilities, found["base"].probabilities)


def test_a_model_without_latents_has_none_to_replace() -> None:
    with pytest.raises(OptionError, match="deterministic decodes no latents"):
        answers(probseg.build("deterministic"), latents=["noise"])


def test_samples_are_what_decode_makes_of_the_priors_latents(model) -> None:
    image = BATCH.image[..., :13, :11]  # padded and cropped again
    sampled = model.sample(image, 2, generator=torch.Generator().manual_seed(5))
    prior, generator = model.prior(image), torch.Generator().manual_seed(5)
    latent = prior.mean + prior.stddev * torch.randn(2, *prior.mean.shape, generator=generator)
    torch.testing.assert_close(model.decode(image, latent), sampled)
    torch.testing.assert_close(model.decode(image, latent[1]), sampled[1])


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (3,), (2, 4, 4)])
def test_latents_of_another_shape_are_refused(model, shape) -> None:
    with pytest.raises(InputError, match=r"latents of these images must be \(\.\.\., 4, 3\)"):
        model.decode(BATCH.image, torch.zeros(shape))


def test_a_table_has_a_row_for_each_kind_of_latents_and_marks_none_of_them() -> None:
    result = Result(
        experiment=Experiment(
            profile="quick", row="punet", dataset="toy", fold=0, seed=0, model={}
        ),
        data=DataSummary("ab12", "toys", "by patient", train=8, validation=4, test=3),
        provenance=Provenance({}, GitState("0123456789", False), {}),
        means={"base": {"ged": 0.3}, "noise": {"ged": 0.1}, "swapped": {"ged": 0.2}},
    )
    (scores,) = summarise([result], competing=["punet"])
    assert [(row.name, row.competes) for row in scores.rows] == [
        ("punet", True),
        ("punet (latents: N(0, 1))", False),
        ("punet (latents: another image's)", False),
    ]
