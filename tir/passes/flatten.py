"""Buffers become one-dimensional: an index is the row-major element number in linear form.

    y[i, j + 1]     with y of shape (8, 16)     becomes     y[i * 16 + j + 1]

Scopes, names and contents stay; consecutive lanes of a vector access may then run over the end of
the last dimension, as memory does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from ..expr import Expr, transform_loads
from ..linear import Linear, from_linear, joined, linear, row_major
from ..stmt import Alloc, Buffer, Copy, PrimFunc, Region, Stmt, Store, map_exprs, transform_stmt
from .checked import checked

Away = Callable[[Buffer], int]  # elements from a buffer's beginning


@checked
def flatten_buffers(func: PrimFunc) -> PrimFunc:
    """``func`` with buffers of one dimension; Copy keeps its boxes (DMA works on rows)."""
    params = tuple(map(_flat, func.params))
    constants = {name: data.reshape(-1) for name, data in func.constants.items()}
    return replace(func, params=params, body=flattened(func.body), constants=constants)


def flattened(body: Stmt, away: Away = lambda buffer: 0) -> Stmt:
    """``body`` with buffers of one dimension, of which it accesses elements so far ``away`` from
    those that it names."""
    done: dict[Expr, Expr] = {}

    def expr(root: Expr) -> Expr:
        if root not in done:
            done[root] = transform_loads(root, load)
        return done[root]

    def load(node: Expr) -> Expr | None:
        if node.op != "load":
            return None
        return Expr("load", node.type, index(node.attr, node.args), _flat(node.attr))

    def index(buffer: Buffer, of: Sequence[Expr]) -> tuple[Expr]:
        return (from_linear(flat_form(buffer.shape, tuple(of)).shifted(away(buffer))),)

    def region(box: Region) -> Region:
        by = away(box.buffer)
        *outer, inner = box.start
        moved = from_linear(linear(inner).shifted(by)) if by else inner
        return replace(box, start=(*outer, moved))

    def stmt(node: Stmt) -> Stmt | None:
        match node:
            case Store(buffer=buffer, index=at):
                return replace(node, buffer=_flat(buffer), index=index(buffer, at))
            case Alloc(buffer=buffer):
                return replace(node, buffer=_flat(buffer))
            case Copy(target=target, source=source):
                return replace(node, target=region(target), source=region(source))
            case _:
                return None

    return transform_stmt(map_exprs(body, expr), stmt)


@cache
def _flat(buffer: Buffer) -> Buffer:
    return replace(buffer, shape=(buffer.size,))


@cache
def flat_form(shape: tuple[int, ...], index: tuple[Expr, ...]) -> Linear:
    """The row-major element number of ``index`` in an array of this shape."""
    return joined(row_major(shape, index))


def flat_index(buffer: Buffer, index: Sequence[Expr]) -> Expr:
    """The row-major element number of ``index``, in canonical linear form."""
    return from_linear(flat_form(buffer.shape, tuple(index)))
