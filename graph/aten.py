"""Readers of ATen arguments, and values that several operators make of them.

pair(3), spatial([2], 1, True), axis_of(b, x, -1)    # (3, 3), (1, 2), 3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import Unsupported

if TYPE_CHECKING:
    from .graph_builder import GraphBuilder, Value

Pair = tuple[int, int]
Numbers: TypeAlias = int | Sequence[int]


def axis_of(b: GraphBuilder, x: Value, dim: int) -> int:
    """``dim`` counted from the front."""
    return dim % max(len(b.shape(x)), 1)


def pair(value: Numbers) -> Pair:
    """One or two numbers as two."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def spatial(value: Numbers, filler: int, one_dimensional: bool) -> Pair:
    """A 1-d parameter as that of an image of height 1."""
    return (filler, pair(value)[1]) if one_dimensional else pair(value)


def known(value: Value, what: str) -> Any:
    """A tensor whose content must be known at import."""
    if value is None or not isinstance(value, (str, tuple)):
        return value
    raise Unsupported(f"{what} computed at run time")


def image(b: GraphBuilder, x: Value, one_dimensional: bool) -> Value:
    """``x`` as (n, c, h, w): a batch axis where there is none, height 1 for a sequence."""
    shape = b.shape(x)
    if len(shape) == (2 if one_dimensional else 3):
        shape = (1, *shape)
    return b.reshape(x, (*shape[:2], 1, shape[2]) if one_dimensional else shape)


def operand(b: GraphBuilder, value: Value | float) -> Value:
    """A number as a constant of shape ()."""
    return b.scalar(value) if isinstance(value, (int, float)) else value


def scaled(b: GraphBuilder, x: Value, factor: float) -> Value:
    """``x * factor``; ``x`` itself where the factor is 1."""
    return x if factor == 1 else b.emit("mul", x, b.scalar(factor))


def cut(b: GraphBuilder, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """A slice; ``x`` itself where the slice is all of it."""
    if (start, stop, step) == (0, b.shape(x)[axis], 1):
        return x
    if start >= stop:
        raise Unsupported("of an empty tensor")
    return b.emit("slice", x, axis=axis, start=start, stop=stop, step=step)
