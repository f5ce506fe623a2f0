"""Ctrl-C and SIGTERM wait for the end of a block that must not be cut in two."""

import signal
import threading

import pytest

from probseg.utils.atomic_files import deferred_interrupts

NUMBERS = [signal.SIGINT, signal.SIGTERM]


class TermError(Exception):
    """What SIGTERM raises here; by itself it would end the process."""


@pytest.fixture(autouse=True)
def handlers(ctrl_c):
    def on_term(*_):
        raise TermError

    before = signal.signal(signal.SIGTERM, on_term)
    yield {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("depth", [1, 2])
def test_the_first_waits_until_the_block_ends(number, depth, handlers):
    done = []

    def block(depth):
        with deferred_interrupts():
            if depth > 1:
                block(depth - 1)
            else:
                signal.raise_signal(number)
            done.append(depth)

    with pytest.raises((KeyboardInterrupt, TermError)):
        block(depth)
    assert done == list(range(1, depth + 1))
    assert {number: signal.getsignal(number) for number in NUMBERS} == handlers


@pytest.mark.parametrize("second", NUMBERS)
def test_the_second_acts_at_once(second, handlers):
    with pytest.raises((KeyboardInterrupt, TermError)), deferred_interrupts():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(second)
        pytest.fail("the block went on")
    assert {number: signal.getsignal(number) for number in NUMBERS} == handlers


def test_an_error_of_the_block_passes_and_the_signal_too(handlers):
    with pytest.raises(KeyboardInterrupt) as caught, deferred_interrupts():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("mine")
    assert isinstance(caught.value.__context__, ValueError)
    assert {number: signal.getsignal(number) for number in NUMBERS} == handlers


def test_other_threads_are_left_alone(handlers):
    inside = []

    def work():
        with deferred_interrupts():
            inside.append({number: signal.getsignal(number) for number in NUMBERS})

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [handlers]
