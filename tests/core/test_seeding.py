"""Randomness that follows a generator and nothing else."""

import pytest
import torch
from core_parts import generator

from probseg.seeding import seeded

CPU = torch.device("cpu")


def draws(source):
    with seeded(source, CPU):
        return torch.rand(4)


def test_equal_generators_give_equal_draws():
    assert torch.equal(draws(generator(1)), draws(generator(1)))
    assert not torch.equal(draws(generator(1)), draws(generator(2)))


def test_a_generator_goes_on():
    source = generator(1)
    first, second = draws(source), draws(source)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("fail", [False, True])
def test_the_global_state_is_left_as_it_was(fail):
    before = torch.get_rng_state()
    try:
        with seeded(generator(), CPU):
            torch.rand(3)
            if fail:
                raise ValueError
    except ValueError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_state_does_not_matter():
    torch.manual_seed(1)
    first = draws(generator())
    torch.manual_seed(2)
    assert torch.equal(draws(generator()), first)


def test_without_a_generator_the_global_state_is_used():
    torch.manual_seed(1)
    wanted = torch.rand(4)
    torch.manual_seed(1)
    assert torch.equal(draws(None), wanted)
