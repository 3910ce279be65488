"""Loop nests on buffers of other sizes: blocks keep their formulas, loops get other extents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ...tir.stmt import Alloc, Block, Buffer, For, Iter, Stmt, children, rebuild_stmt
from ..build import on_buffers

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
