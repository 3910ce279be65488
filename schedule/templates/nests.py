"""Writes loop nests for templates that restate a kernel before they schedule it.

nest("out", [("j", 14), ("lane", 128)], lambda j, lane: Store(y, (j * 128 + lane,), value))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...tir.expr import Expr, var
from ...tir.stmt import Block, Buffer, For, Iter, LoopKind, PrimFunc, Stmt, Store

Axes = Sequence[tuple[str, int]]


def nest(name: str, axes: Axes, store: Callable[..., Store], outer: Axes = ()) -> Stmt:
    """Loops ``{name}_{axis}`` around a block; ``outer`` axes are loops that stand around already,
    named as they are. ``store`` takes the block's variables, those of ``outer`` first."""
    loops = [var(axis) for axis, _ in outer] + [var(f"{name}_{axis}") for axis, _ in axes]
    every = [*outer, *axes]
    iters = tuple(
        Iter(var(f"v_{axis}"), extent, False, loop)
        for (axis, extent), loop in zip(every, loops, strict=True)
    )
    stmt: Stmt = Block(name, iters, store(*(it.axis for it in iters)))
    for (_, extent), loop in reversed(list(zip(axes, loops[len(outer) :], strict=True))):
        stmt = For(loop, extent, LoopKind.SERIAL, stmt)
    return stmt


def reshaped(func: PrimFunc, moved: Mapping[Buffer, Buffer], body: Stmt) -> PrimFunc:
    """``func`` with another body, over parameters of other shapes: contents take these too."""
    shapes = {p.name: moved[p].shape for p in func.params if p in moved}
    constants = {
        name: data.reshape(shapes.get(name, data.shape)) for name, data in func.constants.items()
    }
    params = tuple(moved.get(p, p) for p in func.params)
    return replace(func, params=params, body=body, constants=constants)


def times(expr: Expr, factor: int) -> Expr:
    """``expr * factor``, and ``expr`` itself for 1."""
    return expr if factor == 1 else expr * factor


def plus(expr: Expr, number: int | Expr) -> Expr:
    """``expr + number``, and ``expr`` itself for 0."""
    known = number.attr if isinstance(number, Expr) and number.is_const else number
    return expr if isinstance(known, int) and known == 0 else expr + number


def loop_var(name: str) -> Expr:
    """The variable of a loop."""
    return var(name)
