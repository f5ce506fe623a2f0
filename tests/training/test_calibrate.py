"""`probseg.calibrate` finds the temperature and the scale that a model lacks, and no others."""

from io import StringIO

import numpy as np
import pytest
import torch
from torch import nn

import probseg
from probseg.calibration import Calibration, samples_follow
from probseg.datasets.views import Subset
from probseg.errors import DataError, InputError, OptionError
from probseg.interfaces import Batch, Evaluation, Sample
from probseg.metrics.evaluation import compute_metrics
from probseg.models.base import ProbabilisticModel
from probseg.models.prior import PriorModel
from probseg.training.calibrate import Candidates, MeanCrossEntropy

SIDE = 16


class Drawn:
    """Images whose value is the log odds with which each annotator marks a pixel."""

    name, channels, classes, annotators = "drawn", 1, 2, 8
    fingerprint, provenance = "drawn", "drawn in memory"

    def __init__(self, count: int, *, groups: int | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        self.groups = [str(index % (groups or count)) for index in range(count)]
        self.images = torch.randn(count, 1, SIDE, SIDE, generator=generator)
        self.masks = self.draw(generator)

    def draw(self, generator):
        odds = self.images.expand(-1, self.annotators, -1, -1)
        return torch.bernoulli(odds.sigmoid(), generator=generator).byte()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.images[index], self.masks[index], self.groups[index])

    def batch(self, indices) -> Batch:
        return Batch(self.images[list(indices)], self.masks[list(indices)])


class Widths(Drawn):
    """Bars across the image; an annotator's has a width that is normal around the middle."""

    def draw(self, generator):
        width = 8 + 2 * torch.randn(len(self.groups), self.annotators, generator=generator)
        return (torch.arange(SIDE) < width[..., None, None]).byte().expand(-1, -1, SIDE, -1)


class TooCertain(ProbabilisticModel):
    """Its log odds are those of the annotators, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__({"name": "too-certain", "in_channels": 1, "classes": 2})
        self.factor = nn.Parameter(torch.tensor(factor))

    def features(self, image):
        return image

    def draw(self, features, n):
        odds = self.factor * features
        logits = torch.cat([-odds / 2, odds / 2], 1)
        return logits.softmax(1).expand(n, -1, -1, -1, -1)


class Bars(PriorModel):
    """Its bars have widths around the middle, with the standard deviation that it is given."""

    def __init__(self, deviation: float) -> None:
        super().__init__({"name": "bars", "in_channels": 1, "classes": 2, "latent_dim": 1})
        self.deviation = nn.Parameter(torch.tensor(deviation))
        self.backbone = nn.Identity()
        self.backbone.stride = 1
        self.decoder = self._bars

    def prior_encoder(self, image):
        mean = torch.full((len(image), 1), 8.0)
        deviation = self.deviation.expand_as(mean)
        return torch.distributions.Independent(torch.distributions.Normal(mean, deviation), 1), mean

    def _bars(self, features, latent):
        odds = (latent[..., None] - torch.arange(SIDE)).expand(*latent.shape[:2], SIDE, -1)
        return 50 * torch.stack([-odds, odds], 2)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_factor_of_the_logits_is_found(factor):
    model = TooCertain(factor)
    result = probseg.calibrate(model, Drawn(40), n=1, device="cpu")
    (found,) = result.candidates
    assert factor / 1.1 < found.best < factor * 1.1
    assert factor / 1.25 < found.chosen < factor * 1.25
    assert result.calibration == model.calibration and model.calibration.prior_scale == 1
    assert [one.number for one in result.candidates] == ["temperature"]


@pytest.mark.parametrize("n", [2, 4, 16])
@pytest.mark.parametrize(("deviation", "low", "high"), [(1.0, 1.35, 2.0), (2.0, 0.9, 1.1)])
def test_a_factor_of_the_spread_is_found_with_any_number_of_samples(deviation, low, high, n):
    model = Bars(deviation)
    probseg.calibrate(model, Widths(120), n=n, device="cpu")
    assert low <= model.calibration.prior_scale <= high


def test_a_single_sample_has_no_spread():
    with pytest.raises(OptionError, match="pass scale_prior=False for the temperature alone"):
        probseg.calibrate(Bars(1.0), Widths(20), n=1, device="cpu")


def test_soft_masks_are_refused():
    data = Drawn(4)
    data.soft, data.masks = True, data.masks.float() / 2
    with pytest.raises(InputError, match="has soft masks"):
        probseg.calibrate(TooCertain(1.0), data, device="cpu")


def test_parts_keep_their_modes():
    model = TooCertain(3.0).train()
    model.frozen = nn.BatchNorm2d(1).eval()
    probseg.calibrate(model, Drawn(10), n=1, device="cpu")
    assert model.training and not model.frozen.training


def test_weights_that_are_no_numbers_are_told():
    with pytest.raises(InputError, match="finite, but some are NaN"):
        probseg.calibrate(TooCertain(float("nan")), Drawn(4), n=1, device="cpu")


def test_scores_of_other_images_become_better():
    model, data = Bars(1.0), Widths(160)
    one, other = Subset(data, range(80)), Subset(data, range(80, 160))
    before = probseg.evaluate(model, other, metrics=["ged"]).mean()["ged"]
    probseg.calibrate(model, one)
    assert probseg.evaluate(model, other, metrics=["ged"]).mean()["ged"] < before


def test_the_scale_can_be_left_alone():
    model = Bars(1.0)
    result = probseg.calibrate(model, Widths(20), scale_prior=False, device="cpu")
    assert model.calibration.prior_scale == 1
    assert [one.number for one in result.candidates] == ["temperature"]


def test_it_is_chosen_from_the_model_without_an_earlier_one():
    model, data = TooCertain(3.0), Drawn(40)
    first = probseg.calibrate(model, data, n=1, device="cpu").calibration
    assert probseg.calibrate(model, data, n=1, device="cpu").calibration == first


def test_one_group_is_too_few_to_change_anything():
    model = TooCertain(3.0)
    result = probseg.calibrate(model, Drawn(10, groups=1), n=1, device="cpu")
    assert model.calibration == Calibration()
    assert "the choice is rough, as the images are of few groups: 1" in result.remarks
    assert "but not less than 1 by more than noise" in result.remarks[-1]


def test_a_value_at_the_end_is_told():
    result = probseg.calibrate(TooCertain(60.0), Drawn(20), n=1, device="cpu")
    assert "temperature 4 is the last value that was tried" in result.remarks


def test_an_error_leaves_the_model_as_it_was(monkeypatch):
    model = TooCertain(3.0)
    model.calibration = {"temperature": 2}
    monkeypatch.setattr(MeanCrossEntropy, "__call__", lambda *_: 1 / 0)
    with pytest.raises(
        InputError, match=r"as the cross-entropy at the temperature .* has no value"
    ):
        probseg.calibrate(model, Drawn(4), n=1, device="cpu")
    assert model.calibration == Calibration(2.0)


class Deaf(TooCertain):
    def sample(self, image, n, *, generator=None):
        return self.draw(image, n)


def test_a_model_that_does_not_heed_it_is_refused():
    with pytest.raises(InputError, match=r"must return self\.calibration\.probabilities\(logits\)"):
        probseg.calibrate(Deaf(1.0), Drawn(4), device="cpu")


def test_a_strangers_model_is_refused():
    with pytest.raises(InputError, match="of class Linear has no calibration"):
        probseg.calibrate(nn.Linear(1, 1), Drawn(4), device="cpu")


def test_no_image_is_refused():
    with pytest.raises(DataError, match="'drawn' has no image to calibrate on"):
        probseg.calibrate(TooCertain(1.0), Drawn(0), device="cpu")


def test_the_cross_entropy_is_that_of_a_loop():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, 4, generator=generator)
    masks = torch.randint(3, (2, 2, 4, 4), generator=generator)
    masks[0, :, 0, 0] = masks[1, 0, 1, 1] = 255
    given = Evaluation(logits.softmax(2), masks, ignore_index=255)
    value = compute_metrics(given, {"own": MeanCrossEntropy(1.7)})["own"]
    for image in range(2):
        p = (logits[image] / 1.7).double().softmax(1).mean(0)
        losses = []
        for row in range(4):
            for column in range(4):
                drawn = [int(k) for k in masks[image, :, row, column] if k != 255]
                if drawn:
                    losses.append(-sum(p[k, row, column].log() for k in drawn) / len(drawn))
        torch.testing.assert_close(value[image], torch.stack(losses).mean(), rtol=1e-5, atol=0)


def test_the_smallest_change_that_is_as_good_is_chosen():
    noise = np.array([0.0, 0.0, 0.3, -0.3])
    values = {1.0: noise * 0 + 9, 1.5: noise + 1.01, 2.0: noise * 0 + 1, 0.5: noise * 0 + 5}
    found = Candidates.of("temperature", "GED", values, ["a", "b", "c", "d"])
    assert (found.best, found.chosen) == (2.0, 1.5)
    assert found.remark == (
        "temperature 2 has the least GED on these images, but not less than 1.5 by more than noise"
    )


def test_the_best_of_equal_candidates_is_the_nearest_to_one():
    values = {value: torch.ones(3).numpy() for value in (0.5, 1.0, 2.0)}
    assert Candidates.of("temperature", "GED", values, ["a", "b", "c"]).chosen == 1


def test_the_result_is_printed():
    from rich.console import Console

    console = Console(width=100, record=True, file=StringIO())
    console.print(probseg.calibrate(Bars(1.0), Widths(20), device="cpu"))
    text = console.export_text()
    assert "prior scale" in text and "temperature" in text and "chosen on 20 images" in text


@pytest.mark.parametrize("follows", [True, False])
def test_whether_samples_follow_is_seen_however_unlikely_some_classes_are(follows):
    logits = torch.randn(1, 1, 10, 4, 4, generator=torch.Generator().manual_seed(0))
    logits[:, :, 9] = -50  # nowhere likely, as in a trained model

    class Own:
        calibration = Calibration()

        def sample(self, image, n, *, generator=None):
            drawn = logits.expand(n, -1, -1, -1, -1)
            return self.calibration.probabilities(drawn) if follows else drawn.softmax(2)

    assert samples_follow(Own(), torch.zeros(1, 1, 4, 4)) == follows
