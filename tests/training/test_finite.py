"""Values that are not finite are told with their step, at once or once in a while."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from training_toys import ToyModel, quick

import probseg
from probseg.errors import InputError
from probseg.training import NonFiniteError, check_finite, fit
from probseg.training.finite import FiniteWatch


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


def test_a_loop_of_ones_own_can_look_at_labels():
    label = torch.tensor([[[0, 255]]])
    terms = {"kl": torch.tensor(math.nan)}
    with pytest.raises(InputError, match=r"classes 0 to 1, not values from 0 to 255 at step 3;"):
        check_finite(terms, label=label, classes=2, step=3)
    with pytest.raises(InputError, match="pass the model, or classes="):
        check_finite(terms, label=label)
    with pytest.raises(InputError, match="classes 0 to 1"):
        check_finite(terms, ToyModel(), label=label)
    with pytest.raises(NonFiniteError, match="kl is nan"):
        check_finite(terms, label=label, classes=256)


class Rooted(ToyModel):
    """Adds the norm of a zero vector, which is finite and whose gradient is not."""

    def loss(self, image, label, *, generator=None):
        nothing = self.head.bias - self.head.bias.detach()
        return super().loss(image, label) | {"norm": nothing.square().sum().sqrt()}


def test_the_parameter_is_named_whose_gradient_is_not_finite(train, validation):
    with pytest.raises(NonFiniteError, match=r"step 0: the gradient of head\.bias is nan; lower"):
        fit(Rooted(), train, validation, quick(), progress=False)


# In a loop of one's own


def backward(model, image, label):
    terms = model.loss(image, label)
    sum(terms.values()).backward()
    return terms


def test_a_loop_of_ones_own_is_told_the_first_term():
    """Products of scales that an image of a million makes overflow beyond any bound."""
    net = {"channels": [4, 8], "convolutions": 1}
    model = probseg.build(
        "csae",
        projector="affine-autoregressive",
        backbone={"name": "unet", **net},
        encoder={"name": "axis-aligned", **net},
    )
    image, label = torch.rand(2, 1, 16, 16), torch.ones(2, 16, 16, dtype=torch.long)
    check_finite(backward(model, image, label), model, image=image, step=0)
    image = 1e6 * image
    terms = backward(model, image, label)
    with pytest.raises(NonFiniteError, match=r"step 1: divergence is nan; .* scale of the images"):
        check_finite(terms, model, image=image, step=1)
    assert terms["kl"].isfinite()


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        ("gradient", r"diverged: the gradient of 0\.weight is inf; lower the learning rate"),
        ("weight", r"diverged: loss is nan \(the weight 1\.bias was not finite before this step"),
        ("image", r"diverged: loss is nan \(3 values are NaN or infinite in the image\)"),
        ("unseen", r"diverged: the image, times zero, is nan \(3 values are NaN or infinite"),
    ],
)
def test_what_was_not_finite_before_is_told_as_well(spoil, wanted):
    model, image = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1)), torch.ones(1, 1, 2, 4)
    if spoil in ("image", "unseen"):
        image[..., :3] = torch.tensor([math.nan, math.inf, -math.inf])
        image[:, :, 1] = 0
    if spoil == "weight":
        model[1].bias.data[0] = math.nan
    terms = {"loss": model(torch.ones_like(image) if spoil == "unseen" else image).sum()}
    terms["loss"].backward()
    if spoil == "gradient":
        model[0].weight.grad[0, 0] = math.inf
    with pytest.raises(NonFiniteError, match=wanted):
        check_finite(terms, model, image=image)
