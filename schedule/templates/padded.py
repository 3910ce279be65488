"""The padded copy of an image as rows of bytes, and how it is scheduled.

    xp[n, row, byte]        blocks left, copy, right share the loop over x's rows; above, below fill

Only what pads is filled. Whole registers are stored: a fill may run into what the copy then writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ...tir.expr import Expr
from ...tir.stmt import Buffer, Stmt, Store, seq
from ...tir.types import u8
from ..schedule import Schedule
from ..state import LoopRef
from .steps import around, axes, nested, plus

VECTOR = 128  # bytes of a register


@dataclass(frozen=True, slots=True)
class Padding:
    """The part of an image that is read: ``rows`` and ``columns`` with ``pads`` (above, left) of
    ``zero``; ``real`` columns of the image mean something."""

    rows: int
    columns: int
    pads: tuple[int, int]
    real: int
    zero: Expr


def padded(x: Buffer, padding: Padding, least: int = 0) -> tuple[Buffer, list[Stmt]]:
    """``xp`` and the steps that make it; a row has ``least`` bytes or more."""
    images, high, _, depth = x.shape
    top, left = padding.pads
    cols = min(padding.real, padding.columns - left)
    rows = min(high, padding.rows - top)
    copied = ceil(cols * depth / VECTOR)
    start, end = left * depth, (left + cols) * depth
    right = max(ceil((padding.columns * depth - end) / VECTOR), 0)
    pitch = max(start + copied * VECTOR, end + right * VECTOR, least) + VECTOR - 1
    pitch = pitch // VECTOR * VECTOR
    xp = Buffer("xp", u8, (images, padding.rows, pitch), "tcm")
    zero = padding.zero
    n, h, v, q = axes("n", "h", "v", "q")
    at = v * VECTOR + q

    def part(name: str, count: int, first: int, value: Expr) -> Stmt:
        sizes = (("n", images), ("h", rows), ("v", count), ("q", VECTOR))
        store = Store(xp, (n, plus(h, top), plus(at, first)), value)
        return nested(name, sizes, store, "row", 2)

    parts = [part("copy", copied, start, x[n, h, at // depth, at % depth])]
    if left:
        parts.insert(0, part("left", ceil(start / VECTOR), 0, zero))
    if right:
        parts.append(part("right", right, end, zero))
    steps: list[Stmt] = [around("row", (images, rows), seq(*parts))]
    for name, first, count in (("above", 0, top), ("below", top + rows, padding.rows - top - rows)):
        if count:
            sizes = (("n", images), ("v", pitch // VECTOR), ("h", count), ("q", VECTOR))
            store = Store(xp, (n, plus(h, first), v * VECTOR + q), zero)
            steps.append(nested(name, sizes, store))
    return xp, steps


def prepare_rows(sch: Schedule) -> None:
    """The padded copy: rows on all threads, by whole registers."""
    names = [ref.name for ref in sch.blocks()]
    for name in ("left", "copy", "right", "above", "below"):
        if name in names:
            sch.vectorize(sch.loops(name)[-1])
    for name in ("copy", "above", "below"):
        if name in names:
            share(sch, *sch.loops(name)[:2])


def share(sch: Schedule, images: LoopRef, loop: LoopRef) -> None:
    """``loop`` on all threads, each of which goes through all images."""
    sch.reorder(loop, images)
    sch.parallel(loop)
