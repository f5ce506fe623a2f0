"""Values that are not finite are told with their step, at once or once in a while."""

from __future__ import annotations

import math

import pytest
import torch
from training_toys import ToyModel, quick

from probseg.errors import InputError
from probseg.training import FiniteWatch, NonFiniteError, fit


def values(kl: float, device: str = "cpu") -> dict[str, torch.Tensor]:
    return {"cross_entropy": torch.tensor(1.0, device=device), "kl": torch.tensor(kl).to(device)}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_cpu_is_looked_at_at_each_step(value):
    watch = FiniteWatch(0.5)
    watch.note(0, values(2.0))
    with pytest.raises(NonFiniteError, match=rf"step 1: kl is {value}; lower .* \(0.5\)"):
        watch.note(1, values(value))


def test_the_first_of_several_is_named():
    watch = FiniteWatch(0.5)
    with pytest.raises(NonFiniteError, match=r"step 7: a is inf"):
        watch.note(7, {"b": torch.tensor(1.0), "a": torch.tensor(math.inf), **values(math.nan)})


class Elsewhere(torch.Tensor):
    """A number that says it lies on an accelerator."""

    device = torch.device("cuda")


def far(value: float) -> dict[str, torch.Tensor]:
    return {"kl": torch.tensor(value).as_subclass(Elsewhere)}


def test_an_accelerator_is_looked_at_once_in_a_while_and_tells_the_step():
    watch = FiniteWatch(0.5, every=3)
    watch.note(0, far(1.0))
    watch.note(1, far(math.nan))  # nobody waits for it
    with pytest.raises(NonFiniteError, match="step 1: kl is nan"):
        watch.note(2, far(1.0))


def test_what_is_left_at_the_end_is_looked_at():
    watch = FiniteWatch(0.5)
    watch.note(0, far(math.inf))
    with pytest.raises(NonFiniteError, match="step 0: kl is inf"):
        watch.check()
    watch.check()  # nothing is left


def test_the_same_name_is_looked_at_every_time():
    """As in the batches of a validation round."""
    watch = FiniteWatch(0.5, every=3)
    for value in (1.0, math.nan):
        watch.note(4, far(value))
    with pytest.raises(NonFiniteError, match="step 4: kl is nan"):
        watch.note(4, far(1.0))


def far_label(*values: int) -> torch.Tensor:
    return torch.tensor([[list(values)]]).as_subclass(Elsewhere)


def test_a_label_on_an_accelerator_is_told_before_the_nan_that_it_makes():
    watch = FiniteWatch(0.5, every=3, classes=3)
    watch.note(0, far(1.0), label=far_label(0, 2))
    watch.note(1, far(math.nan), label=far_label(-100, 255))  # nobody waits for it
    words = r"label must hold the classes 0 to 2, not values from -100 to 255 at step 1; map masks"
    with pytest.raises(InputError, match=words):
        watch.note(2, far(math.nan), label=far_label(0, 1))
    watch.check()  # nothing is left


def test_labels_that_are_classes_hide_no_divergence():
    watch = FiniteWatch(0.5, classes=3)
    watch.note(4, far(math.nan), label=far_label(0, 2))
    with pytest.raises(NonFiniteError, match="step 4: kl is nan"):
        watch.check()


class Rooted(ToyModel):
    """Adds the norm of a zero vector, which is finite and whose gradient is not."""

    def loss(self, image, label, *, generator=None):
        nothing = self.head.bias - self.head.bias.detach()
        return super().loss(image, label) | {"norm": nothing.square().sum().sqrt()}


def test_the_parameter_is_named_whose_gradient_is_not_finite(train, validation):
    with pytest.raises(NonFiniteError, match=r"step 0: the gradient of head\.bias is nan; lower"):
        fit(Rooted(), train, validation, quick(), progress=False)
