"""fit(): what it returns, keeps, resumes and refuses."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from training_toys import Discs, ToyModel, make_model, quick

import probseg
from probseg.calibration import Calibration
from probseg.errors import CheckpointError, DataError, InputError
from probseg.interfaces import Batch
from probseg.training import FitResult, NonFiniteError, fit
from probseg.training.data import _check_batch
from probseg.utils.atomic_files import WriteError


class Interrupted(Discs):
    """Gives some batches, then the user presses Ctrl-C."""

    batches = 7

    def batch(self, indices: Sequence[int]) -> Batch:
        self.batches -= 1
        if self.batches < 0:
            raise KeyboardInterrupt
        return super().batch(indices)


class Exploding(ToyModel):
    """Its divergence is infinite from the given call on."""

    remaining = 4

    def loss(self, image: Tensor, label: Tensor, *, generator: object = None) -> dict[str, Tensor]:
        terms = super().loss(image, label)
        self.remaining -= 1
        factor = math.inf if self.remaining < 0 else 1.0
        return {"cross_entropy": terms["cross_entropy"], "kl": terms["kl"] * factor}


class Worsening(ToyModel):
    """Its loss on validation data rises with every step of training."""

    steps = 0

    def loss(self, image: Tensor, label: Tensor, *, generator: object = None) -> dict[str, Tensor]:
        self.steps += self.training
        terms = super().loss(image, label)
        return terms if self.training else terms | {"drift": torch.tensor(1e4 * self.steps)}


def test_loss_falls_and_the_best_weights_are_loaded(train, validation, tmp_path):
    model = make_model()
    result = fit(model, train, validation, quick(max_steps=30), out=tmp_path)
    losses = [record["validation/loss"] for record in result.history]
    assert losses[-1] < 0.8 * losses[0]
    assert result.best_validation_loss == min(losses)
    assert result.best_path == tmp_path / "best.safetensors"
    assert not model.training
    again = fit(make_model(seed=5), train, validation, quick(max_steps=30), out=tmp_path)
    assert again.history == result.history


def test_history_records_every_round(train, validation, tmp_path):
    result = fit(make_model(), train, validation, quick(max_steps=8), out=tmp_path)
    assert [record["step"] for record in result.history] == [3, 6, 8]
    assert result.steps == 8 and not result.stopped_early
    record = result.history[-1]
    for stage in ("train", "validation"):
        terms = record[f"{stage}/cross_entropy"] + record[f"{stage}/kl"]
        assert record[f"{stage}/loss"] == pytest.approx(terms, rel=1e-5)
    assert 0 <= record["prior/gini"] <= 2 / 3
    assert result.seconds == record["seconds"] > result.history[0]["seconds"] > 0
    assert json.loads((tmp_path / "history.json").read_text()) == result.history


def test_tensorboard_has_every_term_and_the_gini(train, validation, tmp_path):
    result = fit(make_model(), train, validation, quick(), out=tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = set(events.Tags()["scalars"])
    assert set(result.history[0]) - {"step", "seconds"} <= logged
    gini = [event.value for event in events.Scalars("prior/gini")]
    assert gini == pytest.approx([record["prior/gini"] for record in result.history])


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_resumed_run_equals_an_uninterrupted_one(schedule, train, validation, tmp_path):
    settings = quick(max_steps=14, schedule=schedule)
    whole = make_model()
    expected = fit(whole, train, validation, settings, out=tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # in the third round
        fit(make_model(), Interrupted(22), validation, settings, out=tmp_path / "cut")
    assert signal.getsignal(signal.SIGINT) is handler
    (tmp_path / "cut").rename(tmp_path / "moved")
    resumed = make_model(seed=9)  # its own weights do not matter
    result = fit(resumed, train, validation, settings, out=tmp_path / "moved")
    assert _without_time(result) == _without_time(expected)
    _assert_same_weights(resumed, whole)


def test_more_steps_go_on_from_a_finished_run(train, validation, tmp_path):
    whole, extended = make_model(), make_model()
    expected = fit(whole, train, validation, quick(max_steps=12))
    fit(extended, train, validation, quick(max_steps=6), out=tmp_path)
    result = fit(extended, train, validation, quick(max_steps=12), out=tmp_path)
    assert _without_time(result) == _without_time(expected)
    _assert_same_weights(extended, whole)


def test_a_cosine_has_its_end_from_the_start(train, validation, tmp_path):
    fit(make_model(), train, validation, quick(max_steps=6, schedule="cosine"), out=tmp_path)
    with pytest.raises(CheckpointError, match="max_steps"):
        longer = quick(max_steps=12, schedule="cosine")
        fit(make_model(), train, validation, longer, out=tmp_path)


def test_the_seed_decides_the_run(train, validation):
    runs = [fit(make_model(), train, validation, quick(seed=seed)) for seed in (1, 1, 2)]
    first, same, other = (_without_time(run) for run in runs)
    assert first == same != other


def test_the_callers_random_state_is_left_alone(train, validation):
    model = make_model()
    torch.manual_seed(3)
    fit(model, train, validation, quick(max_steps=3))
    drawn = torch.rand(4)
    assert torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(3)))


def test_early_stopping_after_patience_rounds_without_gain(train, validation, tmp_path):
    settings = quick(learning_rate=1e-12, weight_decay=0, max_steps=300, patience=2)
    model = make_model()
    model.features[1].momentum = 0.0  # nothing that validation sees may change
    result = fit(model, train, validation, settings, out=tmp_path)
    assert result.stopped_early
    assert result.best_step == 3
    assert result.steps == 3 * (1 + 2)
    again = fit(model, train, validation, settings, out=tmp_path)
    assert again.history == result.history


def test_the_best_weights_come_back_not_the_last(train, validation, tmp_path):
    best, worsened = make_model(), Worsening()
    worsened.load_state_dict(best.state_dict())
    fit(best, train, validation, quick(max_steps=3))
    result = fit(worsened, train, validation, quick(max_steps=12), out=tmp_path)
    assert (result.best_step, result.steps) == (3, 12)
    _assert_same_weights(worsened, best)


def test_bf16_and_fp32_learn_alike(train, validation):
    bf16, fp32 = (
        fit(make_model(), train, validation, quick(precision=precision))
        for precision in ("bf16", "fp32")
    )
    assert bf16.history[0]["train/loss"] == pytest.approx(fp32.history[0]["train/loss"], rel=0.02)
    assert bf16.best_validation_loss == pytest.approx(fp32.best_validation_loss, rel=0.05)
    assert bf16.history != fp32.history


def test_channels_last_computes_the_same(train, validation):
    models = make_model(), make_model()
    for model, channels_last in zip(models, (False, True), strict=True):
        fit(model, train, validation, quick(channels_last=channels_last, max_steps=3))
    assert models[1].posterior_net.weight.is_contiguous(memory_format=torch.channels_last)
    for plain, last in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(plain, last, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("remaining", [0, 4])
def test_divergence_names_the_term_and_keeps_the_rounds_before(
    train, validation, tmp_path, remaining
):
    model = Exploding()
    model.remaining = remaining
    with pytest.raises(NonFiniteError, match=r"diverged at step \d+: kl is inf; lower the"):
        fit(model, train, validation, quick(validate_every=1), out=tmp_path)
    kept = {path.name for path in tmp_path.iterdir()} - {"tensorboard", "run.json"}
    assert kept == ({"best.safetensors", "last.ckpt", "history.json"} if remaining else set())


def test_another_run_in_the_folder_is_refused(train, validation, tmp_path):
    fit(make_model(), train, validation, quick(max_steps=3), out=tmp_path)
    with pytest.raises(CheckpointError, match=r"whose learning_rate is 0\.01, not 0\.1"):
        fit(make_model(), train, validation, quick(learning_rate=0.1), out=tmp_path)
    with pytest.raises(CheckpointError, match=r"whose model\.dropout is 0\.1, not 0\.5"):
        fit(make_model(dropout=0.5), train, validation, quick(), out=tmp_path)
    with pytest.raises(CheckpointError, match="whose training data is"):
        fit(make_model(), Discs(23), validation, quick(), out=tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 half a file", b"not a checkpoint at all", b"half a file"]
)
def test_a_corrupt_checkpoint_is_named(train, validation, tmp_path, content):
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be read"):
        fit(make_model(), train, validation, quick(), out=tmp_path)


def test_a_checkpoint_of_something_else_is_named(train, validation, tmp_path):
    torch.save({"epoch": 1}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="not a checkpoint of probseg's training"):
        fit(make_model(), train, validation, quick(), out=tmp_path)


def test_missing_best_weights_are_named(train, validation, tmp_path):
    fit(make_model(), train, validation, quick(), out=tmp_path)
    (tmp_path / "best.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"best weights cannot be read from .*best"):
        fit(make_model(), train, validation, quick(), out=tmp_path)


def test_a_checkpoint_with_code_in_it_is_not_run(train, validation, tmp_path):
    torch.save({"probseg": Path("anything but plain data")}, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        fit(make_model(), train, validation, quick(), out=tmp_path)


def test_an_unwritable_folder_is_named(train, validation, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WriteError, match=r"cannot write .*file"):
        fit(make_model(), train, validation, quick(), out=tmp_path / "file")


def test_mismatched_data_are_refused_before_training(train, validation):
    train.channels = 3
    with pytest.raises(InputError, match=r"in_channels=1, but .*'discs' needs in_channels=3"):
        fit(make_model(), train, validation, quick())
    train.channels, validation.classes = 1, 4
    with pytest.raises(InputError, match="needs classes=4"):
        fit(make_model(), train, validation, quick())


def test_bad_data_are_named(train, validation):
    with pytest.raises(DataError, match="'discs' holds no image"):
        fit(make_model(), Discs(0), validation, quick())
    validation.masks[2, :] = 7
    with pytest.raises(DataError, match="'discs' holds class 7"):
        fit(make_model(), train, validation, quick())
    train.images[3, 0, 0, 0] = math.nan
    with pytest.raises(DataError, match="holds NaN or infinity"):
        fit(make_model(), train, validation, quick(validate_every=12))


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (torch.full((1, 2, 4, 4), -1), "holds class -1"),
        (torch.full((1, 2, 4, 4), 255, dtype=torch.uint8), "holds class 255"),
        (torch.full((1, 2, 4, 4), 0.7), "holds values between classes"),
        (torch.full((1, 2, 4, 4), math.nan), "holds class nan"),
    ],
)
def test_masks_of_no_class_are_refused_before_they_reach_a_device(train, masks, words):
    with pytest.raises(DataError, match=words):
        _check_batch(Batch(torch.zeros(1, 1, 4, 4), masks), train)
    whole = torch.ones(1, 2, 4, 4)
    for dtype in (torch.bool, torch.int16, torch.float32):
        _check_batch(Batch(torch.zeros(1, 1, 4, 4), whole.to(dtype)), train)


def _without_time(result: FitResult) -> list[dict[str, float]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]


def _assert_same_weights(model: ToyModel, other: ToyModel) -> None:
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_the_calibration_of_other_weights_is_dropped(caplog):
    network = {"name": "unet", "channels": [4, 8], "convolutions": 1}
    model = probseg.build("deterministic", backbone=network)
    model.calibration = {"temperature": 2.0}
    probseg.fit(model, Discs(8), Discs(4), settings=quick())
    assert model.calibration == Calibration() and "calibration" not in model.spec
    assert "the model's calibration (temperature 2, prior scale 1) is dropped" in caplog.text
