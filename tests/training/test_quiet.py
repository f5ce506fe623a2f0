"""Interrupts come out as Python means them, and only what is known is silenced."""

from __future__ import annotations

import logging
import signal
import sys
import warnings

import pytest

from probseg.training.quiet import keyboard_interrupt_passed_on, quiet_lightning


def test_lightnings_exit_becomes_a_keyboard_interrupt():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), keyboard_interrupt_passed_on():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            sys.exit(1)
    assert signal.getsignal(signal.SIGINT) is handler


def test_another_exit_stays_one():
    with pytest.raises(SystemExit, match="2"), keyboard_interrupt_passed_on():
        sys.exit(2)


def test_a_warning_that_is_not_on_the_list_comes_through():
    with pytest.warns(UserWarning, match="something else"), quiet_lightning():
        warnings.warn("something else", UserWarning, stacklevel=1)


def test_banners_are_as_loud_afterwards_as_before():
    banners = logging.getLogger("lightning.pytorch")
    level = banners.level
    with quiet_lightning():
        assert not banners.isEnabledFor(logging.INFO)
    assert banners.level == level
