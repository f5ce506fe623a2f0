"""Whose annotation a model learns from, and that an interrupted run goes on with the same."""

from __future__ import annotations

import pytest
import torch
from training_toys import Discs, ToyModel, make_model, quick

from probseg.datasets.annotators import annotation
from probseg.errors import CheckpointError, DataError
from probseg.training import fit


class Recorder(ToyModel):
    """Remembers the labels it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.areas: set[int] = set()

    def loss(self, image, label, *, generator=None):
        self.areas |= set(label.sum((1, 2)).tolist())
        return super().loss(image, label)


def areas(masks: torch.Tensor) -> set[int]:
    return set(masks.sum((-2, -1)).flatten().tolist())


@pytest.mark.parametrize("annotator", ["majority", "staple", 0, 3])
def test_a_model_learns_from_the_annotator_that_the_settings_name(annotator):
    train, validation = Discs(22), Discs(6, seed=1)
    model = Recorder()
    fit(model, train, validation, quick(annotator=annotator, augment=False))
    wanted = [annotation(side.batch(range(len(side))), annotator) for side in (train, validation)]
    assert model.areas == areas(wanted[0]) | areas(wanted[1])


def test_the_absent_are_never_learned_from():
    sides = Discs(22), Discs(6, seed=1)
    for side in sides:
        side.present = torch.tensor(
            [[False, True, index % 2 == 0, False] for index in range(len(side))]
        )
        side.masks[~side.present] = 0
        assert not side.masks[side.present].flatten(1).sum(1).eq(0).any()
    model = Recorder()
    fit(model, *sides, quick(augment=False, max_steps=24))
    assert 0 not in model.areas
    assert model.areas <= areas(sides[0].masks) | areas(sides[1].masks)


def test_presence_of_everybody_changes_nothing():
    plain, told = (Discs(22), Discs(6, seed=1)), (Discs(22), Discs(6, seed=1))
    for side in told:
        side.present = torch.ones(len(side), 4, dtype=torch.bool)
    models = make_model(), make_model()
    for model, sides in zip(models, (plain, told), strict=True):
        fit(model, *sides, quick())
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("annotator", ["random", "staple"])
def test_an_interrupted_run_goes_on_to_the_bit(annotator, tmp_path):
    sides = Discs(22), Discs(6, seed=1)
    sides[0].present = torch.tensor([[True, True, index % 3 > 0, True] for index in range(22)])
    whole, cut = make_model(), make_model()
    fit(whole, *sides, quick(annotator=annotator))
    fit(cut, *sides, quick(annotator=annotator, max_steps=6), out=tmp_path)
    fit(cut, *sides, quick(annotator=annotator), out=tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, cut.state_dict()[name])


def test_a_run_does_not_go_on_with_another_annotator(tmp_path):
    sides = Discs(22), Discs(6, seed=1)
    fit(make_model(), *sides, quick(max_steps=3), out=tmp_path)
    with pytest.raises(CheckpointError, match="whose annotator is 'random', not 'majority'"):
        fit(make_model(), *sides, quick(annotator="majority"), out=tmp_path)


def test_an_image_without_annotators_is_named():
    train, validation = Discs(22), Discs(6, seed=1)
    validation.present = torch.ones(6, 4, dtype=torch.bool)
    validation.present[4] = False
    with pytest.raises(DataError, match="nobody annotated an image of data set 'discs'"):
        fit(make_model(), train, validation, quick())
