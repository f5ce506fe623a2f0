"""Models that learn from all annotators of an image at once, through fit."""

from typing import Any

import pytest
import torch
from torch import Tensor
from training_toys import Discs

import probseg
from probseg.datasets.annotators import all_annotations
from probseg.errors import InputError
from probseg.models.energy import EnergyModel

NET = {"channels": [4, 8], "convolutions": 1}
PARTS: dict[str, Any] = {
    "backbone": {"name": "unet", **NET},
    "encoder": {"name": "axis-aligned", **NET},
    "latent_dim": 2,
    "samples": 3,
    "stratified": False,
}
STEPS = {"batch_size": 4, "max_steps": 4, "validate_every": 2, "progress": False, "device": "cpu"}


class Recording(EnergyModel):
    """Keeps what its loss gets."""

    def loss(self, image: Tensor, label: Tensor, **options: Any) -> dict[str, Tensor]:
        self.seen.append((image.clone(), label.clone(), options))
        return super().loss(image, label, **options)


def recording() -> Recording:
    torch.manual_seed(0)
    model = Recording(**PARTS)
    model.seen = []
    return model


def discs(count: int, *, absent: bool = False) -> Discs:
    data = Discs(count)
    if absent:
        data.present = torch.ones(count, 4, dtype=torch.bool)
        data.present[:, 3] = torch.arange(count) % 2 == 0
    return data


def test_the_loss_gets_everybodys_masks():
    model, data = recording(), discs(8)
    probseg.fit(model, data, data, augment=False, **STEPS)
    for image, masks, options in model.seen:
        rows = [(data.images == one).flatten(1).all(1).nonzero().item() for one in image]
        assert torch.equal(masks, data.masks[rows].long())
        assert options == {"ignore_index": 255}


def test_who_is_absent_labelled_nothing():
    model, data = recording(), discs(8, absent=True)
    probseg.fit(model, data, discs(4, absent=True), augment=True, **STEPS)
    absent = torch.cat([(masks == 255).flatten(2).all(2) for _, masks, _ in model.seen])
    assert absent[:, :3].sum() == 0 and absent[:, 3].any() and not absent[:, 3].all()
    assert all(((m == 255).flatten(2).float().mean(2) % 1 == 0).all() for _, m, _ in model.seen)


def test_annotations_of_the_absent_are_replaced():
    masks = torch.arange(8).view(2, 2, 1, 2)
    present = torch.tensor([[True, False], [True, True]])
    assert all_annotations(masks, present, 255).tolist() == [
        [[[0, 1]], [[255, 255]]],
        [[[4, 5]], [[6, 7]]],
    ]
    assert all_annotations(masks, None, 255) is masks


def test_a_chosen_annotator_is_a_set_of_one():
    model = recording()
    probseg.fit(model, discs(8), discs(4), annotator=2, **STEPS)
    assert {masks.shape[1] for _, masks, _ in model.seen} == {1}


def test_a_run_goes_on_to_the_bit(tmp_path):
    whole, part = recording(), recording()
    probseg.fit(whole, discs(8, absent=True), discs(4), out=tmp_path / "whole", **STEPS)
    half = STEPS | {"max_steps": 2}
    probseg.fit(part, discs(8, absent=True), discs(4), out=tmp_path / "part", **half)
    again = recording()
    probseg.fit(again, discs(8, absent=True), discs(4), out=tmp_path / "part", **STEPS)
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_chunks_of_a_batch_are_the_batch():
    whole, chunked = recording(), recording()
    for model, size in ((whole, 4), (chunked, 2)):
        probseg.fit(model, discs(8, absent=True), discs(4), micro_batch=size, **STEPS)
    terms = [[len(image) for image, *_ in model.seen] for model in (whole, chunked)]
    assert set(terms[0]) == {4} and 2 in terms[1]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.zeros(2, 16, 16).long(), r"not \(2, 16, 16\); one label is label\[:, None\]"),
        (torch.zeros(2, 3, 8, 16).long(), "of 2 images of 16 x 16, not"),
        (torch.zeros(2, 3, 16, 16), "must hold integer classes, not torch.float32"),
        (torch.full((2, 3, 16, 16), 2), "the classes 0 to 1, not values from 2 to 2"),
        (None, "not NoneType"),
    ],
)
def test_other_masks_are_refused(masks, message):
    with pytest.raises(InputError, match=message):
        EnergyModel(**PARTS).loss(torch.rand(2, 1, 16, 16), masks)


def latent(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    parts = {key: value for key, value in PARTS.items() if key not in ("samples", "stratified")}
    return probseg.build(name, all_annotators=True, **parts, **options)


EVERY: dict[str, Any] = {"variability": 1.0, "top_k": 0.2}


@pytest.mark.parametrize(("name", "options"), [("spu-net", {}), ("csae", EVERY)])
def test_a_latent_model_of_all_goes_on_to_the_bit(name, options, tmp_path):
    whole, part = latent(name, **options), latent(name, **options)
    data = discs(8, absent=True), discs(4, absent=True)
    probseg.fit(whole, *data, out=tmp_path / "whole", **STEPS)
    probseg.fit(part, *data, out=tmp_path / "part", **STEPS | {"max_steps": 2})
    again = latent(name, **options)
    probseg.fit(again, *data, out=tmp_path / "part", **STEPS)
    for key, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    assert probseg.evaluate(again, data[1], n=2).mean()["ged"] >= 0


def test_soft_masks_are_of_one_annotation():
    data = discs(8)
    data.masks, data.soft = data.masks.float() * 0.5, True
    with pytest.raises(InputError, match=r"has soft masks, which the loss .*does not take"):
        probseg.fit(latent("spu-net"), data, data, **STEPS)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    alone, together = latent("spu-net"), latent("spu-net")
    data, steps = (discs(22, absent=True), discs(7)), STEPS | {"batch_size": 5, "micro_batch": 2}
    steps |= {"precision": "fp32", "channels_last": False}
    one = probseg.fit(alone, *data, **steps)
    two = probseg.fit(together, *data, out=tmp_path, **steps, devices=2)
    assert one.history[-1]["validation/loss"] == pytest.approx(
        two.history[-1]["validation/loss"], rel=1e-4
    )
    for mine, other in zip(together.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_it_learns_what_annotators_disagree_on():
    """The radius is 3, 4, 5 or 6 pixels with equal probability, and no other mask is drawn."""
    data = discs(48)
    torch.manual_seed(0)
    model = probseg.build("energy", **PARTS | {"samples": 8, "stratified": True})
    options = STEPS | {"max_steps": 300, "validate_every": 300, "batch_size": 8}
    probseg.fit(model, data, discs(4), learning_rate=3e-3, augment=False, **options)
    scores = probseg.evaluate(model, data, n=16, metrics=["ged", "diversity"]).mean()
    assert scores["ged"] < 0.2 and scores["diversity"] > 0.15
