"""Models with one fault each, and the check that is there for it.

A fault is planted in a real cSAE of small networks.
"""

from types import MethodType

import torch
from torch.distributions import Independent, Normal

import probseg
from probseg.calibration import Calibration

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


def _everybody_is_there(**given):
    """Takes the masks of all annotators, and none for absent."""
    model = probseg.build("energy", **OPTIONS, **given)
    _override(model, "loss", lambda loss, image, label, ignore_index: loss(image, label))
    return model


def _override(model, name, function):
    original = getattr(model, name)
    method = lambda self, *args, **options: function(original, *args, **options)  # noqa: E731
    setattr(model, name, MethodType(method, model))


def _infinite_term(model):
    _override(model, "loss", lambda loss, *a, **k: {**loss(*a, **k), "kl": torch.tensor(torch.inf)})


def _term_of_each_image(model):
    _override(model, "loss", lambda loss, *a, **k: {n: t[None] for n, t in loss(*a, **k).items()})


def _no_loss_without_gradients(model):
    def differentiates(loss, *args, **options):
        terms = loss(*args, **options)
        torch.autograd.grad(terms["kl"], model.prior_encoder.head.bias, retain_graph=True)
        return terms

    _override(model, "loss", differentiates)


def _infinite_in_validation(model):
    def overflows(loss, *args, **options):
        return {name: term / model.training for name, term in loss(*args, **options).items()}

    _override(model, "loss", overflows)


def _infinite_under_autocast(model):
    def overflows(loss, *args, **options):
        narrow = torch.is_autocast_enabled("cpu")
        return {name: term / (not narrow) for name, term in loss(*args, **options).items()}

    _override(model, "loss", overflows)


def _halves_under_autocast(model):
    def halves(sample, *args, **options):
        return sample(*args, **options) / (1 + torch.is_autocast_enabled("cpu"))

    _override(model, "sample", halves)


def _detached_under_autocast(model):
    def detached(loss, *args, **options):
        terms = loss(*args, **options)
        narrow = torch.is_autocast_enabled("cpu")
        return {**terms, "cross_entropy": terms["cross_entropy"].detach()} if narrow else terms

    _override(model, "loss", detached)


def _prior_of_all_images(model):
    _override(model, "prior", lambda prior, image: Independent(prior(image), 1))


def _prior_without_spread(model):
    def degenerate(prior, image):
        return Independent(Normal(prior(image).mean, 1e-9), 1)

    _override(model, "prior", degenerate)


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


def _deaf_to_the_calibration(model):
    def deaf(sample, *args, **options):
        calibration, model._calibration = model._calibration, Calibration()
        try:
            return sample(*args, **options)
        finally:
            model._calibration = calibration

    _override(model, "sample", deaf)


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
    "loss_terms_are_finite_scalars": [
        *(_term_of_each_image, _infinite_term, _infinite_in_validation),
        _no_loss_without_gradients,
    ],
    "it_is_trained_as_fit_runs_it": [
        *(_infinite_under_autocast, _halves_under_autocast, _detached_under_autocast),
    ],
    "latent_space_is_measured": [_prior_of_all_images, _prior_without_spread],
    "loss_reaches_every_parameter": [_detached_term],
    "samples_are_probabilities": [_images_first, _logits, _halves],
    "samples_follow_the_generator": [_deaf_to_the_generator, _draws_from_the_global_state],
    "samples_follow_the_calibration": [_deaf_to_the_calibration],
    "latent_samples_differ": [_one_sample_repeated],
    "sampling_ignores_the_projectors": [_samples_the_projected_prior],
    "description_rebuilds_the_model": [_forgets_an_option, _short_description, _undescribed],
    "learns_one_batch": [_learns_nothing],
}
FAULTS = {"model": {check: [_with(one) for one in faults] for check, faults in _FAULTS.items()}}
FAULTS["model"]["loss_terms_are_finite_scalars"].append(_everybody_is_there)
