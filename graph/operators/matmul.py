"""matmul of two activations; of one and a known matrix it is a linear layer.

q_matmul(a u8 [...,M,K], b u8 [...,K,N]) a_zero b_zero requant
    acc = sum (a - a_zero) * (b - b_zero)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, cast, const
from ...tir.stmt import Store
from ...tir.types import i32
from ..aten import scaled
from ..attributes import Shape, broadcast, integer, requant_of, require
from ..emitting import Emitter, FloatStep, zero_and_reach
from ..exact import exact_float, reach, shifted
from ..graph import Array, Graph, Node
from ..kernels import Kernel
from ..lower_dot import accumulator
from ..lower_nest import LoopAxis, grown
from ..lower_site import Site, common_multiplier, requantized
from ..physical import axes, place_of
from ..requantize import requantize
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_addmm(
    b: GraphBuilder, self: Value, mat1: Value, mat2: Value, beta: float, alpha: float
) -> Value:
    product = scaled(b, b.emit("matmul", mat1, mat2), alpha)
    return b.emit("add", product, scaled(b, self, beta))


def aten_mm(b: GraphBuilder, self: Value, mat2: Value) -> Value:
    return b.emit("matmul", self, mat2)


def aten_matmul(b: GraphBuilder, self: Value, other: Value) -> Value:
    """A vector is a matrix of one row, or of one column, for the time of the product."""
    left, right = b.shape(self), b.shape(other)
    rows = b.reshape(self, (1, *left)) if len(left) == 1 else self
    columns = b.reshape(other, (*right, 1)) if len(right) == 1 else other
    return b.reshape(b.emit("matmul", rows, columns), b.result)


def matmul(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a (..., m, k) times b (..., k, n); leading axes broadcast."""
    return torch.matmul(a, b)


def as_linear(graph: Graph, node: Node) -> Node:
    """With a known matrix on the right, a linear layer."""
    right = graph.constants.get(node.inputs[1])
    if right is None or right.ndim != 2:
        return node
    weight = graph.add_constant(f"{node.inputs[1]}.transposed", right.T)
    return replace(node, op="linear", inputs=(node.inputs[0], weight))


def has_weight(graph: Graph, inputs: Sequence[str]) -> bool:
    """A matrix product by a constant matrix, which takes i8 weights as a linear layer does."""
    right = inputs[-1]
    matrix = right in graph.constants and len(graph.types[right].shape) == 2
    return matrix and inputs[0] not in graph.constants


def quantize(emit: Emitter, step: FloatStep) -> None:
    if has_weight(emit.source, step.inputs):
        weight = emit.source.constants[step.inputs[1]].T
        emit.weighted(step, "q_linear", np.ascontiguousarray(weight), None)
        return
    a, b = (emit.affines[name] for name in step.inputs)
    (a_zero, a_reach), (b_zero, b_reach) = zero_and_reach(a), zero_and_reach(b)
    bound = emit.source.types[step.inputs[0]].shape[-1] * a_reach * b_reach
    if bound >= 1 << 31:
        raise emit.refused(
            f"matmul {step.output}: accumulators must fit i32, but they can reach {bound}; "
            "split the reduction into smaller products"
        )
    requant = emit.requant(step, [a.scale * b.scale], bound)
    names = [emit.tensor(name) for name in step.inputs]
    emit.node(step, Q_MATMUL.name, names, {"a_zero": a_zero, "b_zero": b_zero, "requant": requant})


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    zeros = integer(node, "a_zero"), integer(node, "b_zero")
    float_type = exact_float(inputs[0].shape[-1] * reach(zeros[0]) * reach(zeros[1]))
    a, b = (shifted(array, zero, float_type) for array, zero in zip(inputs, zeros, strict=True))
    return requantize(np.matmul(a, b).astype(np.int64), requant_of(node))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    a, b = shapes
    matches = len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2]
    require(matches, node, "the inner axes must agree", shapes)
    return (*broadcast(node, (a[:-2], b[:-2])), a[-2], b[-1])


def products(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    return prod(output) * shapes[0][-1]


def lower(site: Site) -> Kernel:
    """Two activations: zero points are subtracted element by element."""
    a, b = site.input(0, "a"), site.input(1, "b")
    shapes = [site.shape(name) for name in site.node.inputs]
    output, out_shape = site.output(), site.output_shape
    loops = [LoopAxis(s.name, s.extent, stored=s.stored) for s in axes(out_shape)]
    by_dim = {s.dim: axis.var for s, axis in zip(axes(out_shape), loops, strict=True)}
    index = [by_dim[d] for d in range(len(out_shape))]
    depth = LoopAxis("k", shapes[0][-1], True)
    left = place_of(shapes[0], [*_batch(shapes[0], index), index[-2], depth.var])
    right = place_of(shapes[1], [*_batch(shapes[1], index), depth.var, index[-1]])
    product = _minus(site, a[left], "a_zero") * _minus(site, b[right], "b_zero")
    acc = accumulator(site, output.shape)
    where = place_of(out_shape, index)
    total = Store(acc, where, acc[where] + product)
    *spatial, reduced = grown([*loops, depth], total)
    site.nests.add("dot", [*spatial, reduced], total, Store(acc, where, const(0, i32)))
    requant = requant_of(site.node)
    zeros = integer(site.node, "a_zero"), integer(site.node, "b_zero")
    bound = depth.extent * max(zeros[0], 255 - zeros[0]) * max(zeros[1], 255 - zeros[1])
    multiplier = common_multiplier(site, requant)
    value = requantized(site, requant, acc[where], multiplier, bound)
    site.nests.add("requant", spatial, Store(output, where, value))
    return site.kernel("matmul", depth=depth.extent)


def _batch(shape: Shape, index: list[Expr]) -> list[Expr]:
    """The leading indices of an operand of ``shape``; its axes of size 1 repeat."""
    heads = index[: len(index) - 2][len(index) - len(shape) :]
    return [at if n != 1 else const(0, i32) for n, at in zip(shape[:-2], heads, strict=True)]


def _minus(site: Site, value: Expr, zero: str) -> Expr:
    amount = site.zero(zero)
    return cast(i32, value) - amount if integer(site.node, zero) else cast(i32, value)


def turned(node: Node, rank: int, places: Mapping[int, int]) -> Mapping[str, Any] | None:
    return node.attrs if rank == 4 else None


def cost(node: Node, shape: Shape) -> int:
    """Sums over an axis that lies apart, or beside the innermost one."""
    return 9 if len(shape) == 4 else 4


Q_MATMUL = Integer(
    "q_matmul",
    ("u8", "u8"),
    evaluate,
    shape_of,
    lower,
    products,
    turning=Turning(turned, cost, activations=2, ranked=True),
)
SPECS = (
    Spec(
        "matmul",
        aten=(
            Aten(("matmul",), aten_matmul, whole=True),
            Aten(("mm", "bmm"), aten_mm),
            Aten(("addmm",), aten_addmm),
        ),
        meaning=matmul,
        quantize=quantize,
        integer=Q_MATMUL,
        clamped=True,
        weighted=has_weight,
        known=as_linear,
    ),
)
