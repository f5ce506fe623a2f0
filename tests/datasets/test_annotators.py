"""Whose annotation counts, against brute force and an expectation-maximisation written out."""

from __future__ import annotations

import pickle
import sys
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from probseg.datasets.annotators import (
    annotation,
    choose_annotator,
    complete,
    majority_vote,
    staple,
)
from probseg.datasets.views import Annotated
from probseg.errors import DataError, InputError, MissingDependencyError, OptionError
from probseg.interfaces import Batch, Sample


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_batch(seed: int, count: int = 6, annotators: int = 4, classes: int = 2) -> Batch:
    random = generator(seed)
    present = torch.rand(count, annotators, generator=random) < 0.6
    present[torch.arange(count), torch.randint(annotators, (count,), generator=random)] = True
    masks = torch.randint(classes, (count, annotators, 5, 7), generator=random, dtype=torch.uint8)
    return Batch(torch.rand(count, 1, 5, 7), masks * present[:, :, None, None], present)


class Kept:
    """A batch as a data set."""

    name, channels, classes, annotators = "kept", 1, 2, 4
    provenance, fingerprint = "a batch", "0123456789abcdef"

    def __init__(self, batch: Batch) -> None:
        self.whole = batch
        self.groups = [str(index) for index in range(len(batch.image))]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError

    def batch(self, indices: Any) -> Batch:
        return Batch(*(None if x is None else x[list(indices)] for x in self.whole))


def test_where_everybody_is_present_the_draws_are_those_without_presence() -> None:
    masks = torch.arange(4, dtype=torch.uint8)[None, :, None, None].expand(99, 4, 1, 1)
    everyone = torch.ones(99, 4, dtype=torch.bool)
    first, second = generator(), generator()
    assert choose_annotator(masks, first, present=everyone).equal(choose_annotator(masks, second))
    assert first.get_state().equal(second.get_state())


def test_an_absent_annotator_does_not_change_whom_complete_images_get() -> None:
    masks = torch.arange(4, dtype=torch.uint8)[None, :, None, None].expand(99, 4, 1, 1)
    present = torch.ones(99, 4, dtype=torch.bool)
    present[7, 2] = False
    before = choose_annotator(masks, generator())
    after = choose_annotator(masks, generator(), present=present)
    assert (before == after).flatten().sum() >= 98


@pytest.mark.parametrize("who", [(1,), (0, 2), (1, 2, 4), (0, 1, 3, 4), (0, 1, 2, 3, 4)])
def test_the_present_are_drawn_uniformly_and_the_absent_never(who: tuple[int, ...]) -> None:
    masks = torch.arange(5, dtype=torch.uint8)[None, :, None, None].expand(4000, 5, 1, 1)
    present = torch.zeros(4000, 5, dtype=torch.bool)
    present[:, list(who)] = True
    chosen = choose_annotator(masks, generator(), present=present).flatten()
    counts = Counter(chosen.tolist())
    assert set(counts) == set(who)
    assert len(who) == 1 or chisquare(list(counts.values())).pvalue > 0.001


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.sampled_from([2, 3, 5]))
def test_a_majority_is_counted_pixel_by_pixel(seed: int, classes: int) -> None:
    batch = random_batch(seed, classes=classes)
    voted = majority_vote(batch.masks, batch.present)
    assert voted.dtype == torch.uint8
    for image, (masks, who) in enumerate(zip(batch.masks, batch.present, strict=True)):
        for place in np.ndindex(5, 7):
            votes = Counter(int(mask[place]) for mask in masks[who])
            most = max(votes.values())
            wanted = min(one for one, number in votes.items() if number == most)
            assert voted[image][place] == wanted


def expectation_maximisation(masks: NDArray[Any], steps: int = 20_000) -> NDArray[Any]:
    """Warfield's algorithm: the probability of foreground at each pixel."""
    d = masks.astype(float)
    p = q = np.full((len(d), 1, 1), 0.99999)  # sensitivity and specificity
    for _ in range(steps):
        one = d.mean() * np.where(d == 1, p, 1 - p).prod(0)
        zero = (1 - d.mean()) * np.where(d == 0, q, 1 - q).prod(0)
        w, before = one / (one + zero), (p, q)
        p = (d * w).sum((1, 2), keepdims=True) / w.sum()
        q = ((1 - d) * (1 - w)).sum((1, 2), keepdims=True) / (1 - w).sum()
        if max(np.abs(p - before[0]).max(), np.abs(q - before[1]).max()) < 1e-9:
            break
    return w


@pytest.mark.parametrize("seed", range(12))
def test_staple_is_what_expectation_maximisation_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random((12, 14)) < 0.3
    error = random.uniform(0.02, 0.3, (2 + seed % 4, 1, 1))
    masks = truth ^ (random.random((len(error), 12, 14)) < error)
    wanted = expectation_maximisation(masks)
    clear = np.abs(wanted - 0.5) > 1e-3
    found = staple(torch.from_numpy(masks.astype(np.uint8))[None])[0].numpy()
    assert (found == (wanted > 0.5))[clear].all()
    assert not found[~clear].any()  # as probable as not is background
    assert len(masks) == 2 or clear.all()


def test_staple_weighs_where_a_majority_counts() -> None:
    random = np.random.default_rng(0)
    truth = random.random((32, 32)) < 0.4
    error = np.array([0.01, 0.01, 0.4, 0.4, 0.4])[:, None, None]
    masks = torch.from_numpy((truth ^ (random.random((5, 32, 32)) < error)).astype(np.uint8))[None]
    wrong = [(found[0].numpy() != truth).mean() for found in (staple(masks), majority_vote(masks))]
    assert wrong[0] < 0.02 < 0.05 < wrong[1]


def test_staple_of_several_classes_recovers_them_from_noise() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, (24, 24), np.uint8)
    noisy = random.random((5, 24, 24)) < 0.1
    masks = np.where(noisy, random.integers(0, 4, (5, 24, 24), np.uint8), truth)
    found = staple(torch.from_numpy(masks)[None])
    assert found.dtype == torch.uint8 and (found[0].numpy() == truth).mean() > 0.98


@pytest.mark.parametrize("value", [0, 1, 3])
def test_staple_of_those_who_agree_is_what_they_say(value: int) -> None:
    assert (staple(torch.full((2, 3, 4, 4), value, dtype=torch.uint8)) == value).all()


@pytest.mark.parametrize("annotator", ["majority", "staple"])
def test_the_absent_have_no_say(annotator: Any) -> None:
    batch = random_batch(3, count=8)
    together = annotation(batch, annotator)
    for image, (masks, who) in enumerate(zip(batch.masks, batch.present, strict=True)):
        alone = annotation(Batch(batch.image[:1], masks[who][None]), annotator)
        assert together[image].equal(alone[0])
        if who.sum() == 1:
            assert together[image].equal(masks[who][0])


def test_an_annotator_has_a_number() -> None:
    batch = random_batch(0)._replace(present=None)
    assert annotation(batch, 2).equal(batch.masks[:, 2])
    with pytest.raises(OptionError, match="annotator must be 0 to 3, as there are 4, not 4"):
        annotation(batch, 4)
    present = torch.tensor([[True, True, True, k > 1] for k in range(6)])
    with pytest.raises(DataError, match="annotator 3 left out 2 of 6 images"):
        annotation(batch._replace(present=present), 3)


@pytest.mark.parametrize("annotator", ["stapel", -1, True, 1.0, None])
def test_an_unknown_annotator_is_refused(annotator: Any) -> None:
    with pytest.raises(OptionError, match=r"annotator must be .*, not "):
        annotation(random_batch(0), annotator)


def test_without_simpleitk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'probseg\[data\]'"):
        staple(random_batch(0).masks)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 9))
def test_complete_batches_hold_every_annotation_in_order(seed: int, count: int) -> None:
    batch = random_batch(seed, count=count)
    parts = list(complete(batch))
    assert torch.cat([part.image for part in parts]).equal(batch.image)
    found = [masks for part in parts for masks in part.masks]
    wanted = [masks[who] for masks, who in zip(batch.masks, batch.present, strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    numbers = [part.masks.shape[1] for part in parts]
    assert all(a != b for a, b in pairwise(numbers))


@pytest.mark.parametrize("annotator", ["majority", "staple"])
def test_an_annotated_view_gives_each_image_its_one_annotation(annotator: Any) -> None:
    batch = random_batch(1, count=9)
    view = Annotated(Kept(batch), annotator)
    wanted = annotation(batch, annotator)
    for indices in ([3, 1, 3], [8, 1, 0], [3]):
        found = view.batch(indices)
        assert found.masks.equal(wanted[indices][:, None]) and found.present is None
    loaded = pickle.loads(pickle.dumps(view))
    assert loaded[8].masks.equal(wanted[[8]]) and loaded.annotators == 1


def test_annotated_views_have_fingerprints_of_their_own() -> None:
    kept = Kept(random_batch(1))
    views = [kept, *(Annotated(kept, one) for one in ("majority", "staple", 0, 1))]
    assert len({view.fingerprint for view in views}) == 5
    with pytest.raises(OptionError, match="choose_annotator"):
        Annotated(kept, "random")
    with pytest.raises(OptionError, match="as there are 4"):  # before anything is read
        Annotated(kept, 4)


@pytest.mark.parametrize("value", [0.4, 0.7, float("nan")])
@pytest.mark.parametrize("consensus", [majority_vote, staple])
def test_a_consensus_of_soft_masks_or_nan_is_refused(consensus, value):
    with pytest.raises(InputError, match=r"between them, or NaN; .*\(masks > 0\.5\)\.byte\(\)"):
        consensus(value * torch.ones(2, 3, 4, 4))
    assert consensus((torch.ones(2, 3, 4, 4) > 0.5).byte()).all()


def test_a_batch_of_soft_masks_with_nan_has_no_consensus():
    masks = torch.full((1, 3, 4, 4), torch.nan)
    with pytest.raises(InputError, match="hold NaN"):
        annotation(Batch(torch.zeros(1, 1, 4, 4), masks), "majority")
