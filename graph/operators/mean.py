"""mean over axes.

q_mean(x) axes keepdim x_zero requant:  acc = sum of (x - x_zero) over the axes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import cast
from ...tir.stmt import Store
from ...tir.types import i32
from ..aten import axis_of
from ..attributes import Shape, integer, integers, requant_of, require
from ..emitting import Emitter, FloatStep, PartialSums, zero_and_reach
from ..forms import OFFSET
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_pool import mean_value, over_axes
from ..lower_site import Site
from ..requantize import requantize
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_mean(
    b: GraphBuilder,
    self: Value,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    **_: object,
) -> Value:
    if not b.shape(self):
        return self
    axes = sorted({axis_of(b, self, d) for d in dim or range(len(b.shape(self)))})
    return b.emit("mean", self, axes=tuple(axes), keepdim=keepdim)


def mean(torch: Any, x: Tensor, *, axes: tuple[int, ...], keepdim: bool) -> Any:
    """The mean over ``axes``, which are removed or kept with extent 1."""
    return torch.mean(x, axes, keepdim)


def shorten(parts: PartialSums, node: Node) -> None:
    """Over more elements than i32 can sum, as means of means, each with a range of its own.

        mean(x [3000, 3000], axes (0, 1))   ->  mean(mean(x, axes (1,)), axes (0, 1))
        mean(x [9000000], axes (0,))        ->  mean(cat(mean(x[:4500000]), mean(x[4500000:])))

    Parts of one axis differ by an element in millions at most, so that their mean is the mean.
    """
    (x,), axes = node.inputs, tuple(sorted(integers(node, "axes")))
    for axis in axes:
        x = _shortened(parts, node, x, axis)
    while True:
        shape = parts.shape(x)
        part = _fitting(parts, shape, axes)
        if prod(shape[axis] for axis in axes) <= parts.longest:
            break
        x = parts.append(node, "mean", (x,), axes=part, keepdim=True)
    parts.keep(replace(node, inputs=(x,)))


def _fitting(parts: PartialSums, shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The last axes whose elements one sum can take."""
    part: list[int] = []
    for axis in reversed(axes):
        if prod(shape[a] for a in (*part, axis)) <= parts.longest:
            part.append(axis)
    return tuple(sorted(part))


def _shortened(parts: PartialSums, node: Node, x: str, axis: int) -> str:
    """``x``, or the means of its parts along an axis that is too long by itself."""
    extent = parts.shape(x)[axis]
    count = -(-extent // parts.longest)
    if count == 1:
        return x
    means = []
    for start, stop in pairwise(extent * i // count for i in range(count + 1)):
        cut = parts.append(node, "slice", (x,), axis=axis, start=start, stop=stop, step=1)
        means.append(parts.append(node, "mean", (cut,), axes=(axis,), keepdim=True))
    return parts.append(node, "cat", tuple(means), axis=axis)


def quantize(emit: Emitter, step: FloatStep) -> None:
    x = emit.affines[step.inputs[0]]
    zero, reach = zero_and_reach(x)
    size = emit.source.types[step.inputs[0]].size
    count = size // max(emit.source.types[step.output].size, 1)
    requant = emit.requant(step, [x.scale / count], count * reach)
    names = [emit.tensor(step.inputs[0])]
    emit.node(step, Q_MEAN.name, names, {**step.attrs, "x_zero": zero, "requant": requant})


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    shifted = inputs[0].astype(np.int64) - integer(node, "x_zero")
    axes, keep = integers(node, "axes"), bool(node.attrs["keepdim"])
    return requantize(np.asarray(shifted.sum(axis=axes, keepdims=keep)), requant_of(node))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    axes, rank = integers(node, "axes"), len(shapes[0])
    require(all(0 <= a < rank for a in axes), node, "axes must be in 0 to rank - 1", axes)
    kept = [1 if axis in axes else n for axis, n in enumerate(shapes[0])]
    keep = bool(node.attrs["keepdim"])
    return tuple(n for axis, n in enumerate(kept) if keep or axis not in axes)


def lower(site: Site) -> Kernel:
    reduced = integers(site.node, "axes")
    count = prod(site.shape(site.node.inputs[0])[d] for d in reduced)
    first = site.number("start", -count * integer(site.node, "x_zero"), OFFSET)
    acc, spatial, where = over_axes(site, "sum", i32, lambda acc, x: acc + cast(i32, x), first)
    value = mean_value(site, acc[where], count)
    site.nests.add("requant", spatial, Store(site.output(), where, value))
    keep = bool(site.node.attrs["keepdim"])
    return site.kernel("reduce", axes=tuple(sorted({*reduced})), keepdim=keep)


def turned(node: Node, rank: int, places: Mapping[int, int]) -> Mapping[str, Any] | None:
    if rank != 3:
        return None
    return {**node.attrs, "axes": tuple(places[a] for a in integers(node, "axes")), "keepdim": True}


Q_MEAN = Integer(
    "q_mean",
    ("u8",),
    evaluate,
    shape_of,
    lower,
    turning=Turning(turned, cost=lambda *_: 2, reduces=True),
)
SPECS = (
    Spec(
        "mean",
        aten=(Aten(("mean",), aten_mean),),
        meaning=mean,
        quantize=quantize,
        integer=Q_MEAN,
        clamped=True,
        shorten=shorten,
    ),
)
