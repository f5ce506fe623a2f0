"""The contract of a set loss, which compares samples with all annotations of an image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probseg.testing.contract import (
    Contract,
    Make,
    autocast,
    expect,
    expect_close,
    expect_gradients,
    expect_precision,
    expect_shape,
    expect_success,
    repeatable,
)
from probseg.utils.tensors import IGNORED

contract = Contract("set_loss")

SAMPLES, BATCH, ANNOTATORS, CLASSES, HEIGHT, WIDTH = 4, 3, 3, 3, 8, 12
CLOSE = 1e-4


@contract
def one_number_for_each_image(make: Make) -> None:
    """The result is (B,), also for one image, one sample and one annotator."""
    loss = make()
    for samples, batch, annotators in ((SAMPLES, BATCH, ANNOTATORS), (1, BATCH, 2), (2, 1, 1)):
        numbers = loss(_samples(samples, batch), _masks(batch, annotators))
        expect_shape(numbers, (batch,), "a loss")
        expect(numbers.isfinite().all(), "finite numbers", numbers.tolist())


@contract
def numbers_ignore_the_batch(make: Make) -> None:
    """An image's number is the same alone as in a batch."""
    loss, samples, masks = make(), _samples(), _masks()
    together, alone = _number(loss, samples, masks)[:1], _number(loss, samples[:, :1], masks[:1])
    expect_close(alone, together, "an image's number alone as in a batch", tolerance=CLOSE)


@contract
def the_absent_count_for_nothing(make: Make) -> None:
    """An annotator whose mask is -100 everywhere changes no number; of nobody it is zero."""
    loss, samples, masks = make(), _samples().requires_grad_(), _masks()
    nobody = torch.full_like(masks[:, :1], IGNORED)
    with_absent = _number(loss, samples, torch.cat([nobody, masks], dim=1))
    told = "the number of those who are there"
    expect_close(with_absent, _number(loss, samples, masks), told, tolerance=CLOSE)
    masks[0] = IGNORED
    numbers = _number(loss, samples, masks)
    expect(numbers[0] == 0, "zero where nobody annotated", numbers[0].item())
    (gradient,) = torch.autograd.grad(numbers.sum(), samples)
    expect(gradient[:, 0].abs().max() == 0, "no gradient where nobody annotated", "one")


@contract
def ignored_pixels_count_for_nothing(make: Make) -> None:
    """What samples are where all masks are -100 changes no number."""
    loss, samples, masks = make(), _samples(), _masks()
    masks[..., : WIDTH // 2] = IGNORED
    other = samples.clone()
    other[..., : WIDTH // 2] = samples[..., : WIDTH // 2].flip(2)
    actual, expected = (_number(loss, one, masks) for one in (other, samples))
    expect_close(actual, expected, "numbers that leave these pixels out", tolerance=CLOSE)


@contract
def order_does_not_matter(make: Make) -> None:
    """Samples and annotators are sets: in another order they give the same number."""
    loss, samples, masks = make(), _samples(), _masks()
    expected = _number(loss, samples, masks)
    for what, some, theirs in (
        ("samples", samples.roll(1, 0), masks),
        ("annotators", samples, masks.roll(1, 1)),
    ):
        actual = _number(loss, some, theirs)
        expect_close(
            actual, expected, f"the same number of {what} in another order", tolerance=CLOSE
        )


@contract
def annotations_are_nearer_than_others(make: Make) -> None:
    """Samples that are the annotations have a lower number than the same ones upside down."""
    loss, masks = make(), _masks()
    right = torch.stack([(masks == k).movedim(1, 0) for k in range(CLASSES)], dim=2).float()
    near, far = (_number(loss, samples, masks) for samples in (right, right.flip(2)))
    expect((near < far).all(), f"less than {far.tolist()}", near.tolist())


@contract
def weights_are_of_experts(make: Make) -> None:
    """Weights (G, B) are of G experts, each of which drew S / G samples, one after the other.

    One expert of weight one has the number of no weights; one of weight zero counts for nothing.
    The weights get gradients.
    """
    loss, samples, masks = make(), _samples(), _masks()
    expected = _number(loss, samples, masks)
    with expect_success("a loss that takes weights of experts (G, B) as third argument"):
        actual = _number(loss, samples, masks, torch.ones(1, BATCH))
    expect_close(actual, expected, "the same of one expert as without weights", tolerance=CLOSE)
    weights = torch.tensor([[1.0], [0.0]]).expand(2, BATCH)
    with_nothing = _number(loss, torch.cat([samples, _samples()]), masks, weights)
    told = "nothing from an expert of weight zero"
    expect_close(with_nothing, expected, told, tolerance=CLOSE)
    logits = torch.zeros(2, BATCH, requires_grad=True)
    number = _number(loss, samples, masks, logits.softmax(0)).sum()
    _expect_gradient(number, logits, "the weights of every image", axis=1)


@contract
def gradients_reach_the_samples(make: Make) -> None:
    """Every sample of every image gets a finite gradient that is not zero."""
    loss, samples = make(), _samples().requires_grad_()
    _expect_gradient(_number(loss, samples, _masks()).sum(), samples, "every sample", axis=0)
    _expect_gradient(_number(loss, samples, _masks()).sum(), samples, "every image", axis=1)


@contract
def set_loss_reaches_every_parameter(make: Make) -> None:
    """If the loss has parameters, its numbers depend on each."""
    loss = make()
    expect_gradients(loss, loss(_samples(), _masks()).sum())


@contract
def numbers_are_precise(make: Make) -> None:
    """Under bf16 autocast numbers and gradients are in float32, also of samples in bfloat16."""
    loss = make()
    for width in (torch.float32, torch.bfloat16):
        samples = _samples().to(width).requires_grad_()
        with autocast():
            numbers = loss(samples, _masks())
        expect_precision({"a set loss": numbers})
        _expect_gradient(numbers.sum(), samples, "every sample", axis=0)


def _samples(count: int = SAMPLES, batch: int = BATCH) -> Tensor:
    return (2 * torch.randn(count, batch, CLASSES, HEIGHT, WIDTH)).softmax(2)


def _masks(batch: int = BATCH, annotators: int = ANNOTATORS) -> Tensor:
    """Return bands of the classes, which each annotator ends elsewhere."""
    columns = torch.arange(WIDTH) * CLASSES // WIDTH
    ends = [columns.roll(annotator) for annotator in range(annotators)]
    return torch.stack(ends)[:, None].expand(batch, annotators, HEIGHT, WIDTH).clone()


def _number(loss: Any, *sets: Tensor) -> Tensor:
    numbers: Tensor = repeatable(lambda: loss(*sets))
    return numbers


def _expect_gradient(number: Tensor, of: Tensor, what: str, *, axis: int) -> None:
    (gradient,) = torch.autograd.grad(number, of, allow_unused=True)
    entries = [] if gradient is None else gradient.movedim(axis, 0).flatten(1).abs().sum(1).tolist()
    alive = bool(entries) and all(0 < entry < float("inf") for entry in entries)
    expect(alive, f"a finite gradient of {what} that is not zero", entries or "none")
