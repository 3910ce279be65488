"""Loop nests on buffers of other sizes: blocks keep their formulas, loops get other extents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ...tir.expr import Expr, transform
from ...tir.stmt import (
    Alloc,
    Block,
    Buffer,
    For,
    Iter,
    Stmt,
    Store,
    children,
    map_exprs,
    rebuild_stmt,
    transform_stmt,
)

Extent = Callable[[Block, Iter], int]


def resized(stmt: Stmt, moved: Mapping[Buffer, Buffer], extent: Extent) -> Stmt:
    """``stmt`` (nests of loops, a block each) on other buffers, ``extent`` steps an iter."""
    match stmt:
        case For(axis, _, _, body):
            inner = resized(body, moved, extent)
            block = inner
            while isinstance(block, For):
                block = block.body
            if not isinstance(block, Block):
                return replace(stmt, body=inner)
            steps = next(it.extent for it in block.iters if it.binding == axis)
            return replace(stmt, extent=steps, body=inner)
        case Alloc(buffer, body):
            return Alloc(moved.get(buffer, buffer), resized(body, moved, extent))
        case Block():
            iters = tuple(replace(it, extent=extent(stmt, it)) for it in stmt.iters)
            init = None if stmt.init is None else on_buffers(stmt.init, moved)
            return replace(stmt, iters=iters, body=on_buffers(stmt.body, moved), init=init)
        case _:
            parts = [resized(s, moved, extent) for s in children(stmt)]
            return rebuild_stmt(stmt, tuple(parts))


def on_buffers(stmt: Stmt, moved: Mapping[Buffer, Buffer]) -> Stmt:
    """Loads and stores turned to other buffers, at the same indices."""

    def node(expr: Expr) -> Expr | None:
        if expr.op != "load" or expr.attr not in moved:
            return None
        return Expr("load", expr.type, expr.args, moved[expr.attr])

    def store(found: Stmt) -> Stmt | None:
        if isinstance(found, Store) and found.buffer in moved:
            return replace(found, buffer=moved[found.buffer])
        return None

    return transform_stmt(map_exprs(stmt, lambda e: transform(e, node)), store)
