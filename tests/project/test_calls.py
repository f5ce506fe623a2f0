"""The calls of the package itself: split, build, fit, evaluate, and torch's own loaders."""

import pytest
import torch
from torch.utils.data import DataLoader, random_split

import probseg
from probseg.errors import OptionError

SMALL = {"channels": [4, 8], "convolutions": 1, "norm": "batch"}
PARTS = {"backbone": {"name": "unet", **SMALL}, "encoder": {"name": "axis-aligned", **SMALL}}


@pytest.fixture(scope="module")
def shapes():
    return probseg.datasets.create("ambiguous-shapes", samples=30, size=16)


def test_from_data_to_scores(shapes, tmp_path):
    train, validation, test = probseg.split(shapes)
    model = probseg.build("punet", like=shapes, latent_dim=2, **PARTS)
    run = probseg.fit(
        model, train, validation, out=tmp_path, batch_size=4, max_steps=2, progress=False
    )
    assert run.steps == 2 and (tmp_path / "best.safetensors").is_file()
    scores = probseg.evaluate(model, test, n=4)
    assert len(scores["ged"]) == len(test) == len(test.batch(range(len(test))).image)
    assert probseg.Evaluation is probseg.interfaces.Evaluation


def test_the_parts_share_no_group_and_leave_none_out(shapes):
    parts = probseg.split(shapes, folds=4, fold=1, seed=3)
    groups = [set(part.groups) for part in parts]
    assert set.union(*groups) == set(shapes.groups)
    assert sum(map(len, groups)) == len(set(shapes.groups))
    assert parts.test is parts[2] and parts.train is parts[0]


def test_like_gives_channels_and_classes_which_may_still_be_said(shapes):
    model = probseg.build("deterministic", like=shapes, backbone=PARTS["backbone"])
    assert (model.in_channels, model.classes) == (shapes.channels, shapes.classes)
    other = probseg.build("deterministic", like=shapes, classes=5, backbone=PARTS["backbone"])
    assert (other.in_channels, other.classes) == (shapes.channels, 5)


def test_torchs_own_loader_and_split_take_a_data_set(shapes):
    part, _ = random_split(shapes, [0.5, 0.5], generator=torch.Generator().manual_seed(0))
    for data in (shapes, part, probseg.split(shapes).train):
        batch = next(iter(DataLoader(data, batch_size=5)))
        assert batch.image.shape == (5, 1, 16, 16) and batch.masks.shape == (5, 4, 16, 16)
        assert batch.present.all() and len(batch.group) == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d: probseg.split(d, fodls=3), "no option 'fodls'; did you mean 'folds'"),
        (lambda m, d: probseg.fit(m, d, d, max_stepz=3), "did you mean 'max_steps'"),
        (lambda m, d: probseg.fit(m, d, d, batch_size=0), "batch_size must be"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(shapes, call, message):
    model = probseg.build("deterministic", like=shapes, backbone=PARTS["backbone"])
    with pytest.raises(OptionError, match=message):
        call(model, shapes)


def test_settings_and_options_are_not_mixed(shapes):
    settings = probseg.training.TrainingSettings(max_steps=1)
    with pytest.raises(OptionError, match="fit takes settings or batch_size, not both"):
        probseg.fit(None, shapes, shapes, settings=settings, batch_size=2)
