"""What the user sees while a model trains."""

from __future__ import annotations

import math

import pytest
from training_toys import make_model, quick

from probseg.errors import DataError
from probseg.training import fit


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")  # whatever the terminal that the tests run in can show
    monkeypatch.setenv("COLUMNS", "120")


def test_a_terminal_shows_steps_losses_and_the_remaining_time(
    train, validation, terminal, capsys, tmp_path
):
    first = fit(make_model(), train, validation, quick(max_steps=6), out=tmp_path)
    assert " 6/6 " in capsys.readouterr().out
    fit(make_model(), train, validation, quick(max_steps=12), out=tmp_path)
    shown = capsys.readouterr().out
    assert " 12/12 " in shown and "ETA" in shown
    assert " 3/12 " not in shown  # it went on where the first run ended
    assert f"validation {first.history[0]['validation/loss']:.4g}" not in shown


def test_an_error_gives_the_cursor_back(train, validation, terminal, capsys):
    train.images[:] = math.nan
    with pytest.raises(DataError):
        fit(make_model(), train, validation, quick())
    shown = capsys.readouterr().out
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0


def test_nothing_is_printed_without_a_terminal_or_when_asked_not_to(
    train, validation, capfd, monkeypatch
):
    fit(make_model(), train, validation, quick())
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    fit(make_model(), train, validation, quick(), progress=False)
    assert capfd.readouterr() == ("", "")
