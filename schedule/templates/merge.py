"""Fewer phases: of a long unrolled loop around a parallel one, a phase takes several steps.

    for o in unrolled(250):            for o in parallel(1):     body
        for w in parallel(1): body     for o in parallel(2):     body with o + 1
                                       for o in parallel(4):     body with o + 3 ...

It is done where the steps do not depend on each other. The first phases are short, so that their
constants are soon there, and the last ones, so that little is left when the last constants come.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...target.dsp.machine import Machine
from ...tir.expr import Expr, const, substitute
from ...tir.independence import independent
from ...tir.stmt import Buffer, For, LoopKind, PrimFunc, Stmt, map_exprs, seq, transform_stmt
from ...tir.types import i32

MOST = 32  # steps that are phases of their own
WHOLE = 16  # phases of full length, about
SHARE = 8  # the constants of a phase take at most TCM / this


def merged(func: PrimFunc, machine: Machine) -> PrimFunc:
    """``func`` with its long unrolled loops around parallel ones in few phases."""
    constants = [p for p in func.params if p.name in func.constants]

    def change(stmt: Stmt) -> Stmt | None:
        if isinstance(stmt, For) and stmt.kind is LoopKind.UNROLLED and stmt.extent > MOST:
            inner = _inner(stmt.body)
            if inner is not None and independent(stmt):
                return _phases(stmt, inner, machine, constants)
        return None

    return func.with_body(transform_stmt(func.body, change))


def _inner(stmt: Stmt) -> For | None:
    """The parallel loop, below unrolled ones of one step."""
    while isinstance(stmt, For):
        if stmt.kind is LoopKind.PARALLEL:
            return stmt
        if stmt.extent > 1:
            return None
        stmt = _replaced(stmt.body, stmt.axis, const(0, i32))
    return None


def _phases(loop: For, inner: For, machine: Machine, constants: list[Buffer]) -> Stmt:
    step = sum(p.bytes // loop.extent for p in constants if p.shape[0] >= loop.extent)
    most = max(machine.tcm // SHARE // max(step, 1), 1)
    parts, first = [], 0
    for count in lengths(loop.extent, min(-(-loop.extent // WHOLE), most)):
        parts.append(_phase(loop, inner, first, count, machine))
        first += count
    return seq(*parts)


def lengths(extent: int, most: int) -> Iterator[int]:
    """Steps of each phase: doubled up to ``most`` and, at the end, halved."""
    length, left = 1, extent
    while left:
        count = min(length, max(left // 2, 1))
        yield count
        left -= count
        length = min(2 * length, most)


def _phase(loop: For, inner: For, first: int, count: int, machine: Machine) -> Stmt:
    """Steps ``first`` and so on: shared by threads, where the parallel loop has too few."""
    body = _replaced(inner.body, loop.axis, loop.axis + first)
    if inner.extent < machine.threads:
        below = For(inner.axis, inner.extent, LoopKind.SERIAL, body)
        return For(loop.axis, count, LoopKind.PARALLEL, below)
    below = For(loop.axis, count, LoopKind.SERIAL, body)
    return For(inner.axis, inner.extent, LoopKind.PARALLEL, below)


def _replaced(stmt: Stmt, axis: Expr, by: Expr) -> Stmt:
    return map_exprs(stmt, lambda e: substitute(e, {axis: by}))
