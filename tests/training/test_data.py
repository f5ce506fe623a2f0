"""Which images a step sees, and whose annotation of them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from scipy import stats
from training_toys import Discs, quick

from probseg.datasets.annotators import choose_annotator
from probseg.training.data import TrainingData
from probseg.training.execution import Purpose, derive_seed


@pytest.mark.parametrize(("count", "size"), [(22, 4), (5, 4), (3, 8), (1, 2)])
def test_every_pass_sees_every_image_once(count, size):
    data = TrainingData(Discs(count), Discs(2), quick(batch_size=size))
    seen = [index for step in range(count * 3) for index in data.batch_indices(step)]
    passes = [seen[start : start + count] for start in range(0, len(seen), count)]
    assert all(sorted(one) == list(range(count)) for one in passes)


def test_order_depends_on_seed_and_pass_and_on_nothing_before():
    data = TrainingData(Discs(40), Discs(2), quick(batch_size=40))
    late = data.batch_indices(7)
    passes = {tuple(data.batch_indices(step)) for step in range(9)}
    assert len(passes) == 9
    assert data.batch_indices(7) == late
    other = TrainingData(Discs(40), Discs(2), quick(batch_size=40, seed=1))
    assert other.batch_indices(7) != late


def test_a_round_is_a_pass_unless_said_otherwise():
    assert TrainingData(Discs(22), Discs(2), quick(validate_every=None)).steps_per_validation == 6
    assert TrainingData(Discs(22), Discs(2), quick(validate_every=9)).steps_per_validation == 9


def test_validation_sees_every_image_once_in_order():
    discs = Discs(10)
    loader = TrainingData(Discs(5), discs, quick(batch_size=4)).val_dataloader()
    images = torch.cat([batch.image for batch in loader])
    assert torch.equal(images, discs.images)


def test_without_a_trainer_there_is_no_step():
    with pytest.raises(RuntimeError, match=r"Trainer\.fit"):
        TrainingData(Discs(5), Discs(2), quick()).train_dataloader()


def test_annotators_are_chosen_uniformly_and_each_image_apart():
    masks = torch.arange(4)[None, :, None, None].expand(6000, 4, 1, 1)
    chosen = choose_annotator(masks, torch.Generator().manual_seed(0)).flatten().tolist()
    assert stats.chisquare(list(Counter(chosen).values())).pvalue > 0.01
    pairs = Counter(zip(chosen[::2], chosen[1::2], strict=True))
    assert len(pairs) == 16
    assert stats.chisquare(list(pairs.values())).pvalue > 0.01


def test_the_chosen_annotation_is_of_the_same_image():
    masks = torch.arange(12).reshape(3, 4, 1, 1)
    chosen = choose_annotator(masks, torch.Generator().manual_seed(1))
    assert chosen.shape == (3, 1, 1)
    assert (chosen.flatten() // 4).tolist() == [0, 1, 2]


def test_streams_of_random_numbers_do_not_meet():
    seeds = {
        derive_seed(seed, purpose, step)
        for seed in range(5)
        for purpose in Purpose
        for step in range(50)
    }
    assert len(seeds) == 5 * len(Purpose) * 50
