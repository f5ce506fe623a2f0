"""Values that are not finite are told with their step, at once or once in a while."""

from __future__ import annotations

import math

import pytest
import torch

from probseg.training import DivergenceError
from probseg.training.divergence import DivergenceWatch


def values(kl: float, device: str = "cpu") -> dict[str, torch.Tensor]:
    return {"cross_entropy": torch.tensor(1.0, device=device), "kl": torch.tensor(kl).to(device)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_cpu_is_looked_at_at_each_step(value):
    watch = DivergenceWatch(0.5)
    watch.note(0, values(2.0))
    with pytest.raises(DivergenceError, match=rf"step 1: kl is {value}; lower .* \(0.5\)"):
        watch.note(1, values(value))


def test_the_first_of_several_is_named():
    watch = DivergenceWatch(0.5)
    with pytest.raises(DivergenceError, match=r"step 7: a is inf"):
        watch.note(7, {"b": torch.tensor(1.0), "a": torch.tensor(math.inf), **values(math.nan)})


class Elsewhere(torch.Tensor):
    """A number that says it lies on an accelerator."""

    device = torch.device("cuda")


def far(value: float) -> dict[str, torch.Tensor]:
    return {"kl": torch.tensor(value).as_subclass(Elsewhere)}


def test_an_accelerator_is_looked_at_once_in_a_while_and_tells_the_step():
    watch = DivergenceWatch(0.5, every=3)
    watch.note(0, far(1.0))
    watch.note(1, far(math.nan))  # nobody waits for it
    with pytest.raises(DivergenceError, match="step 1: kl is nan"):
        watch.note(2, far(1.0))


def test_what_is_left_at_the_end_is_looked_at():
    watch = DivergenceWatch(0.5)
    watch.note(0, far(math.inf))
    with pytest.raises(DivergenceError, match="step 0: kl is inf"):
        watch.look()
    watch.look()  # nothing is left
