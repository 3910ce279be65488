"""Sums, variances and norms over axes: means of values, or of their squares.

sum(x)   ->  mean(x) * count             norm(x)  ->  sqrt(mean(x * x) * count)
var(x)   ->  mean((x - mean(x))**2) * count / (count - correction)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import TYPE_CHECKING

from ..aten import axis_of, scaled
from ..errors import Unsupported
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from ..graph_builder import GraphBuilder, Value

Dims = Sequence[int] | int | None


def axes_of(b: GraphBuilder, x: Value, dim: Dims) -> tuple[int, ...]:
    """The axes from the front; all of them for none, and none of a tensor without axes."""
    if not b.shape(x):
        return ()
    dims = [dim] if isinstance(dim, int) else dim
    return tuple(sorted({axis_of(b, x, d) for d in dims or range(len(b.shape(x)))}))


def _count(b: GraphBuilder, x: Value, axes: Sequence[int]) -> int:
    return prod(b.shape(x)[axis] for axis in axes)


def _mean(b: GraphBuilder, x: Value, axes: tuple[int, ...], keepdim: bool) -> Value:
    return b.emit("mean", x, axes=axes, keepdim=keepdim) if axes else x


def aten_sum(
    b: GraphBuilder, self: Value, dim: Dims = None, keepdim: bool = False, **_: object
) -> Value:
    axes = axes_of(b, self, dim)
    return scaled(b, _mean(b, self, axes, keepdim), _count(b, self, axes))


def aten_var(
    b: GraphBuilder,
    self: Value,
    dim: Dims = None,
    correction: float | None = None,
    keepdim: bool = False,
) -> Value:
    return _variance(b, self, axes_of(b, self, dim), correction, keepdim)


def aten_var_mean(
    b: GraphBuilder,
    self: Value,
    dim: Dims = None,
    correction: float | None = None,
    keepdim: bool = False,
) -> Value:
    axes = axes_of(b, self, dim)
    return _variance(b, self, axes, correction, keepdim), _mean(b, self, axes, keepdim)


def aten_std(b: GraphBuilder, **arguments: object) -> Value:
    return b.emit("sqrt", aten_var(b, **arguments))  # type: ignore[arg-type]


def _variance(
    b: GraphBuilder, x: Value, axes: tuple[int, ...], correction: float | None, keepdim: bool
) -> Value:
    """The mean is taken from the values before they are squared."""
    count, less = _count(b, x, axes), 1 if correction is None else correction
    if count <= less:
        raise Unsupported(f"of {count} values")
    apart = b.emit("sub", x, _mean(b, x, axes, True))
    return scaled(b, _mean(b, b.emit("mul", apart, apart), axes, keepdim), count / (count - less))


def aten_norm(
    b: GraphBuilder,
    self: Value,
    ord: float = 2,
    dim: Dims = None,
    keepdim: bool = False,
    **_: object,
) -> Value:
    axes = axes_of(b, self, dim)
    if not axes:
        return b.emit("abs", self)
    if abs(ord) == inf:
        return b.emit(
            "amax" if ord > 0 else "amin", b.emit("abs", self), axes=axes, keepdim=keepdim
        )
    if ord <= 0:
        raise Unsupported(f"of order {ord}")
    if ord == 1:
        return aten_sum(b, b.emit("abs", self), axes, keepdim)
    if ord == 2:
        return b.emit("sqrt", aten_sum(b, b.emit("mul", self, self), axes, keepdim))
    powers = b.emit("pow", b.emit("abs", self), exponent=float(ord))
    return b.emit("pow", aten_sum(b, powers, axes, keepdim), exponent=1 / float(ord))


SPECS = (
    Spec(
        "moments",
        aten=(
            Aten(("sum",), aten_sum),
            Aten(("var",), aten_var),
            Aten(("std",), aten_std),
            Aten(("var_mean",), aten_var_mean),
            Aten(("linalg_vector_norm",), aten_norm),
        ),
    ),
)
