"""Operands and results in the order in which a sum of products reads them, by copies.

    y[m, n] += a[k, m] * w[n, r, k]       a as [m, k]: words of scalars lie together
                                          w as [r, k, n]: so do columns, where neither they nor k do

The column is the axis of one operand that fills lanes best, of two products a packet; where it lies
apart in the result, a copy puts results in their places at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ...tir.expr import Expr
from ..schedule import Schedule
from ..structure import Axis, Form, Structure, Use
from ..trace import permuted
from .contraction import WORD
from .fold_parts import copied, now
from .fusing import made_by

MOVE = 2  # packets of an element that a copy moves


def straighten(sch: Schedule, found: Structure, words: bool, least: int, vector: int) -> Structure:
    """Lets columns, of which there must be some, lie together in the result and, with ``words``,
    the longest axis that is summed lie together in the other operand; gives the block then."""
    column = _column(found, least, vector) if found.form is Form.CONTRACTION else None
    if column is None:
        return found
    (vectors,) = (use for use in found.reads if use.step(column))
    (scalars,) = (use for use in found.reads if use is not vectors)
    depth = _depth(found, vectors, scalars) if words else None
    if found.out.step(column) != 1:
        sch.cache_write(found.block, found.out.buffer.name, "tcm")
        out = now(sch, found.block).out
        put_last(sch, out.buffer.name, out.index, column)
    near = 1 in (vectors.step(column), depth is not None and vectors.step(depth))
    if not near:
        inner = [column] if depth is None else [depth, column]
        put_last(sch, made_by(sch, copied(sch, found.block, vectors)), vectors.index, *inner)
    if depth is not None and scalars.step(depth) != 1:
        put_last(sch, made_by(sch, copied(sch, found.block, scalars)), scalars.index, depth)
    return now(sch, found.block)


def _column(found: Structure, least: int, vector: int) -> Axis | None:
    """The axis of the result and of one operand, an index of both, with which lanes and moves cost
    least."""
    lanes = vector // WORD
    work = prod(axis.extent for axis in found.axes) / (2 * lanes)
    results = prod(axis.extent for axis in found.spatial) * MOVE

    def cost(axis: Axis) -> float:
        whole = -(-axis.extent // lanes) * lanes
        return work * whole / axis.extent + (results if found.out.step(axis) != 1 else 0)

    able = [axis for axis in found.spatial if axis.extent >= least and _alone(found, axis)]
    return min(able, key=cost, default=None)


def _alone(found: Structure, axis: Axis) -> bool:
    """Whether an axis is a dimension of the result and of the one operand that it moves."""
    moved = [use for use in found.reads if use.step(axis)]
    return len(moved) == 1 and all(_single(use, axis) for use in (found.out, *moved))


def _single(use: Use, axis: Axis) -> bool:
    return axis.var in use.index


def _depth(found: Structure, vectors: Use, scalars: Use) -> Axis | None:
    """The longest axis that is summed and a dimension of both operands."""
    able = [a for a in found.summed if _single(vectors, a) and _single(scalars, a)]
    return max(able, key=lambda a: (a.extent, scalars.step(a) == 1), default=None)


def put_last(sch: Schedule, buffer: str, index: Sequence[Expr], *axes: Axis) -> None:
    """Puts the dimensions of some axes of a local buffer or constant last."""
    last = [list(index).index(axis.var) for axis in axes]
    if [*range(len(index) - len(last), len(index))] != last:
        rest = [d for d in range(len(index)) if d not in last]
        sch.transform_layout(buffer, permuted([*rest, *last]))
