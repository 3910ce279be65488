"""Ctrl-C is heard even where Python drops the exception."""

import signal

import pytest

from dovetail.driver.cli.interrupt import interruptible


class Dropping:
    """Its finalizer is interrupted, and Python only warns of what a finalizer raises."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_interrupt_is_raised_by_the_next_check() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as stopped:
        stopped(None)
        Dropping()
        with pytest.raises(KeyboardInterrupt):
            stopped(None)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_ends_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
