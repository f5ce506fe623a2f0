"""Models with one fault each, and the check that is there for it.

A fault is planted in a real cSAE of small networks.
"""

from types import MethodType

import torch

import probseg

SMALL = {"channels": [8, 16], "convolutions": 2, "norm": "group"}
OPTIONS = {
    "backbone": {"name": "unet", **SMALL},
    "encoder": {"name": "axis-aligned", **SMALL},
    "latent_dim": 3,
}


def _with(fault):
    """A constructor of models with `fault(model)` applied."""

    def make(**given):
        model = probseg.build("csae", **OPTIONS, **given)
        fault(model)
        return model

    make.__name__ = fault.__name__.strip("_")
    return make


def _override(model, name, function):
    original = getattr(model, name)
    method = lambda self, *args, **options: function(original, *args, **options)  # noqa: E731
    setattr(model, name, MethodType(method, model))


def _infinite_term(model):
    _override(model, "loss", lambda loss, *a, **k: {**loss(*a, **k), "kl": torch.tensor(torch.inf)})


def _term_of_each_image(model):
    _override(model, "loss", lambda loss, *a, **k: {n: t[None] for n, t in loss(*a, **k).items()})


def _detached_term(model):
    def detached(loss, *args, **options):
        terms = loss(*args, **options)
        return {**terms, "cross_entropy": terms["cross_entropy"].detach()}

    _override(model, "loss", detached)


def _images_first(model):
    _override(model, "sample", lambda sample, *a, **k: sample(*a, **k).transpose(0, 1))


def _halves(model):
    _override(model, "sample", lambda sample, *a, **k: sample(*a, **k) / 2)


def _logits(model):
    _override(model, "sample", lambda sample, *a, **k: sample(*a, **k).log())


def _deaf_to_the_generator(model):
    def deaf(sample, image, n, *, generator=None, projected=False):
        return sample(image, n, projected=projected)

    _override(model, "sample", deaf)


def _draws_from_the_global_state(model):
    def draws(sample, *args, **options):
        torch.rand(1)
        return sample(*args, **options)

    _override(model, "sample", draws)


def _one_sample_repeated(model):
    def repeated(sample, image, n, **options):
        return sample(image, 1, **options).expand(n, -1, -1, -1, -1)

    _override(model, "sample", repeated)


def _samples_the_projected_prior(model):
    def projected(sample, image, n, **options):
        return sample(image, n, **{**options, "projected": True})

    _override(model, "sample", projected)


def _forgets_an_option(model):
    model.spec = {**model.spec, "latent_dim": 6}


def _short_description(model):
    model.spec = {**model.spec, "backbone": "unet"}


def _undescribed(model):
    _override(model, "sample", lambda sample, *a, **k: sample(*a, **k).flip(2))


def _learns_nothing(model):
    _override(model, "loss", lambda loss, *a, **k: {n: -t for n, t in loss(*a, **k).items()})


def _nothing(model):
    pass


SOUND = {"model": _with(_nothing)}
_FAULTS = {
    "loss_terms_are_finite_scalars": [_term_of_each_image, _infinite_term],
    "loss_reaches_every_parameter": [_detached_term],
    "samples_are_probabilities": [_images_first, _logits, _halves],
    "samples_follow_the_generator": [_deaf_to_the_generator, _draws_from_the_global_state],
    "latent_samples_differ": [_one_sample_repeated],
    "sampling_ignores_the_projectors": [_samples_the_projected_prior],
    "description_rebuilds_the_model": [_forgets_an_option, _short_description, _undescribed],
    "learns_one_batch": [_learns_nothing],
}
FAULTS = {"model": {check: [_with(one) for one in faults] for check, faults in _FAULTS.items()}}
