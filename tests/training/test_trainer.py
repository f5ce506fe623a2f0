"""The trainer around Lightning: interrupts, silenced warnings, the progress bar, the log."""

from __future__ import annotations

import logging
import math
import signal
import sys
import warnings

import pytest
from lightning.pytorch.accelerators import CUDAAccelerator
from training_toys import make_model, quick

from probseg.errors import DataError
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
