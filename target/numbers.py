"""The numbers of a kernel's holes where code needs them: immediates, and splats of a number.

Numbers({"shift": 38})(hole("shift", i32, 32, 46) - 31)      # Late(7, 1, 15)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..tir.arithmetic import Value
from ..tir.bounds import bounds
from ..tir.evaluate_expr import evaluate_expr, hole_key
from ..tir.expr import Expr, cast, is_number, make, walk
from ..tir.types import i32
from .errors import SelectError
from .program import Late


class HoleFiller:
    """Fills expressions over holes; ``values`` by the holes' names."""

    def __init__(self, values: Mapping[str, int]) -> None:
        self.env: dict[str, Value] = {
            hole_key(name): np.full(1, value, np.int64) for name, value in values.items()
        }

    def __call__(self, node: Expr) -> int:
        """The value of a scalar constant, or of a number with the interval that is known of it."""
        if node.is_const:
            return int(node.attr)
        for part in walk(node):
            if part.op == "hole" and hole_key(part.attr.name) not in self.env:
                raise SelectError(
                    f"numbers: a hole must have one in PrimFunc.numbers, but {part.attr} has none"
                )
        return Late(int(evaluate_expr(node, self.env)[0]), *bounds(node, {}))


def is_splat(node: Expr) -> bool:
    """Whether every lane is one number that fills a hole."""
    return node.op == "tile" and is_number(node.args[0])


def splat_word(number: Expr, bits: int) -> Expr:
    """A word with the low ``bits`` of a number in each of its lanes."""
    word = cast(i32, number)
    if bits == 32:
        return word
    ones = sum(1 << at for at in range(0, 32, bits))
    return (word & ((1 << bits) - 1)) * ones


def halves(number: Expr) -> tuple[Expr, Expr]:
    """The high and the low word of a number of 64 bits."""
    return cast(i32, number >> 32), cast(i32, number)


def count_of(count: Expr, low: int, high: int) -> tuple[Expr, int, int] | None:
    """The scalar that a shift count is in every lane, and between which values it lies; None where
    lanes differ, where the program computes it, or where it may leave ``low`` to ``high``."""
    if count.is_const:
        scalar = Expr("const", count.type.element, (), count.attr)
    else:
        scalar = count.args[0] if count.op == "tile" else count
        if not is_number(scalar):
            return None
    least, most = bounds(scalar, {})
    return (scalar, least, most) if low <= least and most <= high else None


def spread(scalar: Expr, like: Expr) -> Expr:
    """``scalar`` in every lane of the type of ``like``."""
    if scalar.is_const:
        return Expr("const", like.type, (), scalar.attr)
    scalar = cast(like.type.element, scalar)
    return scalar if like.type.lanes == 1 else make("tile", scalar, attr=like.type.lanes)
