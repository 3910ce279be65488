"""Buffers become one-dimensional: an index is the row-major element number in linear form.

    y[i, j + 1]     with y of shape (8, 16)     becomes     y[i * 16 + j + 1]

Scopes, names and contents stay; consecutive lanes of a vector access may then run over the end of
the last dimension, as memory does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..expr import Expr, transform_loads
from ..linear import from_linear, joined, row_major
from ..stmt import Alloc, Buffer, Copy, PrimFunc, Stmt, Store, map_exprs, transform_stmt
from .checked import checked


@checked
def flatten_buffers(func: PrimFunc) -> PrimFunc:
    """``func`` with buffers of one dimension; Copy keeps its boxes (DMA works on rows)."""
    flat: dict[Buffer, Buffer] = {}

    def one(buffer: Buffer) -> Buffer:
        if buffer not in flat:
            flat[buffer] = replace(buffer, shape=(buffer.size,))
        return flat[buffer]

    done: dict[Expr, Expr] = {}

    def expr(root: Expr) -> Expr:
        if root not in done:
            done[root] = transform_loads(root, change)
        return done[root]

    def change(node: Expr) -> Expr | None:
        if node.op != "load":
            return None
        return Expr("load", node.type, (flat_index(node.attr, node.args),), one(node.attr))

    def stmt(node: Stmt) -> Stmt | None:
        match node:
            case Store(buffer=buffer, index=index):
                return replace(node, buffer=one(buffer), index=(flat_index(buffer, index),))
            case Alloc(buffer=buffer):
                return replace(node, buffer=one(buffer))
            case Copy():
                return node
            case _:
                return None

    body = transform_stmt(map_exprs(func.body, expr), stmt)
    params = tuple(one(b) for b in func.params)
    constants = {name: data.reshape(-1) for name, data in func.constants.items()}
    return replace(func, params=params, body=body, constants=constants)


def flat_index(buffer: Buffer, index: Sequence[Expr]) -> Expr:
    """The row-major element number of ``index``, in canonical linear form."""
    return from_linear(joined(row_major(buffer.shape, index)))
