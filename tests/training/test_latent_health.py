"""The latent space watched while a model trains: figures, words, and nothing disturbed."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    Normal,
    TanhTransform,
    TransformedDistribution,
)
from torch.utils.data import DataLoader
from training_toys import Discs, make_model, quick

import probseg
from probseg.datasets.views import Annotated
from probseg.errors import InputError, OptionError
from probseg.interfaces import Batch
from probseg.metrics.collapse import LatentStatistics, collapse_warnings, latent_statistics
from probseg.training import LatentHealth, fit
from probseg.training.latent_health import tell_one_annotator
from probseg.training.trainer import silenced_lightning

SCALES = torch.tensor([1.0, 3.0])


class Known(nn.Module):
    """Prior N(0, diag(1, 9)); the posterior of image i is moved by (0, 3 i) and half as wide.

    One half of the samples is foreground in the upper half of an image, the other in the lower.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.spec: dict[str, Any] = {"name": "known", "beta": 10.0}

    def prior(self, image: Tensor) -> Distribution:
        return Independent(Normal(torch.zeros(len(image), 2), SCALES.expand(len(image), 2)), 1)

    def posterior(self, image: Tensor, label: Tensor) -> Distribution:
        mean = torch.stack([torch.zeros(len(image)), 3.0 * torch.arange(len(image))], dim=1)
        return Independent(Normal(mean, SCALES.expand(len(image), 2) / 2), 1)

    def sample(self, image: Tensor, n: int, *, generator: Any = None) -> Tensor:
        upper = torch.zeros(2, *image.shape[2:])
        upper[0, :2] = upper[1, 2:] = 1
        halves = upper.repeat(n // 2, 1, 1)[:, None].expand(-1, len(image), -1, -1)
        return torch.stack([1 - halves, halves], dim=2)


def probe(images: int = 3) -> Batch:
    """Two of four annotators see nothing, two the whole image."""
    masks = torch.zeros(images, 4, 4, 4, dtype=torch.uint8)
    masks[:, 2:] = 1
    return Batch(torch.zeros(images, 1, 4, 4), masks)


def test_the_figures_are_the_closed_forms():
    health = latent_statistics(Known(), probe(), samples=8)
    assert health.latent_dim == 2
    assert health.gini == pytest.approx(1 / 4)  # (r - 1) / (2 (r + 1)) of two values 1 and r
    assert health.effective_rank == pytest.approx(4 / 3**0.75)  # shares 1/4 and 3/4
    assert health.diversity == pytest.approx(1 / 2)  # half of all pairs share no pixel
    assert health.annotator_diversity == pytest.approx(1 / 2)
    narrower = math.log(2) + 1 / 8 - 1 / 2
    moved = (0 + 1 + 4) / 3 / 2  # mean over the images of i² / 2
    assert health.kl == pytest.approx((narrower, narrower + moved))
    assert health.active_units == 1
    assert health.scalars()["kl"] == pytest.approx(2 * narrower + moved)
    assert collapse_warnings(health) == {}


class Following(Known):
    """A prior N((0, 100 i), 10² I); the posterior of image i is 0.5 i further, so 0.05 i scales."""

    def prior(self, image: Tensor) -> Distribution:
        mean = torch.stack([torch.zeros(len(image)), 100.0 * torch.arange(len(image))], dim=1)
        return Independent(Normal(mean, torch.full_like(mean, 10.0)), 1)

    def posterior(self, image: Tensor, label: Tensor) -> Distribution:
        mean = torch.stack([torch.zeros(len(image)), 100.5 * torch.arange(len(image))], dim=1)
        return Independent(Normal(mean, torch.full_like(mean, 10.0)), 1)


def test_a_unit_is_active_where_the_posterior_moves_by_scales_of_the_prior():
    assert latent_statistics(Following(), probe(3)).active_units == 0
    assert latent_statistics(Following(), probe(20)).active_units == 1
    assert latent_statistics(Known(), probe(2)).active_units == 1
    assert latent_statistics(Known(), probe(1)).active_units is None  # nothing can move


def test_absent_annotators_do_not_count():
    batch = probe(2)
    present = torch.tensor([[True, True, True, True], [True, False, True, False]])
    masks = batch.masks * present[:, :, None, None]
    assert (
        latent_statistics(Known(), Batch(batch.image, masks, present)).annotator_diversity == 1 / 2
    )
    alone = latent_statistics(Known(), Batch(batch.image, batch.masks[:, :1]))
    assert alone.annotator_diversity is None
    # another one alone on each image: nobody is compared with anybody
    each = torch.tensor([[True, False, False, False], [False, True, False, False]])
    assert latent_statistics(Known(), batch._replace(present=each)).annotator_diversity is None
    some = torch.tensor([[True, True, True, True], [False, True, False, False]])
    assert (
        latent_statistics(Known(), batch._replace(present=some)).annotator_diversity
        == latent_statistics(Known(), probe(1)).annotator_diversity
    )


class PriorOnly(nn.Module):
    """A Normal prior of unequal scales, and no posterior."""

    prior, sample = Known.prior, Known.sample


class FlowPrior(PriorOnly):
    """A prior without moments in closed form."""

    def prior(self, image: Tensor) -> Any:
        return TransformedDistribution(super().prior(image), [TanhTransform()])


def test_a_prior_without_scales_has_no_gini_index():
    health = latent_statistics(FlowPrior(), probe())
    assert health.gini is health.effective_rank is None
    assert health.latent_dim == latent_statistics(PriorOnly(), probe()).latent_dim
    assert set(health.scalars()) == {"diversity"}
    assert collapse_warnings(health) == {}


def test_a_model_may_have_no_posterior_and_must_have_a_prior():
    health = latent_statistics(PriorOnly(), probe())
    assert health.kl is health.active_units is None
    assert set(health.scalars()) == {"gini", "effective_rank", "diversity"}
    assert collapse_warnings(health) == {}
    with pytest.raises(InputError, match=r"Linear has no prior\(image\)"):
        latent_statistics(nn.Linear(1, 1), probe())


SOUND: dict[str, Any] = {
    **{"latent_dim": 6, "gini": 0.3, "effective_rank": 4.0, "diversity": 0.3},
    **{"annotator_diversity": 0.35, "kl": (1.0,) * 6, "active_units": 4},
}


@pytest.mark.parametrize(
    ("changes", "spec", "wanted"),
    [
        ({}, {}, {}),
        ({"diversity": 0.0, "annotator_diversity": 0.0}, {}, {}),  # nothing to disagree about
        ({"latent_dim": 1, "effective_rank": 1.0}, {}, {}),
        (
            {"active_units": 0, "kl": (0.001,) * 6},
            {"beta": 10.0},
            {"active units": r"KL 0\.006 nats.*lower beta \(it is 10\.0\).*KL annealing\)$"},
        ),
        (
            {"active_units": 0, "kl": None},
            {"reduction": "pixel-mean"},
            {"active units": r"no latent dimension is active: .*reduction='pixel-sum'"},
        ),
        (
            {"effective_rank": 1.02},
            {"gamma": 0.0, "latent_dim": 6},
            {"effective rank": r"1\.02 of 6: .*Sinkhorn.*gamma \(it is 0\.0\).*fewer latent"},
        ),
        (
            {"diversity": 0.0},
            {"flow_context": "own", "kl_on": "base"},
            {"diversity": r"the annotators' 0\.35\).*larger beta.*flow_context='image' .*'own'"},
        ),
        # no advice on the context where it is the image's, unknown, or the flow is penalised
        ({"diversity": 0.0}, {"flow_context": "image", "kl_on": "base"}, {"diversity": r"does$"}),
        ({"diversity": 0.0}, {"kl_on": "base"}, {"diversity": r"does$"}),
        ({"diversity": 0.0}, {"flow_context": "own"}, {"diversity": r"does$"}),
        ({"diversity": 0.05, "annotator_diversity": None}, {}, {}),
        (
            {"diversity": 0.0, "active_units": 0},
            {},
            {"active units": "collapsed", "diversity": r"0\.35\).*a lower beta, and more"},
        ),
        # one annotator, or annotators who agree, leave the latents nothing to tell
        *(
            ({"active_units": 0, "effective_rank": 1.0, "diversity": 0.0, **agreed}, {}, {})
            for agreed in ({"annotator_diversity": None}, {"annotator_diversity": 0.0})
        ),
    ],
)
def test_each_sign_is_told_with_what_helps(changes, spec, wanted):
    found = collapse_warnings(LatentStatistics(**(SOUND | changes)), spec)
    assert found.keys() == wanted.keys()
    for name, pattern in wanted.items():
        assert re.search(pattern, found[name]), found


# While a model trains


def test_one_annotator_is_told_before_training_and_raises_no_alarm(caplog):
    discs = Discs(12)
    single = Annotated(discs, 0)
    watch = LatentHealth(single, images=4, samples=2)
    with caplog.at_level(logging.WARNING, "probseg.training"):
        fit(make_model(), single, single, quick(max_steps=8, validate_every=2), callbacks=[watch])
    (said,) = (record.getMessage() for record in caplog.records)
    assert "has one annotation" in said and "cannot teach" in said and discs.name in said
    assert len(watch.history) == 4
    caplog.clear()
    with caplog.at_level(logging.WARNING, "probseg.training"):
        fit(make_model(), discs, discs, quick(max_steps=2, validate_every=2))
    assert not caplog.records


@pytest.mark.parametrize("shared_out", [True, False])
def test_annotators_who_share_the_images_out_are_told_as_one(shared_out, caplog):
    discs = Discs(20)
    present = torch.eye(4, dtype=torch.bool).repeat(5, 1)
    if not shared_out:
        present[-1] = True  # the last image alone has several
    discs.present, discs.masks = present, discs.masks * present[:, :, None, None]
    with caplog.at_level(logging.WARNING, "probseg.training"):
        tell_one_annotator(make_model(), discs)
    assert ["has one annotation" in one.getMessage() for one in caplog.records] == [
        True
    ] * shared_out


def small(**options: Any) -> Any:
    net = {"channels": (4, 8), "convolutions": 1, "norm": "batch"}
    torch.manual_seed(0)
    return probseg.build(
        "punet",
        backbone={"name": "unet", **net},
        encoder={"name": "axis-aligned", **net},
        latent_dim=3,
        **options,
    )


def trained(model: Any, caplog: Any, **changes: Any) -> tuple[LatentHealth, str]:
    """Train a little, and return what was seen and said."""
    settings = quick(max_steps=60, validate_every=12, batch_size=8, augment=False, **changes)
    watch = LatentHealth(Discs(16, seed=2))
    with caplog.at_level(logging.WARNING, "probseg.training"):
        fit(model, Discs(64), Discs(8, seed=1), settings, callbacks=[watch], progress=False)
    return watch, caplog.text


def test_a_model_whose_latent_is_cut_off_is_told_once(caplog):
    model = small(beta=1.0)
    nn.init.zeros_(model.decoder.from_latent.weight)
    model.decoder.from_latent.requires_grad_(False)
    watch, said = trained(model, caplog)
    assert watch.history[-1][1].active_units == 0 and watch.history[-1][1].diversity == 0
    assert said.count("no latent dimension is active") == 1
    assert said.count("the samples of an image are all but equal (diversity 0,") == 1
    assert "lower beta (it is 1.0)" in said


def test_a_healthy_model_is_told_nothing(caplog):
    watch, said = trained(small(beta=1.0), caplog)
    step, health = watch.history[-1]
    assert (
        step == 60
        and health.active_units > 0
        and health.diversity > 0.2 * health.annotator_diversity
    )
    assert said == ""


def test_training_goes_on_as_without_it(train, validation, tmp_path):
    plain, watched = make_model(), make_model()  # with dropout and batch normalisation
    alone = fit(plain, train, validation, quick(), progress=False)
    watch = LatentHealth(validation)
    beside = fit(watched, train, validation, quick(), out=tmp_path, callbacks=[watch])
    for left, right in zip(alone.history, beside.history, strict=True):
        assert all(right[name] == left[name] for name in left if name != "seconds")
    assert all(torch.equal(w, watched.state_dict()[n]) for n, w in plain.state_dict().items())
    assert [step for step, _ in watch.history] == [3, 6, 9, 12]
    last = watch.history[-1][1].scalars()
    told = {f"latent/{name}": pytest.approx(value, rel=1e-6) for name, value in last.items()}
    assert set(last) == {
        *("gini", "effective_rank", "diversity", "active_units", "kl", "kl_0", "kl_1", "kl_2")
    }
    assert {name: beside.history[-1][name] for name in told} == told
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [[e.step for e in events.Scalars(f"{s}/gini")] for s in ("latent", "prior")]
    assert logged[0] == logged[1] and len(logged[0]) == 4


class Own(LightningModule):
    """A loop of somebody's own around a model, as Lightning's tutorials write it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: Any, _: int) -> Tensor:
        return sum(self.model.loss(*batch).values())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.model.parameters())


def run(module: LightningModule, watch: LatentHealth) -> None:
    discs = Discs(8)
    pairs = list(zip(discs.images, discs.masks[:, 0].long(), strict=True))
    with silenced_lightning():
        Trainer(
            max_epochs=2,
            callbacks=[watch],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(module, DataLoader(pairs, batch_size=2))


def test_any_lightning_module_can_be_watched():
    watch = LatentHealth(Discs(4), samples=2)
    run(Own(small()), watch)
    assert [step for step, _ in watch.history] == [4, 8]
    deterministic = probseg.build("deterministic", backbone={"name": "unet", "channels": (4,)})
    with pytest.raises(InputError, match="leave LatentHealth out"):
        run(Own(deterministic), LatentHealth(Discs(4)))


def test_options_out_of_range_are_refused():
    for name in ("images", "samples"):
        with pytest.raises(OptionError, match=f"{name} must be an integer of at least 1, not 0"):
            LatentHealth(probe(), **{name: 0})
    with pytest.raises(OptionError, match="'discs' holds no image"):
        LatentHealth(Discs(0))
