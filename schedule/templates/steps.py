"""Blocks in loops of their own, for templates that restate a kernel before they schedule it."""

from __future__ import annotations

from ...tir.expr import Expr, var
from ...tir.stmt import Block, For, Iter, LoopKind, Stmt, Store

Axes = tuple[tuple[str, int], ...]


def axes(*names: str) -> tuple[Expr, ...]:
    """The variables of a block."""
    return tuple(var(f"v{name}") for name in names)


def plus(expr: Expr, number: int) -> Expr:
    """``expr + number``, and ``expr`` itself for 0."""
    return expr + number if number else expr


def nested(
    name: str,
    sizes: Axes,
    store: Store,
    shared: str = "",
    count: int = 0,
    reduced: int = 0,
    init: Store | None = None,
) -> Stmt:
    """A block over ``sizes`` (axis, extent), of which the last ``reduced`` are reductions, in loops
    of its own but for the first ``count``: ``around(shared, ...)`` makes those."""
    iters, loops = [], []
    for number, (axis, extent) in enumerate(sizes):
        loop = var(f"{shared}_{number}" if number < count else f"{name}_{axis}")
        iters.append(Iter(var(f"v{axis}"), extent, number >= len(sizes) - reduced, loop))
        loops.append((loop, extent))
    stmt: Stmt = Block(name, tuple(iters), store, init)
    for loop, extent in reversed(loops[count:]):
        stmt = For(loop, extent, LoopKind.SERIAL, stmt)
    return stmt


def around(name: str, extents: tuple[int, ...], body: Stmt) -> Stmt:
    """Loops that several blocks share."""
    for number, extent in reversed(list(enumerate(extents))):
        body = For(var(f"{name}_{number}"), extent, LoopKind.SERIAL, body)
    return body
