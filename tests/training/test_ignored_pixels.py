"""Training on pixels that nobody labelled, and on soft masks, from a data set to the weights."""

from __future__ import annotations

import pytest
import torch
from small_models import small
from training_toys import Discs, ToyModel

import probseg
from probseg.datasets.views import CentreCrop, subset
from probseg.errors import DataError, InputError, OptionError
from probseg.training import LatentHealth, TrainingSettings, fit
from probseg.training.augmentation import apply, draw
from probseg.training.data import TrainingData
from probseg.training.module import TrainingModule

SHORT = {"batch_size": 4, "max_steps": 2, "validate_every": 1, "micro_batch": 2}


class Partly(Discs):
    """Discs of which nobody labelled some columns; the disc below is in the masks, or is not."""

    def __init__(self, count: int, *, value: int = 255, **options: int) -> None:
        super().__init__(count, **options)
        self.ignore_index = 255
        self.masks[..., ::3] = value


class Soft(Discs):
    """One "annotator": the mean of four."""

    annotators, soft = 1, True

    def __init__(self, count: int, **options: int) -> None:
        super().__init__(count, **options)
        self.masks = self.masks.float().mean(1, keepdim=True)


def losses(result):
    return [record["validation/loss"] for record in result.history]


@pytest.mark.parametrize("name", ["csae", "deterministic"])
def test_fit_ignores_what_nobody_labelled(name):
    """As a loop of its own says at the first validation, before any step."""
    train, validation = Partly(8), Partly(4, seed=1)
    model = small(name)
    result = fit(model, train, validation, progress=False, **SHORT)
    assert all(torch.tensor(losses(result)).isfinite())
    scores = probseg.evaluate(model, validation, n=4, progress=False)
    assert not scores.problems
    assert all(torch.tensor(list(scores.mean().values())).isfinite())


def test_without_its_ignore_index_the_data_are_refused():
    train = Partly(8)
    train.ignore_index = None
    with pytest.raises(DataError, match=r"holds class 255, .*say ignore_index = 255"):
        fit(small("deterministic"), train, train, progress=False, **SHORT)


@pytest.mark.parametrize("value", [2, 254])
def test_any_value_that_is_no_class_may_stand_for_them(value):
    """With the same result, to the bit."""
    histories = []
    for chosen in (value, 255):
        data = Partly(8, value=chosen)
        data.ignore_index = chosen
        torch.manual_seed(0)
        histories.append(losses(fit(small("csae"), data, data, progress=False, **SHORT)))
    assert histories[0] == histories[1]


@pytest.mark.parametrize("value", [0, 1, 256, -100, "255"])
def test_a_class_or_no_byte_is_no_value_to_ignore(value):
    data = Partly(8)
    data.ignore_index = value
    with pytest.raises(InputError, match=r"from 2, its number of classes, to 255 \(the usual\)"):
        fit(small("csae"), data, data, progress=False, **SHORT)


def test_two_data_sets_have_one_value_or_one_of_them_none():
    train, other = Partly(8), Partly(4, value=7)
    other.ignore_index = 7
    with pytest.raises(DataError, match="must have one ignore_index, not 7 and 255"):
        TrainingData(train, other, TrainingSettings())
    assert TrainingData(Discs(4), train, TrainingSettings()).ignore_index == 255
    assert TrainingData(Discs(4), Discs(4), TrainingSettings()).ignore_index is None


def test_views_pass_it_on():
    data = Partly(8)
    view = CentreCrop(subset(data, range(4)), 8)
    assert view.ignore_index == 255 and not view.soft
    assert subset(Soft(4), [0]).soft


def test_a_model_whose_loss_cannot_ignore_says_so():
    with pytest.raises(InputError, match=r"ToyModel\.loss takes no ignore_index=; add that option"):
        fit(ToyModel(), Partly(8), Partly(4), progress=False, **SHORT)
    result = fit(ToyModel(), Discs(8), Discs(4), progress=False, **SHORT)
    assert result.steps == 2
    with pytest.raises(InputError, match=r"ToyModel\.loss takes no ignore_index="):
        probseg.evaluate(ToyModel(), Partly(4), n=2, progress=False)


def test_latent_health_measures_them():
    data = Partly(8)
    for probe in (data, data.batch(range(8))):
        watch = LatentHealth(probe, samples=2)
        fit(small("csae"), data, data, progress=False, callbacks=[watch], **SHORT)
        assert len(watch.history) == 2
        assert 0 < watch.history[-1][1].annotator_diversity < 1


def test_a_model_on_its_own_device_would_be_told_of_other_values_only():
    module = TrainingModule(small("deterministic"), TrainingSettings(), ignore_index=255)
    label = torch.tensor([[[0, 255], [1, 7]]])
    assert module._classes(label).tolist() == [[[0, 0], [1, 7]]]
    assert module._classes(label.float()) is None


# What comes in from outside


def test_what_comes_in_from_outside_has_the_value_asked_for():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(16, 1, 24, 24, generator=generator)
    masks = torch.randint(1, 3, (16, 2, 24, 24), generator=generator).byte()
    masks[:, 1, 5:9] = 255
    drawn = draw(16, generator)
    background = apply(image, masks, drawn)
    ignored = apply(image, masks, drawn, outside=255)
    assert ignored[0].equal(background[0])
    outside = background[1] == 0  # which no mask has
    assert (ignored[1][outside] == 255).all() and outside.any()
    assert ignored[1][~outside].equal(background[1][~outside])
    soft = apply(image, masks.float() / 4, drawn, outside=255)[1]
    assert soft[outside].eq(255).all() and soft[~outside].equal(background[1][~outside] / 4)


@pytest.mark.parametrize(("augment", "value"), [(True, None), ("ignore-outside", 255)])
def test_it_is_ignored_if_asked_for(augment, value, monkeypatch):
    seen = []
    model = small("deterministic")
    loss = model.loss

    def watched(image, label, **options):
        seen.append((label, options.get("ignore_index")))
        return loss(image, label, **options)

    model.loss = watched
    data = Discs(8)
    data.masks[:] = 1  # so that 0 is outside
    fit(model, data, data, progress=False, augment=augment, **SHORT)
    labels = torch.cat([label for label, _ in seen[:2]])
    assert {ignored for _, ignored in seen} == {value}
    assert set(labels.unique().tolist()) == {1, value or 0}


def test_the_choice_is_told_and_a_wrong_one_refused():
    with pytest.raises(OptionError, match=r"did you mean 'ignore-outside'"):
        TrainingSettings(augment="ignore_outside")
    wide = Discs(4)
    wide.classes = 256
    with pytest.raises(DataError, match="255 classes at most"):
        TrainingData(wide, wide, TrainingSettings(augment="ignore-outside"))


# Soft masks


def test_soft_masks_are_learned_as_they_are():
    """A model that sees nothing learns the mean of the masks, not the mean of zeros."""
    train = Soft(16)
    train.images = torch.zeros_like(train.images)
    train.masks[:] = 0.7
    model = small("deterministic")
    settings = {"batch_size": 8, "max_steps": 80, "learning_rate": 0.05, "augment": False}
    fit(model, train, train, progress=False, validate_every=40, **settings)
    assert model.sample(train.images[:1], 1)[0, 0, 1].mean().item() == pytest.approx(0.7, abs=0.03)


def test_they_are_refused_unless_asked_for():
    data = Soft(8)
    data.soft = False
    with pytest.raises(DataError, match=r"between classes; .*masks > 0\.5.*say soft = True"):
        fit(small("csae"), data, data, progress=False, **SHORT)
    data.soft = True
    assert fit(small("csae"), data, data, progress=False, **SHORT).steps == 2


@pytest.mark.parametrize("value", [1.2, -0.1, float("nan")])
def test_a_soft_mask_holds_probabilities(value):
    data = Soft(8)
    data.masks[:, 0, 3, 3] = value
    with pytest.raises(DataError, match="holds class"):
        fit(small("csae"), data, data, progress=False, **SHORT)


def test_soft_masks_may_have_pixels_that_nobody_labelled():
    data = Soft(8)
    data.ignore_index = 255
    data.masks[..., :5, :] = 255
    model = small("csae")
    assert torch.tensor(losses(fit(model, data, data, progress=False, **SHORT))).isfinite().all()
    scores = probseg.evaluate(model, data, n=4, progress=False)
    assert not scores.problems and "nearest class, above 0.5" in scores.remarks[0]


def test_whole_numbers_that_are_floating_are_classes():
    data, wanted = Discs(8), Discs(8)
    data.masks = data.masks.float()
    histories = []
    for one in (data, wanted):
        torch.manual_seed(0)
        histories.append(losses(fit(small("csae"), one, one, progress=False, **SHORT)))
    assert histories[0] == histories[1]


def test_who_cannot_learn_soft_masks_says_so():
    with pytest.raises(InputError, match=r"loss of ToyModel does not take; .*soft_labels = True"):
        fit(ToyModel(), Soft(8), Soft(4), progress=False, **SHORT)
    data = Soft(8)
    data.classes = 3
    with pytest.raises(InputError, match=r"soft masks are of two classes, but .* has 3"):
        fit(small("csae", classes=3), data, data, progress=False, **SHORT)


def test_a_consensus_of_soft_masks_is_of_classes():
    data = Soft(8)
    data.masks = torch.cat([data.masks, data.masks.square(), data.masks.sqrt()], dim=1)
    data.annotators = 3
    for annotator in ("majority", 1):
        result = fit(
            small("deterministic"), data, data, progress=False, annotator=annotator, **SHORT
        )
        assert result.steps == 2
    view = probseg.datasets.views.Annotated(data, 1)
    assert view.soft and view.batch([0, 1]).masks[:, 0].equal(data.masks[:2, 1])
    view = probseg.datasets.views.Annotated(data, "majority")
    assert not view.soft and view.batch([0]).masks.dtype == torch.uint8


class Undeclared(Discs):
    """Soft masks of a data set that does not say so."""

    def __init__(self, count: int, value: float) -> None:
        super().__init__(count)
        self.masks = self.masks * value


@pytest.mark.parametrize("annotator", ["random", 0, "majority", "staple"])
@pytest.mark.parametrize("value", [0.4, 0.7, float("nan")])
def test_undeclared_soft_masks_are_refused_whoever_is_learned_from(annotator, value):
    data = Undeclared(8, value)
    with pytest.raises(DataError, match=r"'discs' holds (values between classes|class nan)"):
        fit(small("deterministic"), data, data, annotator=annotator, progress=False, **SHORT)


@pytest.mark.parametrize("value", [0.4, 0.7, float("nan")])
def test_undeclared_soft_masks_are_refused_wherever_they_are_measured(value):
    data, wanted = Undeclared(4, value), "'discs' holds (values between classes|class nan)"
    with pytest.raises(DataError, match=wanted):
        probseg.evaluate(small("deterministic"), data, n=2, progress=False)
    with pytest.raises(DataError, match=wanted):
        LatentHealth(data)


def _other_masks(change):
    data = Discs(8)
    data.annotators = 2
    data.masks = change(data.masks[:, :2])
    return data


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (lambda masks: masks[:, 0], r"must be \(B, A, H, W\).*masks\[:, None\]"),
        (lambda masks: torch.stack([1 - masks, masks], 2), r"must be .*masks\.argmax\(2\)"),
        (lambda masks: masks[..., 1:], "must be .*a mask of the image's size"),
        (lambda masks: masks.repeat(1, 2, 1, 1), r"annotators = 2, .*argmax\(1, keepdim=True\)"),
    ],
)
@pytest.mark.parametrize("annotator", ["random", "majority"])
def test_masks_of_other_axes_are_told_those_that_are_wanted(change, remedy, annotator):
    data = _other_masks(change)
    with pytest.raises(DataError, match=remedy):
        fit(small("csae"), data, data, annotator=annotator, progress=False, **SHORT)
    with pytest.raises(DataError, match=remedy):
        probseg.evaluate(small("csae"), data, n=2, progress=False)


@pytest.mark.parametrize(
    "remedy", [lambda m: m[:, 0][:, None], lambda m: torch.stack([1 - m, m], 2).argmax(2)]
)
def test_masks_that_follow_the_remedy_are_learned(remedy):
    data = _other_masks(remedy)
    assert fit(small("deterministic"), data, data, progress=False, **SHORT).steps == 2
