"""Lifts stored values into the fixed-point vocabulary, by proven rules, to a fixpoint.

    y[i] = cast(u8, max(min(rounding_mul_shr(acc[i], m[i], 40) + 3, 255), 0))

becomes

    y[i] = sat_cast(u8, sat_add(sat_cast(i16, rounding_mul_shr(acc[i], m[i], 40)), 3))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..expr import Expr
from ..intervals import Interval
from ..rewrite.engine import Attempt, Budget, Rewriter
from ..rules import lifting_rules
from ..simplifier import Simplifier
from ..stmt import Block, For, PrimFunc, Stmt, Store, transform_stmt, walk_stmt
from .checked import checked


@dataclass(frozen=True, slots=True)
class LiftedStore:
    """A store before lifting, its value after it, and the attempts between, in order. An
    expression that several stores share is tried at the first of them."""

    store: Store
    value: Expr
    attempts: tuple[Attempt, ...]


@checked
def lift(
    func: PrimFunc,
    *,
    budget: Budget | None = None,
    forbidden: Iterable[str] = (),
    sites: list[LiftedStore] | None = None,
) -> PrimFunc:
    """``func`` with every stored value lifted; ``sites`` takes all attempts with their reasons."""
    ranges = axis_ranges(func.body)
    trace: list[Attempt] | None = None if sites is None else []
    rewriter = Rewriter(lifting_rules(), ranges, budget=budget, forbidden=forbidden, trace=trace)
    simple = Simplifier(ranges)

    def change(stmt: Stmt) -> Stmt | None:
        if not isinstance(stmt, Store):
            return None
        value = lifted(stmt.value, rewriter, simple)
        if sites is not None and trace is not None:
            sites.append(LiftedStore(stmt, value, tuple(trace)))
            trace.clear()
        return None if value is stmt.value else replace(stmt, value=value)

    return func.with_body(transform_stmt(func.body, change))


def lifted(expr: Expr, rewriter: Rewriter, simple: Simplifier) -> Expr:
    """``expr`` by rules and simplifier until neither changes it."""
    while True:
        fresh = simple(rewriter(simple(expr)))
        if fresh is expr:
            return expr
        expr = fresh


def axis_ranges(body: Stmt) -> dict[Expr, Interval]:
    """What every axis of ``body`` may be, blocks' axes included."""
    found: dict[Expr, Interval] = {}
    for stmt in walk_stmt(body):
        axes: list[tuple[Expr, int]] = []
        if isinstance(stmt, For):
            axes = [(stmt.axis, stmt.extent)]
        elif isinstance(stmt, Block):
            axes = [(it.axis, it.extent) for it in stmt.iters]
        for axis, extent in axes:
            found[axis] = (0, max(extent - 1, found.get(axis, (0, 0))[1]))
    return found
