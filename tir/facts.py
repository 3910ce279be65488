"""What is known at a place in a function: ranges of axes, and conditions that hold.

Decides whether an index stays within an extent: by intervals, then by the conditions, then by
trying all values of the axes where they are few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .evaluate_expr import evaluate_expr, loads
from .expr import Expr, conjuncts, free_vars, substitute
from .intervals import Interval
from .linear import Linear, sum_of
from .simplifier import Simplifier

TRIED = 1 << 20  # points that are tried at most


@dataclass(slots=True)
class Facts:
    """``ranges`` of loop axes, ``bindings`` of blocks' axes to these, ``holds``: conditions."""

    ranges: dict[Expr, Interval] = field(default_factory=dict)
    bindings: dict[Expr, Expr] = field(default_factory=dict)
    holds: tuple[Expr, ...] = ()
    simple: Simplifier | None = None

    def within(self, axis: Expr, extent: int) -> Facts:
        return Facts({**self.ranges, axis: (0, max(extent - 1, 0))}, self.bindings, self.holds)

    def bound(self, axis: Expr, binding: Expr) -> Facts:
        bindings = {**self.bindings, axis: self.plain(binding)}
        return Facts(self.ranges, bindings, self.holds, self.simple)

    def given(self, condition: Expr) -> Facts:
        holds = (*self.holds, *conjuncts(self.plain(condition)))
        return Facts(self.ranges, self.bindings, holds, self.simple)

    def plain(self, expr: Expr) -> Expr:
        """``expr`` over loop axes, simplified."""
        return self._simplifier()(substitute(expr, self.bindings))

    def _simplifier(self) -> Simplifier:
        if self.simple is None:
            self.simple = Simplifier(self.ranges)
        return self.simple

    def range(self, expr: Expr) -> Interval:
        """Lowest and highest value of an index, as far as it is known."""
        expr = self.plain(expr)
        form = sum_of(expr)
        limits = [limit for condition in self.holds for limit in at_most_zero(condition)]
        low, high = self._range(form)
        for limit in limits:
            high = min(high, self._range(form.plus(limit, -1))[1])
            low = max(low, self._range(form.plus(limit))[0])
        return low, high

    def _range(self, form: Linear) -> Interval:
        return form.range(self.ranges, self._simplifier().known)

    def reaches(self, expr: Expr, low: int, high: int) -> Interval | None:
        """None where ``expr`` stays within low..high; else what it reaches as far as known."""
        if not self.bindings:  # as an index mostly is, its form alone stays within
            found = sum_of(expr).range(self.ranges, self._simplifier().known)
            if low <= found[0] and found[1] <= high:
                return None
        found = self.range(expr)
        if low <= found[0] and found[1] <= high:
            return None
        tried = self._tried(self.plain(expr))
        if tried is not None:
            found = tried
        return None if low <= found[0] and found[1] <= high else found

    def _tried(self, expr: Expr) -> Interval | None:
        """The range over all values of the axes under the conditions on them; None if too many."""
        holds = [c for c in self.holds if not loads(c)]
        if loads(expr):
            return None
        axes = sorted(set().union(*map(free_vars, (expr, *holds))), key=lambda axis: str(axis.attr))
        extents = [self.ranges[axis][1] + 1 for axis in axes if axis in self.ranges]
        if len(extents) != len(axes) or np.prod(extents, dtype=np.float64) > TRIED:
            return None
        grid = np.indices(extents, np.int32).reshape(len(axes), int(np.prod(extents)), 1)
        env = {axis.attr: values for axis, values in zip(axes, grid, strict=True)}
        alive = np.ones((1, 1), np.bool_)
        for condition in holds:
            alive = alive & evaluate_expr(condition, env)
        values = evaluate_expr(expr, env)
        values, alive = np.broadcast_arrays(values, alive)
        seen = values[alive]
        return (int(seen.min()), int(seen.max())) if seen.size else (0, -1)


def at_most_zero(condition: Expr) -> Iterator[Linear]:
    """Forms that are 0 or less where a scalar comparison of integers holds."""
    if condition.op not in ("lt", "le", "eq") or not condition.args[0].type.is_int:
        return
    difference = sum_of(condition.args[0]).plus(sum_of(condition.args[1]), -1)
    yield difference.shifted(1) if condition.op == "lt" else difference
    if condition.op == "eq":
        yield difference.times(-1)
