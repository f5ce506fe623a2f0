"""The contract of a model: loss, samples and a description that rebuilds it.

A model that learns from all annotators at once gets everybody's masks, one of whom is absent.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Generator, Tensor

from probseg.calibration import samples_follow
from probseg.interfaces import LatentModel
from probseg.registry.specs import build
from probseg.testing.contract import (
    Contract,
    Make,
    as_fitted,
    autocast,
    channels_last,
    evaluating,
    expect,
    expect_close,
    expect_gradients,
    expect_shape,
    expect_spread,
    expect_success,
    perturbed,
)
from probseg.utils.tensors import ignoring

contract = Contract("model")

CHANNELS, CLASSES, ANNOTATORS = 2, 3, 3
ABSENT = 255  # in masks of a model that learns from all annotators at once
# enough for a network of any size to learn one batch by heart, which some do in a few steps
STEPS, LOOK, RATE, ENOUGH = 160, 20, 2e-3, 0.6


@contract
def loss_terms_are_finite_scalars(make: Make) -> None:
    """Each term is a finite scalar, for any image size, and for one image; also in validation.

    A model that learns from images of one size says so, ``image_size = (H, W)``.
    """
    model = _model(make)
    for batch, height, width in ((2, 32, 32), (1, 33, 47)):
        _expect_terms(_loss(model, *_batch(model, batch, height, width)))
    with torch.no_grad(), expect_success("a loss in evaluation mode, without gradients"):
        _expect_terms(_loss(evaluating(model), *_batch(model)))


@contract
def loss_reaches_every_parameter(make: Make) -> None:
    """The sum of the terms depends on every parameter."""
    model = _model(make)
    expect_gradients(model, _sum(_loss(model, *_batch(model))))


@contract
def it_is_trained_as_fit_runs_it(make: Make) -> None:
    """Under bf16 autocast, images and weights in channels-last, terms and gradients are finite."""
    model = as_fitted(_model(make))
    image, label = _batch(model)
    with autocast():
        terms = _loss(model, channels_last(image), label)
        samples = evaluating(model).sample(channels_last(image), 3).float()
    _expect_terms(terms)
    total = samples.sum(dim=2)
    expect_close(total, torch.ones_like(total), "samples that sum to one", tolerance=0.02)
    expect_gradients(model, _sum(terms))


@contract
def samples_are_probabilities(make: Make) -> None:
    """Samples (n, B, K, H, W) lie in [0, 1] and sum to one over the classes."""
    model = evaluating(_model(make))
    for batch, height, width in ((2, 32, 32), (1, 33, 47)):
        samples = model.sample(_image(batch, height, width), 3)
        expect_shape(samples, (3, batch, CLASSES, height, width), "samples")
        expect(samples.min() >= 0, "no negative probability", samples.min().item())
        total = samples.sum(dim=2)
        expect_close(total, torch.ones_like(total), "probabilities that sum to one")


@contract
def samples_follow_the_generator(make: Make) -> None:
    """Equal generators give equal samples, and the global random numbers stay untouched."""
    model, image = evaluating(_model(make)), _image()
    before = torch.random.get_rng_state()
    first, second = (model.sample(image, 2, generator=_generator()) for _ in range(2))
    expect_close(second, first, "equal samples from equal generators", tolerance=0.0)
    untouched = torch.equal(before, torch.random.get_rng_state())
    expect(untouched, "global random numbers left alone", "a changed global state")


@contract
def latent_samples_differ(make: Make) -> None:
    """A model with a latent space gives different samples of one image."""
    model, image = evaluating(_model(make)), _image()
    if isinstance(model, LatentModel):
        spread = model.sample(image, 8).std(dim=0).max().item()
        expect(spread > 0, "samples that differ", f"a largest standard deviation of {spread}")


@contract
def latent_space_is_measured(make: Make) -> None:
    """What ``prior`` and ``posterior`` return has batch (B,) and event (L,), and trains.

    A model whose latent space has neither calls them something else, and is scored by its samples.
    """
    model, (image, label) = evaluating(_model(make)), _annotated()
    if not hasattr(model, "prior"):
        return
    with autocast():  # where fit measures it
        densities = {"the prior": model.prior(image)}
        if hasattr(model, "posterior"):
            densities["the posterior"] = model.posterior(image, label)
        for name, density in densities.items():
            shapes = (tuple(density.batch_shape), len(density.event_shape))
            expect(shapes == ((len(image),), 1), f"batch (B,), event (L,) of {name}", shapes)
            expect_spread(density, of=f"of {name}")


@contract
def sampling_ignores_the_projectors(make: Make) -> None:
    """Without its projectors, and with the same other weights, the model samples the same."""
    model, image = evaluating(_model(make)), _image()
    if "projector" not in model.spec:
        return
    bare = evaluating(build(**{**model.spec, "projector": "identity"}))
    bare.load_state_dict(model.state_dict(), strict=False)
    perturbed(model, 1.0, keep=bare.state_dict().keys())
    expected, actual = (m.sample(image, 2, generator=_generator()) for m in (model, bare))
    expect_close(actual, expected, "samples that do not change without projectors")


@contract
def samples_follow_the_calibration(make: Make) -> None:
    """At a temperature of 2, samples are those of logits half as large."""
    model, image = evaluating(_model(make)), _image()
    if not hasattr(model, "calibration"):
        return
    followed = samples_follow(model, image)
    expect(followed, "samples of logits over the calibration's temperature", "others")


@contract
def description_rebuilds_the_model(make: Make) -> None:
    """``build(**spec)``, by way of JSON, takes the weights and then samples the same."""
    model, image = evaluating(_model(make)), _image()
    again = evaluating(build(**json.loads(json.dumps(model.spec))))
    expect(again.spec == model.spec, f"the description {model.spec}", again.spec)
    again.load_state_dict(model.state_dict())
    expected, actual = (m.sample(image, 2, generator=_generator()) for m in (model, again))
    expect_close(actual, expected, "the same samples from the rebuilt model")


@contract
def learns_one_batch(make: Make) -> None:
    """Steps of Adam on one batch, and samples give most of the probability to its label."""
    model = _model(make)
    image, label = _batch(model, 2, 16, 16)
    learnt = label[:, 0] if _learns_from_all(model) else label
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        torch.autograd.backward(_sum(_loss(model.train(), image, label)))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        optimizer.step()
        if step % LOOK == 0:
            mean = evaluating(model).sample(image, 8).mean(dim=0)  # (B, K, H, W)
            right = mean.gather(1, learnt[:, None]).mean().item()
            if right > ENOUGH:
                return
    expect(False, f"a probability above {ENOUGH} of what was learnt", f"{right:.3f}")


def _model(make: Make) -> Any:
    return make(in_channels=CHANNELS, classes=CLASSES)


def _batch(model: Any, batch: int = 2, height: int = 32, width: int = 32) -> tuple[Tensor, Tensor]:
    """Return images, and labels (B, H, W) or everybody's masks (B, A, H, W) as the model takes.

    A model that learns from images of one size gets these.
    """
    image, label = _annotated(batch, *(getattr(model, "image_size", None) or (height, width)))
    if not _learns_from_all(model):
        return image, label
    masks = label[:, None].repeat(1, ANNOTATORS, 1, 1)
    masks[1:, -1] = ABSENT  # the last annotator saw the first image only
    return image, masks


def _image(*size: int) -> Tensor:
    return _annotated(*size)[0]


def _annotated(batch: int = 2, height: int = 32, width: int = 32) -> tuple[Tensor, Tensor]:
    columns = torch.arange(width) * CLASSES // width
    label = columns.expand(batch, height, width).clone()
    label[1::2] = CLASSES - 1 - label[1::2]  # bands of every class, in either order
    image = 0.2 * torch.rand(batch, CHANNELS, height, width)
    image[:, 0] += label / CLASSES
    return image, label


def _learns_from_all(model: Any) -> bool:
    return bool(getattr(model, "all_annotators", False))


def _loss(model: Any, image: Tensor, label: Tensor) -> dict[str, Tensor]:
    """Return the loss terms, called as ``fit`` does."""
    options = ignoring(ABSENT if _learns_from_all(model) else None)
    terms: dict[str, Tensor] = model.loss(image, label, **options)
    return terms


def _expect_terms(terms: dict[str, Tensor]) -> None:
    for name, term in terms.items():
        expect_shape(term, (), f"the term {name!r}")
        expect(term.isfinite(), f"a finite term {name!r}", term.detach())


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack([term.float() for term in terms.values()]).sum()


def _generator() -> Generator:
    return torch.Generator().manual_seed(3)
