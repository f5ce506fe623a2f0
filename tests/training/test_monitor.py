"""A metric that decides which weights are best, and weights of the loss that rise."""

from __future__ import annotations

import json
import logging
import warnings

import numpy as np
import pytest
import torch
from small_models import small
from torch import nn
from torch.utils.data import random_split
from training_toys import Discs, make_model, quick

from probseg import evaluate, load
from probseg.datasets.views import subset
from probseg.errors import CheckpointError, DataError, InputError, OptionError
from probseg.interfaces import Batch
from probseg.training import fit
from probseg.utils.model_inputs import ScaleWarning


def test_the_best_round_is_that_of_the_metric(train, validation, tmp_path):
    model = small("punet")
    settings = quick(monitor="ged")
    result = fit(model, train, validation, settings, out=tmp_path)
    geds = [record["validation/ged"] for record in result.history]
    best = int(np.argmin(geds))
    assert result.best_value == geds[best] and result.best_step == result.history[best]["step"]
    assert result.best_validation_loss == result.history[best]["validation/loss"]
    scores = evaluate(model, validation, metrics=["ged"], progress=False)
    assert scores.mean()["ged"] == pytest.approx(result.best_value, abs=1e-6)


def test_a_higher_iou_is_better(train, validation):
    result = fit(make_model(), train, validation, quick(monitor="hungarian-iou"))
    assert result.best_value == max(r["validation/hungarian-iou"] for r in result.history)


def test_a_metric_is_of_all_annotators_whoever_is_learnt_from(train, validation):
    model = small("punet")
    result = fit(model, train, validation, quick(monitor="ged", annotator=0))
    ged = evaluate(model, validation, metrics=["ged"], progress=False).mean()["ged"]
    assert ged == pytest.approx(result.best_value, abs=1e-6)


def test_to_monitor_changes_no_training(train, validation):
    plain, monitored = (
        fit(make_model(), train, validation, quick(**more)).history
        for more in ({}, {"monitor": "ged"})
    )
    for one, other in zip(plain, monitored, strict=True):
        assert one["validation/loss"] == other["validation/loss"]
        assert one["train/loss"] == other["train/loss"]


def test_patience_counts_rounds_of_the_metric(train, validation):
    settings = quick(monitor="ged", patience=1, max_steps=60, learning_rate=1e-9)
    result = fit(make_model(), train, validation, settings)
    assert result.stopped_early and len(result.history) < 20


def test_a_monitored_run_goes_on(train, validation, tmp_path):
    settings = {"monitor": "ged"}
    first, second = small("punet"), small("punet")
    second.load_state_dict(first.state_dict())
    whole = fit(first, train, validation, quick(**settings))
    fit(second, train, validation, quick(max_steps=6, **settings), out=tmp_path / "cut")
    again = fit(second, train, validation, quick(**settings), out=tmp_path / "cut")
    assert (again.best_value, again.best_step) == (whole.best_value, whole.best_step)
    with pytest.raises(CheckpointError, match="monitor is 'ged', not None; choose another folder"):
        fit(second, train, validation, quick(), out=tmp_path / "cut")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"monitor": "gde"}, OptionError, "called 'gde'; did you mean 'ged'"),
        ({"monitor": "diversity"}, OptionError, "neither larger nor smaller"),
        ({"annealing": -1}, OptionError, "annealing must be an integer of at least 0"),
        ({"annealing": {"kl": 1.5}}, OptionError, "annealing of 'kl' must be an integer"),
        (
            {"annealing": {"kll": 5}},
            OptionError,
            "no term of the loss is called 'kll'; did you mean",
        ),
        ({"annealing": 5}, OptionError, "ToyModel has none; name terms of its loss"),
    ],
)
def test_what_cannot_be_monitored_or_annealed(change, error, message, train, validation):
    with pytest.raises(error, match=message):
        fit(make_model(), train, validation, quick(**change))


def test_old_runs_go_on_without_the_new_settings(train, validation, tmp_path):
    fit(make_model(), train, validation, quick(max_steps=3), out=tmp_path)
    identity = json.loads((tmp_path / "run.json").read_text())
    assert not {"monitor", "annealing"} & identity.keys()


# What users give to fit by mistake


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_refused(kind, train, validation):
    model = small("punet").to(kind)
    with pytest.raises(InputError, match=rf"the model has {kind}; call model.float\(\) first"):
        fit(model, train, validation, quick())
    fit(model.float(), train, validation, quick(max_steps=1))


def test_a_model_without_weights_to_train_is_refused(train, validation):
    model = small("punet").requires_grad_(False)
    with pytest.raises(InputError, match=r"no weight .*model.requires_grad_\(True\)"):
        fit(model, train, validation, quick())
    model.unused = nn.Linear(1, 1)
    with pytest.raises(InputError, match="the loss depends on no weight that is to be trained"):
        fit(model, train, validation, quick())


def test_frozen_parts_stay_as_they_are(train, validation):
    model = small("punet")
    model.backbone.requires_grad_(False)
    before = [weight.clone() for weight in model.backbone.parameters()]
    fit(model, train, validation, quick())
    assert all(map(torch.equal, before, model.backbone.parameters()))


def test_a_compiled_model_is_trained_and_kept_under_its_own_names(
    train, validation, tmp_path, caplog
):
    torch.manual_seed(0)
    model = small("punet")
    model.backbone = torch.compile(model.backbone, backend="eager")
    compiled = torch.compile(model, backend="eager")
    with caplog.at_level(logging.WARNING, "probseg.training"):
        result = fit(compiled, train, validation, quick(max_steps=3), out=tmp_path)
    assert "pass compile=True" in caplog.text
    compiled.save(tmp_path / "own.safetensors")
    image = validation.batch([0]).image
    generators = (torch.Generator().manual_seed(1) for _ in range(3))
    first, *others = (
        one.sample(image, 2, generator=next(generators))
        for one in (model, load(result.best_path), load(tmp_path / "own.safetensors"))
    )
    assert all(torch.allclose(first, other) for other in others)
    assert "_orig_mod" in str(model.state_dict().keys())  # it is compiled still


class Other(Discs):
    """Gives images changed by a function."""

    def __init__(self, change) -> None:
        super().__init__(8)
        self.change = change

    def batch(self, indices) -> Batch:
        image, masks, present = super().batch(indices)
        return Batch(self.change(image), masks, present)


@pytest.mark.parametrize(
    "change", [lambda x: (255 * x).byte(), lambda x: (9 * x).int(), lambda x: x[:, :, None]]
)
def test_data_of_another_kind_are_refused(change):
    data = Other(change)
    with pytest.raises(DataError, match=r"'discs' must give images \(B, C, H, W\) of floating"):
        fit(make_model(), data, data, quick())


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_data_of_another_precision_are_converted(kind):
    data = Other(lambda image: image.to(kind))
    assert fit(make_model(), data, data, quick(max_steps=1)).steps == 1


def test_data_on_another_scale_are_told():
    data = Other(lambda image: 255 * image)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(small("punet"), data, data, quick(max_steps=1, learning_rate=1e-6))
    told = [str(one.message) for one in caught if one.category is ScaleWarning]
    assert any(text.startswith("data set 'discs' has values of about 100 ") for text in told)


def test_a_random_split_of_torch_is_a_subset(validation):
    data = Discs(12)
    first, second = random_split(data, [8, 4], torch.Generator().manual_seed(0))
    ours = [subset(data, part.indices) for part in (first, second)]
    expected, found = (
        fit(make_model(), *parts, quick(max_steps=3)).history[0]["train/loss"]
        for parts in (ours, (first, second))
    )
    assert found == expected
    assert len(evaluate(small("punet"), second, 2, metrics=["ged"], progress=False)["ged"]) == 4
    assert small("punet", like=second).in_channels == data.channels
    with pytest.raises(OptionError, match="list has no channels"):
        small("punet", like=[1])


@pytest.mark.parametrize("data", [[1, 2], torch.rand(4, 1, 8, 8)])
def test_what_is_no_data_set_is_told(data, validation):
    for call in (
        lambda: fit(make_model(), data, validation, quick()),
        lambda: evaluate(small("punet"), data),
    ):
        with pytest.raises(DataError, match=r"is no data set of probseg: it has no .*channels"):
            call()
