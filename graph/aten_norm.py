"""Norms as they are written with means, powers and quotients, read as the norms that they are.

x * rsqrt(mean(x * x) + eps)                         ->  rms_norm(x)
(x - mean(x)) / sqrt(mean((x - mean(x))**2) + eps)   ->  layer_norm(x)
x / max(norm(x), 1e-12)                              ->  rms_norm(x), its weight 1 / sqrt(count)
layer_norm(x) * w                                    ->  layer_norm(x), its weights times w
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from .attributes import broadcast, integers

if TYPE_CHECKING:
    from torch import Tensor

    from .graph import Node
    from .graph_builder import GraphBuilder, Value

LEAST = 1e-4  # a lower bound of a norm that is no more than this only keeps quotients finite


@dataclass(frozen=True, slots=True)
class Squares:
    """factor * mean of x * x over ``axes``, plus eps."""

    x: str
    axes: tuple[int, ...]
    factor: float = 1.0
    eps: float = 0.0

    def scaled(self, by: float) -> Squares:
        return replace(self, factor=self.factor * by, eps=self.eps * by)


def written_quotient(b: GraphBuilder, x: Value, divisor: Value) -> Value:
    """The norm that ``x / divisor`` is; None if it is none."""
    squares = _root(b, divisor, 0.5)
    return None if squares is None else _norm(b, x, squares)


def written_product(b: GraphBuilder, x: Value, other: Value) -> Value:
    """The norm that ``x * other`` is, or that takes a known factor in; None if it is none."""
    for one, factor in ((x, other), (other, x)):
        squares = _root(b, factor, -0.5)
        if squares is not None and (made := _norm(b, one, squares)) is not None:
            return made
        if (made := _with_factor(b, one, factor)) is not None:
            return made
    return None


def _node(b: GraphBuilder, value: Value, *ops: str) -> Node | None:
    made = b.made.get(value) if isinstance(value, str) else None
    return made if made is not None and made.op in ops else None


def _number(b: GraphBuilder, name: str) -> float | None:
    found = b.known(name)
    return float(found.reshape(())) if found is not None and found.numel() == 1 else None


def _root(b: GraphBuilder, value: Value, power: float) -> Squares | None:
    """The squares whose root (power 0.5) ``value`` is, or one over it (-0.5)."""
    node = _node(b, value, "expand", "clamp", "sqrt", "rsqrt", "pow", "reciprocal")
    if node is None:
        return None
    if node.op == "expand":
        return _root(b, node.inputs[0], power)
    if node.op == "reciprocal":
        return _root(b, node.inputs[0], -power)
    if node.op == "clamp":
        low, high = node.attrs["low"], node.attrs["high"]
        small = power > 0 and isinstance(low, float) and 0 <= low <= LEAST and high == float("inf")
        return _root(b, node.inputs[0], power) if small else None
    found = {"sqrt": 0.5, "rsqrt": -0.5}.get(node.op, node.attrs.get("exponent"))
    return _squares(b, node.inputs[0]) if found == power else None


def _squares(b: GraphBuilder, name: str) -> Squares | None:
    node = _node(b, name, "add", "mul", "mean")
    if node is None:
        return None
    if node.op == "mean":
        square = _node(b, node.inputs[0], "mul")
        if square is None or square.inputs[0] != square.inputs[1] or not node.attrs["keepdim"]:
            return None
        return Squares(square.inputs[0], integers(node, "axes"))
    for inner, other in (node.inputs, node.inputs[::-1]):
        number = _number(b, other)
        found = None if number is None else _squares(b, inner)
        if found is not None and number is not None:
            added = replace(found, eps=found.eps + number)
            return added if node.op == "add" else found.scaled(number)
    return None


def _centered(b: GraphBuilder, name: str, axes: tuple[int, ...]) -> str | None:
    """x where ``name`` is x less its mean over ``axes``."""
    node = _node(b, name, "sub")
    mean = None if node is None else _node(b, node.inputs[1], "mean")
    if node is None or mean is None or mean.inputs[0] != node.inputs[0]:
        return None
    return node.inputs[0] if integers(mean, "axes") == axes and mean.attrs["keepdim"] else None


def _norm(b: GraphBuilder, x: Value, squares: Squares) -> Value:
    import torch

    if not isinstance(x, str) or squares.factor <= 0:
        return None
    center, axes = _centered(b, x, squares.axes), squares.axes
    same = center is not None and center == _centered(b, squares.x, axes)
    if x != squares.x and not same:
        return None
    source = center if same and center is not None else x
    count = prod(b.shape(source)[axis] for axis in axes)
    sizes = [b.shape(source)[axis] for axis in axes]
    weight = torch.full(sizes, squares.factor**-0.5)
    weight = b.label(weight, f"{b.base}.weight")
    eps = squares.eps / squares.factor
    if count == 1:
        return None
    last, back = _last(b, source, axes)
    if same:
        bias = b.label(torch.zeros(sizes), f"{b.base}.bias")
        made: Value = b.emit("layer_norm", last, weight, bias, axes=len(axes), eps=eps)
    else:
        made = b.emit("rms_norm", last, weight, axes=len(axes), eps=eps)
    return b.emit("permute", made, axes=back) if back else made


def _last(b: GraphBuilder, x: str, axes: Sequence[int]) -> tuple[Value, tuple[int, ...]]:
    """``x`` with ``axes`` at its end, and the permutation that undoes it; () for none."""
    rank = len(b.shape(x))
    order = (*(axis for axis in range(rank) if axis not in axes), *axes)
    if order == tuple(range(rank)):
        return x, ()
    return b.emit("permute", x, axes=order), tuple(order.index(axis) for axis in range(rank))


def _with_factor(b: GraphBuilder, value: Value, factor: Value) -> Value:
    """A norm, perhaps behind a permutation, whose weights take a known factor in."""
    node = _node(b, value, "layer_norm", "rms_norm", "permute")
    known = b.known(factor) if isinstance(factor, str) else factor
    if node is None or known is None or isinstance(known, tuple):
        return None
    shape = b.shape(node.output)
    if node.op == "permute":
        order = integers(node, "axes")
        aligned = known.reshape((*[1] * (len(shape) - known.ndim), *known.shape))
        inner = aligned.permute([order.index(axis) for axis in range(len(shape))])
        made = _with_factor(b, node.inputs[0], inner) if known.ndim <= len(shape) else None
        return None if made is None else b.emit("permute", made, axes=order)
    return _weighted(b, node, known)


def _weighted(b: GraphBuilder, node: Node, factor: Tensor) -> Value:
    x, *numbers = node.inputs
    found = [b.known(name) for name in numbers]
    factor = _trimmed(factor)
    shapes = [tuple(factor.shape), *(tuple(number.shape) for number in found if number is not None)]
    if None in found or broadcast(node, [b.shape(x), *shapes]) != b.shape(x):
        return None
    made = [number * factor for number in found if number is not None]
    pairs = zip(made, ("weight", "bias"), strict=False)  # of an rms norm only weights
    names = [b.label(number, f"{b.base}.{name}") for number, name in pairs]
    return b.emit(node.op, x, *names, **node.attrs)


def _trimmed(factor: Tensor) -> Tensor:
    """Without leading axes of one element."""
    while factor.ndim and factor.shape[0] == 1:
        factor = factor[0]
    return factor
