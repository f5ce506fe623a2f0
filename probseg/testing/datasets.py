"""The contract of a data set: images with all their annotations, by index and in batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from probseg.datasets.annotators import presence
from probseg.datasets.preprocessing import preprocessing_of
from probseg.datasets.splits import split
from probseg.interfaces import Batch, Dataset, Sample
from probseg.registry.specs import lacking
from probseg.testing.contract import Contract, Make, expect, expect_shape

contract = Contract("dataset")


@contract
def describes_itself(make: Make) -> None:
    """It has the attributes of the protocol, a group per sample, provenance, and images' size."""
    dataset: Dataset = make()
    missing = ", ".join(lacking(dataset, Dataset))
    expect(not missing, "the attributes of a Dataset", f"{type(dataset).__name__} has no {missing}")
    expect(len(dataset) > 0, "samples", "none")
    expect(len(dataset.groups) == len(dataset), f"{len(dataset)} groups", len(dataset.groups))
    digest = dataset.fingerprint
    hexadecimal = len(digest) >= 16 and set(digest) <= set("0123456789abcdef")
    expect(hexadecimal, "a hex digest of 16 characters or more as fingerprint", digest)
    expect(bool(dataset.provenance.strip()), "a sentence as provenance", repr(dataset.provenance))
    if known := preprocessing_of(dataset):
        size = tuple(dataset[0].image.shape[-2:])
        expect(known.shape in (None, size), f"preprocessing of images of {size}", known.shape)


@contract
def samples_have_their_types(make: Make) -> None:
    """Finite float32 images (C, H, W), uint8 masks (A, H, W) below the number of classes."""
    dataset: Dataset = make()
    for index in _some(dataset):
        image, masks, group, present = dataset[index]
        height, width = image.shape[-2:]
        expect_shape(image, (dataset.channels, height, width), "an image")
        expect_shape(masks, (dataset.annotators, height, width), "masks")
        expect(image.dtype == torch.float32, "float32 images", image.dtype)
        expect(masks.dtype == torch.uint8, "uint8 masks", masks.dtype)
        expect(image.isfinite().all(), "finite images", f"NaN or infinity in sample {index}")
        largest = masks.max().item()
        expect(largest < dataset.classes, f"classes below {dataset.classes}", largest)
        if present is not None:
            expect_shape(present, (dataset.annotators,), "presence")
            expect(present.dtype == torch.bool, "presence as bool", present.dtype)
            expect(not masks[~present].any(), "empty masks of absent annotators", "some drawn")
        expect(group == dataset.groups[index], f"the group {dataset.groups[index]!r}", repr(group))


@contract
def same_index_same_sample(make: Make) -> None:
    """An index gives the same sample again, also from a data set made anew."""
    first, second = make(), make()
    expect(first.fingerprint == second.fingerprint, "equal fingerprints", second.fingerprint)
    for index in _some(first):
        _expect_equal(first[index], first[index], f"sample {index} read twice")
        _expect_equal(first[index], second[index], f"sample {index} of a data set made anew")


@contract
def batches_are_their_samples(make: Make) -> None:
    """``batch(indices)`` gives, in order, what ``[i]`` gives one by one."""
    dataset: Dataset = make()
    indices = _some(dataset)[::-1]
    samples = [dataset[index] for index in indices]
    images, masks = (torch.stack(x) for x in list(zip(*samples, strict=True))[:2])
    present = torch.cat([presence(s.masks[None], _batched(s.present)) for s in samples])
    batch = dataset.batch(indices)
    batch = batch._replace(present=presence(batch.masks, batch.present))
    _expect_equal(batch, Batch(images, masks, present), f"samples {indices}")


@contract
def a_group_is_on_one_side(make: Make) -> None:
    """A split by patient leaves no group on two sides, and no sample out."""
    dataset: Dataset = make()
    fold = split(dataset.groups, by="patient")
    sides = [fold.train, fold.validation, fold.test]
    together = sorted(index for side in sides for index in side)
    expect(together == list(range(len(dataset))), "every sample once", f"{len(together)} samples")
    groups = [{dataset.groups[index] for index in side} for side in sides]
    number = len(set().union(*groups))
    expect(sum(map(len, groups)) == number, "groups on one side each", "some on two")


def _some(dataset: Dataset) -> list[int]:
    last = len(dataset) - 1
    return sorted({0, last // 3, last // 2, last})


def _expect_equal(actual: Sample | Batch, expected: Sample | Batch, what: str) -> None:
    for field, one, other in zip(actual._fields, actual, expected, strict=True):
        expect(_equal(one, other), f"{what} to be equal", f"another {field}")


def _batched(present: Tensor | None) -> Tensor | None:
    return None if present is None else present[None]


def _equal(actual: Any, expected: Any) -> bool:
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        return torch.equal(actual, expected) and actual.dtype == expected.dtype
    return type(actual) is type(expected) and bool(actual == expected)
