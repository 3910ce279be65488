"""Blocks and fills of lowered kernels by name, for templates that restate them."""

from __future__ import annotations

from ...tir.expr import Expr, const
from ...tir.stmt import Block, PrimFunc, Stmt, Store, walk_stmt
from ...tir.types import u8


def find_block(stmt: Stmt, name: str) -> Block:
    return next(s for s in walk_stmt(stmt) if isinstance(s, Block) and s.name == name)


def fill_of(func: PrimFunc) -> Expr:
    """The zero point that fills the pads of the lowered kernel."""
    for stmt in walk_stmt(func.body):
        if isinstance(stmt, Block) and stmt.name == "fill" and isinstance(stmt.body, Store):
            return stmt.body.value
    return const(0, u8)
