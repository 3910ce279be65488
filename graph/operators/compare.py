"""Comparisons and what is made of truth values, which are 0 and 1: tables, or sums and products.

gt(x, 0.5)      ->  a table of x            gt(x, y)        ->  gt(x - y, 0)
and(c, d)       ->  c * d                   not(c)          ->  1 - c
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..aten import known, operand
from ..aten_mask import finite
from ..errors import Unsupported
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def _comparison(name: str) -> Spec:
    """A comparison of a tensor with a number, with a known tensor or with another tensor."""

    def read(b: GraphBuilder, self: Value, other: Value | float) -> Value:
        left, right = operand(b, self), operand(b, other)
        if isinstance(right, str) or b.shape(right):
            left, right = b.emit("sub", left, right), b.scalar(0)
        return b.emit(name, left, finite(right))

    def meaning(torch: Any, a: Tensor, b: Tensor) -> Any:
        return getattr(torch, name)(a, b).to(a.dtype)

    names = (f"{name}.Tensor", f"{name}.Scalar")
    return Spec(name, (Aten(names, read, truths=True),), meaning, arithmetic=True)


def aten_and(b: GraphBuilder, self: Value, other: Value) -> Value:
    return b.emit("mul", _truth(b, self), _truth(b, other))


def aten_or(b: GraphBuilder, self: Value, other: Value) -> Value:
    return b.emit("maximum", _truth(b, self), _truth(b, other))


def aten_xor(b: GraphBuilder, self: Value, other: Value) -> Value:
    return b.emit("abs", b.emit("sub", _truth(b, self), _truth(b, other)))


def aten_not(b: GraphBuilder, self: Value) -> Value:
    return b.emit("sub", b.scalar(1), _truth(b, self))


def _truth(b: GraphBuilder, value: Value) -> Value:
    """``value``, which is a known tensor of truth values or a computed one of 0 and 1."""
    if isinstance(value, str):
        if value not in b.truths:
            raise Unsupported("of numbers")
        return value
    found: Tensor = known(value, "a truth value")
    return found.bool()


def isnan(torch: Any, x: Tensor) -> Any:
    """1 where x is no number, which no value of a map is."""
    return torch.isnan(x).to(x.dtype)


def isinf(torch: Any, x: Tensor) -> Any:
    """1 where x is infinite, which no value of a map is."""
    return torch.isinf(x).to(x.dtype)


def _tested(name: str, meaning: Any) -> Spec:
    def read(b: GraphBuilder, self: Value) -> Value:
        return b.emit(name, self)

    return Spec(name, (Aten((name,), read, truths=True),), meaning, pointwise=True)


def _logical(word: str, read: Any) -> Aten:
    return Aten((f"logical_{word}", f"bitwise_{word}"), read, truths=True)


SPECS = (
    *map(_comparison, ("gt", "ge", "lt", "le", "eq", "ne")),
    _tested("isnan", isnan),
    _tested("isinf", isinf),
    Spec(
        "logical",
        (
            _logical("and", aten_and),
            _logical("or", aten_or),
            _logical("xor", aten_xor),
            _logical("not", aten_not),
        ),
    ),
)
