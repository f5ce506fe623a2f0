"""The trainer around Lightning: interrupts, silenced warnings, the progress bar, the log."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import warnings
from collections import defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import forked
from lightning.pytorch import Callback
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.callbacks import EarlyStopping
from training_toys import make_model, quick

from probseg.errors import CheckpointError, DataError
from probseg.training import fit
from probseg.training.trainer import interrupts, silenced_lightning


def test_lightnings_exit_becomes_a_keyboard_interrupt():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            sys.exit(1)
    assert signal.getsignal(signal.SIGINT) is handler


def test_another_exit_stays_one():
    with pytest.raises(SystemExit, match="2"), interrupts():
        sys.exit(2)


def test_a_warning_that_is_not_on_the_list_comes_through():
    with pytest.warns(UserWarning, match="something else"), silenced_lightning():
        warnings.warn("something else", UserWarning, stacklevel=1)


def test_a_cpu_that_was_asked_for_beside_a_gpu_is_no_reason_to_warn(train, validation, monkeypatch):
    monkeypatch.setattr(CUDAAccelerator, "is_available", staticmethod(lambda: True))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(make_model(), train, validation, settings=quick(max_steps=1))
    assert not [str(warning.message) for warning in caught if "GPU" in str(warning.message)]


def test_banners_are_as_loud_afterwards_as_before():
    banners = logging.getLogger("lightning.pytorch")
    level = banners.level
    with silenced_lightning():
        assert not banners.isEnabledFor(logging.INFO)
    assert banners.level == level


# The progress bar


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")  # whatever the terminal that the tests run in can show
    monkeypatch.setenv("COLUMNS", "120")


def test_a_terminal_shows_steps_losses_and_the_remaining_time(
    train, validation, terminal, capsys, tmp_path
):
    first = fit(make_model(), train, validation, quick(max_steps=6), out=tmp_path)
    assert " 6/6 " in capsys.readouterr().err
    fit(make_model(), train, validation, quick(max_steps=12), out=tmp_path)
    shown = capsys.readouterr().err
    assert " 12/12 " in shown and "ETA" in shown
    assert " 3/12 " not in shown  # it went on where the first run ended
    assert f"validation {first.history[0]['validation/loss']:.4g}" not in shown


def test_an_error_gives_the_cursor_back(train, validation, terminal, capsys):
    train.images[:] = math.nan
    with pytest.raises(DataError):
        fit(make_model(), train, validation, quick())
    shown = capsys.readouterr().err
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0


def test_nothing_is_printed_without_a_terminal_or_when_asked_not_to(
    train, validation, capfd, monkeypatch
):
    fit(make_model(), train, validation, quick())
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    fit(make_model(), train, validation, quick(), progress=False)
    assert capfd.readouterr() == ("", "")


def test_without_tensorboard_training_goes_on_and_says_what_is_missing(
    train, validation, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr("probseg.training.trainer.find_spec", lambda package: None)
    result = fit(make_model(), train, validation, quick(max_steps=3), out=tmp_path)
    assert result.best_path.exists()
    assert not (tmp_path / "tensorboard").exists()
    assert "no TensorBoard log is written; for one: pip install 'probseg[train]'" in caplog.text


# SIGTERM


class Killed(Callback):
    """Sends SIGTERM to its own process after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def _fit_until_killed(step, train, validation, out):
    handler = signal.getsignal(signal.SIGTERM)
    try:
        fit(make_model(), train, validation, quick(), out=out, callbacks=[Killed(step)])
    finally:
        assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.untraced
@pytest.mark.parametrize("step", [4, 12])  # in the second of four rounds, and the last of all
def test_sigterm_ends_the_process_and_keeps_the_rounds(step, train, validation, tmp_path):
    # in a process of its own: a signal that nobody handles would end the tests
    given = step, train, validation, tmp_path
    process = forked().Process(target=_fit_until_killed, args=given)
    process.start()
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    result = fit(make_model(), train, validation, quick(), out=tmp_path)
    whole = fit(make_model(), train, validation, quick())
    assert result.steps == 12 and result.best_validation_loss == whole.best_validation_loss


def _fit_ignoring(train, validation, out):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _fit_until_killed(4, train, validation, out)


@pytest.mark.untraced
def test_a_process_that_ignores_sigterm_trains_to_the_end(train, validation, tmp_path):
    process = forked().Process(target=_fit_ignoring, args=(train, validation, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert len(json.loads((tmp_path / "history.json").read_text())) == 4


# Callbacks with a state


class Stateful(Callback):
    """Has a state, and is interrupted after a step."""

    def __init__(self, state, stop=None) -> None:
        self.state, self.stop, self.restored = state, stop, None

    def state_dict(self):
        return {"state": self.state}

    def load_state_dict(self, state):
        self.restored = state["state"]

    def on_train_batch_end(self, trainer, pl_module, outputs, *_):
        if trainer.global_step == self.stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("state", [[1, 2.0, "three"], {"a": None}, torch.ones(2)])
def test_a_callbacks_state_is_restored(state, train, validation, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), train, validation, quick(), out=tmp_path, callbacks=[Stateful(state, 8)])
    again = Stateful(state)
    assert (
        fit(make_model(), train, validation, quick(), out=tmp_path, callbacks=[again]).steps == 12
    )
    assert str(again.restored) == str(state)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (np.arange(3), "numpy.ndarray"),
        (np.float64(1.0), "numpy.float64"),
        (Path("x"), "PosixPath"),
        (Killed(1), "Killed"),
        (deque([1]), r"collections.deque at \['state'\]"),
        ({"a": [1, defaultdict(int)]}, r"defaultdict at \['state'\]\['a'\]\[1\]"),
    ],
)
def test_a_state_that_could_not_be_read_again_is_refused_when_it_is_saved(
    state, kind, train, validation, tmp_path
):
    with pytest.raises(CheckpointError, match=rf"callback Stateful .*{kind}.*array.tolist\(\)"):
        fit(make_model(), train, validation, quick(), out=tmp_path, callbacks=[Stateful(state)])
    assert not list(tmp_path.glob("*.ckpt"))


def test_a_healthy_file_with_such_a_state_is_not_called_corrupt(train, validation, tmp_path):
    fit(make_model(), train, validation, quick(max_steps=3), out=tmp_path)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["callbacks"]["Stateful"] = {"state": np.arange(3)}
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="choose another folder") as refused:
        fit(make_model(), train, validation, quick(), out=tmp_path)
    assert "corrupt" not in str(refused.value) and "delete" not in str(refused.value)


def test_an_early_stopping_of_the_users_own_stands_beside_ours(train, validation, tmp_path):
    stopping = EarlyStopping("validation/loss", patience=1, min_delta=1e9)
    result = fit(make_model(), train, validation, quick(), out=tmp_path, callbacks=[stopping])
    assert len(result.history) == 2
