"""Numbers that repeat in periods, as few nests of loops.

    5 from 3:  0 0 1 1 2         6 from 4:  0 0 1, 2 2 3    (period 3, 2 further)

An axis that is read by such numbers takes a nest for each distinct one of a period.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..tir.expr import Expr
from .lower_nest import LoopAxis, variables


@dataclass(frozen=True, slots=True)
class CopyPiece:
    """Element ``come`` + ``far`` * j of the input, ``times`` of the output from ``to`` + ``period``
    * j on, for j below ``count``."""

    to: int
    period: int
    come: int
    far: int
    count: int
    times: int

    def axes(self, name: str) -> list[LoopAxis]:
        return [LoopAxis(f"{name}0", self.count), LoopAxis(f"{name}1", self.times)]

    def places(self, loops: Sequence[LoopAxis]) -> tuple[Expr, Expr]:
        """The indices of the output and of the input."""
        step, again = variables(loops)
        return step * self.period + again + self.to, step * self.far + self.come


def pieces(numbers: Sequence[int]) -> Iterator[CopyPiece]:
    """All of ``numbers``, in as few pieces as their period has distinct elements."""
    period = next(p for p in range(1, len(numbers) + 1) if _far(numbers, p) is not None)
    far, start = _far(numbers, period) or 0, 0
    for come, run in groupby(numbers[:period]):
        times = len(list(run))
        count, rest = divmod(len(numbers) - start, period)
        count, rest = (count + 1, 0) if rest >= times else (count, rest)
        yield CopyPiece(start, period, come, far, count, times)
        if rest:
            yield CopyPiece(start + count * period, 0, come + count * far, 0, 1, rest)
        start += times


def _far(numbers: Sequence[int], period: int) -> int | None:
    """How far numbers step in each period; None where they do not do so alike."""
    steps = {b - a for a, b in zip(numbers, numbers[period:], strict=False)}
    return None if len(steps) > 1 else next(iter(steps), 0)
