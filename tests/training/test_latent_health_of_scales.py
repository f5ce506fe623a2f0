"""Latents at several scales are measured scale by scale, and warnings name the scale."""

import math

import pytest
import torch
from hierarchical_models import HIERARCHICAL, small_hierarchical
from small_models import generator, shaken
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence
from training_toys import Discs, quick

from probseg.interfaces import Batch
from probseg.metrics.collapse import collapse_warnings, latent_statistics
from probseg.models.penalties import DensityPair
from probseg.training import LatentHealth, fit
from probseg.training.latent_health import tell_one_annotator


def normal(mean, scale):
    return Independent(Normal(mean, scale.expand_as(mean)), 1)


class TwoScales(nn.Module):
    """Scale 0 has one number, which the label moves; scale 1 four, of which one has all spread."""

    moved = (1.0, 0.0)
    spread = ([1.0], [1.0, 1e-4, 1e-4, 1e-4])

    def __init__(self):
        super().__init__()
        self.spec = {"name": "scales", "beta": [1.0, 2.0]}

    def latents(self, image, label, *, generator=None, ignore_index=None):
        images = torch.arange(float(len(image)))[:, None]
        pairs = []
        for moved, spread in zip(self.moved, self.spread, strict=True):
            scale, zero = torch.tensor(spread), torch.zeros(len(image), len(spread))
            pairs.append(DensityPair(normal(moved * images + zero, scale), normal(zero, scale)))
        return tuple(pairs)

    def sample(self, image, n, *, generator=None):
        upper = torch.zeros(2, *image.shape[2:])
        upper[0, :2] = upper[1, 2:] = 1
        halves = upper.repeat(n // 2, 1, 1)[:, None].expand(-1, len(image), -1, -1)
        return torch.stack([1 - halves, halves], dim=2)


def probe():
    masks = torch.zeros(3, 4, 4, 4, dtype=torch.uint8)
    masks[:, 2:] = 1
    return Batch(torch.zeros(3, 1, 4, 4), masks)


def test_the_figures_of_each_scale():
    health = latent_statistics(TwoScales(), probe())
    assert health.latent_dim == 5 and health.active_units == 1
    assert health.gini is health.effective_rank is health.kl is None
    logged = health.scalars()
    assert logged["scale_0/gini"] == 0 and logged["scale_1/gini"] == pytest.approx(0.75, abs=1e-3)
    assert logged["scale_0/effective_rank"] == 1
    assert logged["scale_0/kl"] == pytest.approx((0 + 1 + 4) / 3 / 2)
    assert logged["scale_1/kl"] == 0
    assert (logged["scale_0/active_units"], logged["scale_1/active_units"]) == (1, 0)
    assert "gini" not in logged and logged["diversity"] == pytest.approx(0.5)


def test_the_warnings_name_the_scale():
    model = TwoScales()
    found = collapse_warnings(latent_statistics(model, probe()), model.spec)
    assert found.keys() == {"active units of scale 1", "effective rank of scale 1"}
    assert found["active units of scale 1"].startswith("scale 1: no latent dimension is active")
    assert "a lower beta (it is [1.0, 2.0])" in found["active units of scale 1"]
    assert "scale 1: the prior's effective rank is 1.00 of 4" in found["effective rank of scale 1"]


def test_where_no_scale_is_used_it_is_said_once(monkeypatch):
    monkeypatch.setattr(TwoScales, "moved", (0.0, 0.0))
    monkeypatch.setattr(TwoScales, "spread", ([1.0], [1.0, 1.0, 1.0, 1.0]))
    assert collapse_warnings(latent_statistics(TwoScales(), probe())).keys() == {"active units"}


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_a_model_is_measured_as_its_densities_say(name):
    model = shaken(small_hierarchical(name), 0.1).eval()
    image = torch.randn(2, 1, 16, 16)
    batch = Batch(image, torch.randint(2, (2, 1, 16, 16)).to(torch.uint8))
    state = torch.get_rng_state()
    health = latent_statistics(model, batch, generator=generator())
    assert torch.equal(state, torch.get_rng_state())
    coarsest = model.latents(image, batch.masks[:, 0].long())[0]
    assert sum(health.scales[0].kl) == pytest.approx(kl_divergence(*coarsest).mean().item(), 1e-4)
    assert [scale.latent_dim for scale in health.scales] == [4, 16, 64]
    assert all(math.isfinite(value) for value in health.scalars().values())


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_a_fit_logs_each_scale(name):
    data = Discs(8)
    size = data[0].image.shape[-1]
    watch = LatentHealth(data, images=4, samples=2)
    result = fit(
        small_hierarchical(name, size=size),
        data,
        data,
        quick(max_steps=2, validate_every=1),
        callbacks=[watch],
    )
    assert len(watch.history) == 2
    health = watch.history[-1][1]
    for scale, measured in enumerate(health.scales):
        for key, value in measured.scalars().items():
            assert result.history[-1][f"latent/scale_{scale}/{key}"] == pytest.approx(value)
        of_priors = result.history[-1][f"prior/scale_{scale}/gini"]
        assert 0 <= of_priors < 1


def test_one_annotator_is_told(caplog):
    data = Discs(4)
    data.annotators = 1
    tell_one_annotator(small_hierarchical(), data)
    assert "one annotation" in caplog.text
