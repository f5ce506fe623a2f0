"""Flows from a torch Transform: closed forms, precision, and options that make no sense."""

from functools import partial

import pytest
import torch
from torch.distributions import AffineTransform, Independent, Normal
from torch.distributions.transforms import Transform

from probseg.errors import OptionError
from probseg.projectors.amortised import Amortised, VectorTransform
from probseg.testing import checks

BATCH, LATENT, CONTEXT = 3, 4, 5


def _affine(stretch, shift):
    return AffineTransform(shift, stretch.exp(), event_dim=1)


def _projector(transform=_affine, *, context_features=CONTEXT, features=LATENT, **options):
    shapes = {"stretch": (features,), "shift": (features,)}
    return Amortised(transform, shapes, context_features=context_features, **options)


def _base(dtype=torch.float64):
    mean = torch.randn(BATCH, LATENT, dtype=dtype)
    return Independent(Normal(mean, torch.full_like(mean, 0.7)), 1)


@pytest.mark.parametrize("check", checks["projector"], ids=lambda check: check.__name__)
@pytest.mark.parametrize("steps", [1, 2])
def test_it_keeps_the_contract(check, steps):
    check(partial(_projector, steps=steps))


def test_an_affine_map_of_a_normal_is_the_normal_that_algebra_gives():
    projector, base = _projector(scale=1.0).double(), _base()
    context = torch.randn(BATCH, CONTEXT, dtype=torch.float64)
    stretch, shift = projector.network(context).chunk(2, dim=-1)
    mean = base.mean * stretch.exp() + shift
    expected = Independent(Normal(mean, 0.7 * stretch.exp()), 1)
    projected = projector(base, context)
    points = torch.randn(7, BATCH, LATENT, dtype=torch.float64)
    torch.testing.assert_close(projected.log_prob(points), expected.log_prob(points))
    sample = projected.rsample((7,))
    torch.testing.assert_close(projected.log_prob(sample), expected.log_prob(sample))


def test_a_parameter_has_its_shape_and_starts_near_zero():
    seen = {}

    def transform(**parameters):
        seen.update(parameters)
        return AffineTransform(0.0, 1.0)

    shapes = {"matrix": (LATENT, LATENT), "number": (), "vector": (2,)}
    projector = Amortised(transform, shapes, context_features=CONTEXT)
    projector(_base(torch.float32), torch.randn(BATCH, CONTEXT))
    shown = {name: tuple(value.shape) for name, value in seen.items()}
    assert shown == {name: (BATCH, *shape) for name, shape in shapes.items()}
    assert 0 < max(value.abs().max() for value in seen.values()) < 0.2


class _Recording(VectorTransform):
    """A shift by a matrix product, which autocast would narrow, that notes the types it met."""

    types: set[torch.dtype]

    def __init__(self, stretch, shift):
        super().__init__()
        self.shift, self.types = shift @ torch.eye(LATENT, dtype=shift.dtype), set()
        _Recording.types = self.types

    def _call(self, z):
        self.types.update((z.dtype, (z @ torch.eye(LATENT, dtype=z.dtype)).dtype))
        return z + self.shift

    def _inverse(self, y):
        raise AssertionError("a sample's own density needs no inverse")

    def log_abs_det_jacobian(self, z, y):
        return torch.zeros(z.shape[:-1], dtype=z.dtype)


@pytest.mark.parametrize("autocast", [False, True])
def test_the_map_is_computed_in_single_precision_and_never_inverted_for_a_sample(autocast):
    projector = _projector(_Recording)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        projected = projector(_base(torch.bfloat16), torch.randn(BATCH, CONTEXT))
        sample = projected.rsample((2,))
        assert sample.dtype == projected.log_prob(sample).dtype == torch.bfloat16
    assert _Recording.types == {torch.float32}


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ({}, {}, "shapes must have a parameter"),
        ({"a": (0,)}, {}, "of positive sizes"),
        ({"a": (1,)}, {"steps": 0}, "steps must be"),
        ({"a": (1,)}, {"scale": 0.0}, "scale must be more than zero"),
    ],
)
def test_options_that_make_no_sense_are_refused(shapes, options, message):
    with pytest.raises(OptionError, match=message):
        Amortised(Transform, shapes, context_features=CONTEXT, **options)
