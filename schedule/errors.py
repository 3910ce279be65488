"""The error of schedules: what was asked, the rule, what came, where, and the mend.

split: the factors must multiply to the extent, but got factors=(48,), extent=100
    for k in range(100):        <- this loop
  Give tail="guard" to keep a guarded last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..tir.stmt import Block, For, Stmt


class ScheduleError(ValueError):
    """A primitive would change the function's values, or names a missing loop, block or buffer."""


@contextmanager
def asked(operation: str) -> Iterator[None]:
    """What is refused in here is refused by ``operation``."""
    try:
        yield
    except ScheduleError as refused:
        raise ScheduleError(f"{operation}: {refused}") from None


def refusal(rule: str, came: str, place: Stmt | None = None, mend: str = "") -> ScheduleError:
    """The error of the operation that is asked: one sentence, then the place, then the mend."""
    text = f"{rule}, but got {came}"
    if place is not None:
        text += f"\n    {line_of(place)}"
    return ScheduleError(f"{text}\n  {mend}" if mend else text)


def line_of(node: Stmt) -> str:
    """One line of IR text that shows ``node``."""
    match node:
        case For(axis=axis, extent=extent):
            return f"for {axis.attr} in range({extent}):        <- this loop"
        case Block(name=name, iters=iters):
            shown = ", ".join(
                f"{it.axis.attr}: {'reduce' if it.reduce else 'spatial'}({it.extent})"
                for it in iters
            )
            return f"block {name}({shown})        <- this block"
        case _:
            return f"{type(node).__name__}        <- here"
