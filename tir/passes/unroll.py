"""Unrolled loops become their bodies, one after another, with the axis replaced by its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..expr import Expr, const, rebuild
from ..intervals import Interval
from ..linear import Linear, from_linear, linear
from ..simplifier import simplify
from ..stmt import For, If, LoopKind, PrimFunc, Stmt, Store, children, map_exprs, rebuild_stmt, seq
from ..types import i32
from .checked import checked

Values = Mapping[Expr, int]


@checked
def unroll_loops(func: PrimFunc) -> PrimFunc:
    """``func`` without unrolled loops, nor loops of one step; indices in canonical form."""
    return func.with_body(_Unroller().stmt(func.body, {}))


def _dissolves(loop: For) -> bool:
    """Unrolled loops, and those of one step; but a parallel loop stays a phase of its own."""
    return loop.kind is LoopKind.UNROLLED or (
        loop.extent == 1 and loop.kind is not LoopKind.PARALLEL
    )


class _Unroller:
    """Replaces axes by numbers; an expression is done once for equal numbers of its axes."""

    def __init__(self) -> None:
        self.done: dict[tuple[object, ...], Expr] = {}
        self.indices: dict[tuple[object, ...], Expr] = {}
        self.ranges: dict[Expr, Interval] = {}  # of the loops that stay, whose names differ

    def stmt(self, stmt: Stmt, values: Values) -> Stmt:
        if isinstance(stmt, For) and _dissolves(stmt):
            steps = (self.stmt(stmt.body, {**values, stmt.axis: i}) for i in range(stmt.extent))
            return seq(*steps)
        if isinstance(stmt, For) and stmt.extent == 1:
            return replace(stmt, body=self.stmt(stmt.body, {**values, stmt.axis: 0}))
        if isinstance(stmt, For):
            self.ranges[stmt.axis] = 0, stmt.extent - 1
        below = children(stmt)
        if below:
            fresh = rebuild_stmt(stmt, tuple(self.stmt(child, values) for child in below))
            if isinstance(fresh, If):
                return replace(fresh, condition=self.expr(fresh.condition, values))
            return fresh
        if isinstance(stmt, Store):
            index = tuple(self.index(i, values) for i in stmt.index)
            return replace(stmt, index=index, value=self.expr(stmt.value, values))
        return map_exprs(stmt, lambda e: self.expr(e, values))

    def expr(self, node: Expr, values: Values) -> Expr:
        """``node`` with numbers for its axes, indices of loads in canonical form."""
        if not node.reads and node.free.isdisjoint(values):
            return node
        key = (node, *[values.get(axis) for axis in node.free])
        found = self.done.get(key)
        if found is None:
            found = self.done[key] = self._expr(node, values)
        return found

    def _expr(self, node: Expr, values: Values) -> Expr:
        if node.op == "load":
            return rebuild(node, tuple(self.index(i, values) for i in node.args))
        if node.op == "var":
            return const(values[node], i32) if node in values else node
        return rebuild(node, tuple(self.expr(arg, values) for arg in node.args))

    def index(self, node: Expr, values: Values) -> Expr:
        """``node`` with numbers for its axes, as a sum of products."""
        key = (node, *[values.get(axis) for axis in node.free])
        found = self.indices.get(key)
        if found is None:
            found = self.indices[key] = self._index(node, values)
        return found

    def _index(self, node: Expr, values: Values) -> Expr:
        form = linear(node)
        total = Linear({}, form.constant)
        for atom, coefficient in form.terms.items():
            if atom in values:
                total = Linear(total.terms, total.constant + coefficient * values[atom])
            elif atom.op == "var":
                total = Linear({**total.terms, atom: coefficient}, total.constant)
            else:
                total = total.plus(linear(self._decided(self.expr(atom, values))), coefficient)
        return from_linear(total)

    def _decided(self, atom: Expr) -> Expr:
        """The one side of a least or largest index that a known number may leave."""
        return simplify(atom, self.ranges) if atom.op in ("min", "max") else atom
