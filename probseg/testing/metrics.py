"""The contracts of metrics.

Every metric keeps ``"metric"``. One that says how well two sets agree keeps ``"agreement"`` too,
and one that matches samples to annotations one to one ``"matching"``.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional

from probseg.interfaces import Evaluation
from probseg.testing.contract import (
    Contract,
    Make,
    expect,
    expect_close,
    expect_shape,
    expect_success,
)

contract = Contract("metric")
agreement = Contract("agreement", "metrics")
matching = Contract("matching", "metrics")

IMAGES, SAMPLES, ANNOTATORS, SIDE, LATENT = 3, 4, 3, 8, 5
IGNORED = 255  # in masks of bytes


@contract
def one_number_per_image(make: Make) -> None:
    """The result is (B,) finite float64, and says whether more is better.

    One that is neither may be undefined (NaN) for a single annotation.
    """
    metric = make()
    expect(
        metric.higher_is_better in (True, False, None),
        "a higher_is_better of True, False or None",
        metric.higher_is_better,
    )
    for annotators in (1, ANNOTATORS, 7):
        undefined = annotators == 1 and metric.higher_is_better is None
        _value(metric, _maps(SAMPLES), _maps(annotators), undefined=undefined)


@contract
def empty_masks_are_scored(make: Make) -> None:
    """Masks without any foreground, on either side or on both, get a finite number."""
    metric, empty = make(), torch.zeros(IMAGES, SAMPLES, SIDE, SIDE).long()
    for sides in ((empty, _maps()), (_maps(), empty), (empty, empty)):
        _value(metric, *sides)


@contract
def order_is_irrelevant(make: Make) -> None:
    """Neither the order of the samples nor that of the annotators changes the number."""
    metric, samples, annotations = make(), _maps(SAMPLES), _maps(ANNOTATORS)
    expected = _value(metric, samples, annotations)
    actual = _value(metric, samples.flip(1), annotations.roll(1, dims=1))
    expect_close(actual, expected, "the same number in another order", tolerance=1e-8)


@contract
def an_image_ignores_its_batch(make: Make) -> None:
    """An image's number is the same alone."""
    metric, samples, annotations = make(), _maps(), _maps()
    together = _value(metric, samples, annotations)
    for image in range(IMAGES):
        alone = metric(_evaluation(samples, annotations, slice(image, image + 1)))
        expect_close(alone, together[image : image + 1], "the same number alone", tolerance=1e-8)


@contract
def unlabelled_pixels_count_for_nothing(make: Make) -> None:
    """Samples may be anything where no annotation has a class but all ``ignore_index``.

    Pixels that one annotator alone did not label give a finite number as well.
    """
    metric, samples, annotations = make(), _maps(SAMPLES), _maps(ANNOTATORS)
    annotations[..., -2:], annotations[:, 0, -1] = IGNORED, IGNORED
    changed = samples.clone()
    changed[..., -2:] = 1 - samples[..., -2:]
    remedy = "probseg.metrics.evaluation.checked_annotations(evaluation) says where that is"
    with expect_success(f"a number where annotations are evaluation.ignore_index; {remedy}"):
        before = _value(metric, samples, annotations, ignore_index=IGNORED)
        after = _value(metric, changed, annotations, ignore_index=IGNORED)
    told = "the same number whatever the samples are where every annotation is ignore_index"
    expect_close(after, before, f"{told}; {remedy}", tolerance=1e-8)


@contract
def arguments_stay_as_they_are(make: Make) -> None:
    """The tensors of an evaluation are not written to."""
    evaluation = _evaluation(_maps(), _maps())
    before = evaluation.probabilities.clone(), evaluation.annotations.clone()
    make()(evaluation)
    same = torch.equal(before[0], evaluation.probabilities)
    expect(same and torch.equal(before[1], evaluation.annotations), "unchanged tensors", "changed")


@agreement
def equal_sets_are_best(make: Make) -> None:
    """No samples score better than the annotations themselves, and worse ones score worse."""
    metric, annotations = make(), _maps()
    best = _value(metric, annotations, annotations)
    worse = _value(metric, 1 - annotations, annotations)
    expect(
        (_loss(metric, worse) > _loss(metric, best)).all(), "worse than equal sets", worse.tolist()
    )
    for _ in range(5):
        other = _value(metric, _maps(), annotations)
        fair = _loss(metric, other) >= _loss(metric, best) - 1e-9
        expect(fair.all(), f"nothing better than {best.tolist()}", other.tolist())


@agreement
def two_empty_masks_agree(make: Make) -> None:
    """Empty samples of empty annotations score as well as equal sets do."""
    metric, empty, maps = make(), torch.zeros(IMAGES, SAMPLES, SIDE, SIDE).long(), _maps()
    best, actual = _value(metric, maps, maps), _value(metric, empty, empty)
    expect_close(actual, best, f"{best.tolist()}, the best score, for empty sets")


@matching
def equals_the_best_permutation(make: Make) -> None:
    """The number is the best mean over all ways to couple samples and annotations."""
    metric, samples, annotations = make(), _maps(4), _maps(4)
    pairs = _pairwise(metric, samples, annotations)
    means = [pairs[:, range(4), order].mean(1) for order in permutations(range(4))]
    expected = torch.stack(means).amax(0) if metric.higher_is_better else torch.stack(means).amin(0)
    actual = _value(metric, samples, annotations)
    expect_close(actual, expected, f"the best permutation's {expected.tolist()}", tolerance=1e-8)


@matching
def repeated_annotations_change_nothing(make: Make) -> None:
    """Fewer annotations than samples count as often as it takes, also where that is no integer."""
    metric, samples, annotations = make(), _maps(6), _maps(2)
    expected = _value(metric, samples, annotations.repeat(1, 3, 1, 1))
    expect_close(
        _value(metric, samples, annotations), expected, "repeated sets' number", tolerance=1e-8
    )
    uneven = _value(metric, samples[:, :3], annotations)
    even = _value(metric, samples[:, :3].repeat(1, 2, 1, 1), annotations.repeat(1, 3, 1, 1))
    expect_close(uneven, even, "the number of the least common multiple", tolerance=1e-8)


def _pairwise(metric: Any, samples: Tensor, annotations: Tensor) -> Tensor:
    # Between one sample and one annotation a matched metric is its kernel.
    rows = [
        torch.stack([_value(metric, s[:, None], a[:, None]) for a in annotations.unbind(1)], dim=1)
        for s in samples.unbind(1)
    ]
    return torch.stack(rows, dim=1)  # (B, N, A)


def _maps(count: int = SAMPLES) -> Tensor:
    maps = (torch.rand(IMAGES, count, SIDE, SIDE) > 0.6).long()
    maps[..., 0, 0], maps[..., 0, 1] = 1, 0  # neither empty nor full
    return maps


def _evaluation(
    samples: Tensor,
    annotations: Tensor,
    images: slice = slice(None),
    *,
    ignore_index: int | None = None,
) -> Evaluation:
    probabilities = functional.one_hot(samples, 2).movedim(-1, 2).float()
    return Evaluation(
        probabilities[images],
        annotations[images],
        _normal(0.0, images),
        _normal(0.5, images),
        ignore_index,
        spacing=torch.full((IMAGES, 2), 0.5)[images],  # mm
    )


def _normal(shift: float, images: slice) -> Distribution:
    scale = torch.linspace(0.2, 1.5, IMAGES * LATENT).reshape(IMAGES, LATENT)[images]
    return Independent(Normal(torch.full_like(scale, shift), scale), 1)


def _value(
    metric: Any,
    samples: Tensor,
    annotations: Tensor,
    *,
    undefined: bool = False,
    ignore_index: int | None = None,
) -> Tensor:
    value: Tensor = metric(_evaluation(samples, annotations, ignore_index=ignore_index))
    expect_shape(value, (len(samples),), "a score")
    expect(value.dtype == torch.float64, "float64", value.dtype)
    defined = value.isfinite() | (value.isnan() if undefined else False)
    expect(defined.all(), "finite scores", value.tolist())
    return value


def _loss(metric: Any, value: Tensor) -> Tensor:
    return -value if metric.higher_is_better else value
