"""Unrolled loops become their bodies, one after another, with the axis replaced by its values."""

from __future__ import annotations

from dataclasses import replace

from ..expr import Expr, const, substitute, transform
from ..linear import canonical
from ..stmt import For, LoopKind, PrimFunc, Stmt, Store, children, map_exprs, rebuild_stmt, seq
from ..types import i32


def unroll_loops(func: PrimFunc) -> PrimFunc:
    """``func`` without unrolled loops, nor loops of one step; indices in canonical form."""
    return func.with_body(_unroll(func.body, {}))


def _unroll(stmt: Stmt, values: dict[Expr, Expr]) -> Stmt:
    if isinstance(stmt, For) and (stmt.kind is LoopKind.UNROLLED or stmt.extent == 1):
        return seq(
            *(_unroll(stmt.body, {**values, stmt.axis: const(i, i32)}) for i in range(stmt.extent))
        )
    below = children(stmt)
    fresh = rebuild_stmt(stmt, tuple(_unroll(c, values) for c in below)) if below else stmt
    return _substituted(fresh, values) if values and not below else _headed(fresh, values)


def _headed(stmt: Stmt, values: dict[Expr, Expr]) -> Stmt:
    """The expressions that a statement with others below it holds itself."""
    if not values or isinstance(stmt, For) or not hasattr(stmt, "condition"):
        return stmt
    return replace(stmt, condition=substitute(stmt.condition, values))


def _substituted(stmt: Stmt, values: dict[Expr, Expr]) -> Stmt:
    def expr(root: Expr) -> Expr:
        return transform(root, change)

    def change(node: Expr) -> Expr | None:
        if node.op == "load":
            return Expr("load", node.type, tuple(canonical(a) for a in node.args), node.attr)
        return values.get(node)

    fresh = map_exprs(stmt, expr)
    if isinstance(fresh, Store):
        return replace(fresh, index=tuple(canonical(i) for i in fresh.index))
    return fresh
