"""Simplifies every expression of a function by the extents of the loops around it, and drops
statements that never run.

    for i in range(8): y[i] = x[(i * 4 + 3) // 4]      ->      for i in range(8): y[i] = x[i]
"""

from __future__ import annotations

from dataclasses import replace

from ..bounds import Ranges
from ..expr import Expr
from ..intervals import Interval
from ..recent import Recent
from ..simplifier import Simplifier
from ..stmt import (
    Alloc,
    Block,
    Copy,
    For,
    If,
    Iter,
    PrimFunc,
    Region,
    Seq,
    Stmt,
    Store,
    Wait,
    rebuild_stmt,
    seq,
)
from .checked import checked

_recent = Recent[Stmt](1024)  # outermost loops, which points of a kernel have in common


def simplify_stmt(stmt: Stmt, ranges: Ranges | None = None) -> Stmt:
    """``stmt`` with every expression simplified by the extents of the loops around it, and
    statements that never run dropped."""
    return _stmt(stmt, dict(ranges or {}))


@checked
def simplify_func(func: PrimFunc) -> PrimFunc:
    """``func`` with its body simplified."""
    return func.with_body(simplify_stmt(func.body))


def _stmt(stmt: Stmt, ranges: dict[Expr, Interval], given: Simplifier | None = None) -> Stmt:
    simple = given or Simplifier(ranges)
    match stmt:
        case Seq(stmts):
            return seq(*[_stmt(s, ranges, simple) for s in stmts])
        case For():
            return _loop(stmt, ranges) if ranges else _recent(stmt, lambda: _loop(stmt, ranges))
        case Block():
            return _block(stmt, ranges, simple)
        case Store(buffer, index, value, origin):
            return Store(buffer, tuple(map(simple, index)), simple(value), origin)
        case If(condition, then):
            decided = simple(condition)
            if decided.is_const:
                return _stmt(then, ranges, simple) if decided.attr else Seq(())
            body = _stmt(then, ranges, simple)
            return body if body == Seq(()) else If(decided, body)
        case Alloc(buffer, body):
            return Alloc(buffer, _stmt(body, ranges, simple))
        case Copy(target, source, token):
            return Copy(_region(target, simple), _region(source, simple), token)
        case Wait():
            return stmt


def _loop(loop: For, ranges: dict[Expr, Interval]) -> Stmt:
    body = _stmt(loop.body, {**ranges, loop.axis: (0, max(loop.extent - 1, 0))})
    return body if body == Seq(()) else rebuild_stmt(loop, (body,))


def _block(block: Block, ranges: dict[Expr, Interval], simple: Simplifier) -> Stmt:
    reach = {it.axis: simple.bounds(it.binding) for it in block.iters}
    inside = {**ranges, **{it.axis: _within(it, reach[it.axis]) for it in block.iters}}
    inner = Simplifier(inside)
    iters = tuple(type(it)(it.axis, it.extent, it.reduce, simple(it.binding)) for it in block.iters)
    guard = Simplifier({**ranges, **reach})  # not cut to extents: the guard does that
    where = None if block.where is None else guard(block.where)
    if where is not None and where.is_const and where.attr:
        where = None
    init = None if block.init is None else _stmt(block.init, inside, inner)
    body = _stmt(block.body, inside, inner)
    return replace(block, iters=iters, body=body, init=init, where=where)


def _within(it: Iter, reach: Interval) -> Interval:
    low = max(reach[0], 0)
    return low, max(min(reach[1], it.extent - 1), low)


def _region(region: Region, simple: Simplifier) -> Region:
    return Region(region.buffer, tuple(map(simple, region.start)), region.extent)
