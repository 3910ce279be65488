"""Ctrl-C that is not lost: Python drops a KeyboardInterrupt that is raised in a finalizer."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[Callable[[object], None]]:
    """Gives a check that raises KeyboardInterrupt if Ctrl-C was pressed in the block so far: to be
    called now and then, for instance after each trial."""
    pressed = False

    def hear(_: int, __: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def check(_: object) -> None:
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
