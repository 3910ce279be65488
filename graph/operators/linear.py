"""linear: a product with known weights, the last axis summed.

q_linear(x u8 [...,K], w i8 [O,K], bias i32 [O]) x_zero requant
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import const
from ...tir.stmt import Buffer, Store
from ...tir.types import i32, u8
from ..attributes import Shape, integer, requant_of, require
from ..emitting import Emitter, FloatStep
from ..exact import exact_float, shifted, weight_bound
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_dot import ConvWeights, accumulator, dense, dot, merge_groups, pack_weight, sums
from ..lower_nest import LoopAxis, variables
from ..lower_site import Site, requantized
from ..lower_window import Window, WindowSource, image_axes
from ..physical import as_image, physical
from ..requantize import requantize
from ..spec import Aten, Integer, Spec
from .matmul import aten_matmul

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_linear(b: GraphBuilder, input: Value, weight: Value, bias: Value) -> Value:
    if not isinstance(weight, str) and not isinstance(bias, str):
        shape = b.shape(input)  # of an image the last axis is not the innermost stored one
        rows = b.reshape(input, (math.prod(shape[:-1]), shape[-1])) if len(shape) == 4 else input
        y = b.emit("linear", rows, weight, *([] if bias is None else [bias]))
        return b.reshape(y, b.result)
    product = aten_matmul(b, input, b.emit("permute", weight, axes=(1, 0)))
    return product if bias is None else b.emit("add", product, bias)


def linear(torch: Any, x: Tensor, w: Tensor, b: Tensor | None = None) -> Any:
    """x (..., k) times w (n, k) transposed, plus b (n,)."""
    return torch.nn.functional.linear(x, w, b)


def quantize(emit: Emitter, step: FloatStep) -> None:
    weight, *bias = emit.known(step)
    emit.weighted(step, Q_LINEAR.name, weight, bias[0] if bias else None)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    x, weight, bias = inputs
    zero = integer(node, "x_zero")
    float_type = exact_float(weight_bound(weight, zero))
    summed = (shifted(x, zero, float_type)) @ weight.astype(float_type).T
    return requantize(summed.astype(np.int64) + bias, requant_of(node), axis=x.ndim - 1)


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    x, weight, bias = shapes
    matches = len(weight) == 2 and x[-1] == weight[1] and bias == weight[:1]
    require(matches, node, "the last axis must match the weight and the bias its rows", shapes)
    return (*x[:-1], weight[0])


def products(node: Node, shapes: Sequence[Shape], output: Shape) -> int:
    return prod(output) * shapes[1][1]


def lower(site: Site) -> Kernel:
    weights = ConvWeights.of(site)
    shape = site.shape(site.node.inputs[0])
    x = site.input(0, "x")
    if len(shape) == 4:
        return _lower_image(site, x, shape, weights)
    _, _, height, width = as_image(shape)
    return dense(site, WindowSource(x, (height, width)), Window(), weights, "matmul")


def _lower_image(site: Site, x: Buffer, shape: Shape, weights: ConvWeights) -> Kernel:
    """Rank 4: the last axis is not the innermost stored one, so rows are gathered first."""
    images, planes, rows, depth = shape
    outputs = len(weights.weight)
    made, many = merge_groups(1, depth, outputs, depth, physical((1, outputs))[3])
    xp_shape = (1, images * planes, rows, made.inputs)
    xp = site.nests.alloc(Buffer("xp", u8, xp_shape, "tcm"))
    whole = image_axes(xp.shape)
    zero = site.fill("x_zero")
    if made.inputs != depth:
        site.nests.add("fill", whole, Store(xp, variables(whole), zero))
    loops = [
        LoopAxis("n", images),
        LoopAxis("ih", rows),
        LoopAxis("iw", depth),
        LoopAxis("c", planes),
    ]
    n, h, w, c = variables(loops)
    at = (const(0, i32), n * planes + c, h, w)
    site.nests.add("copy", loops, Store(xp, at, x[n, h, w, c]))
    constants = sums(site, pack_weight(weights.weight, 1, many, made), weights, made.outputs)
    acc = accumulator(site, (1, images * planes, rows, made.outputs))
    dot(site, xp, Window(), made, constants, acc)
    out = [
        LoopAxis("n", images),
        LoopAxis("oh", rows),
        LoopAxis("ow", outputs),
        LoopAxis("o", planes),
    ]
    n, h, w, c = variables(out)
    total = acc[0, n * planes + c, h, w]
    value = requantized(site, requant_of(site.node), total, constants.mult[w], constants.bound)
    where = n, h, w, c
    site.nests.add("requant", out, Store(site.output(), where, site.made(value, where)))
    return site.kernel("matmul", direct=False, images=1, **Window().facts)


Q_LINEAR = Integer(
    "q_linear", ("u8", "i8", "i32"), evaluate, shape_of, lower, products, anchors=True
)
LINEAR = Spec(
    "linear",
    aten=(Aten(("linear",), aten_linear, whole=True),),
    meaning=linear,
    quantize=quantize,
    integer=Q_LINEAR,
    clamped=True,
    weighted=lambda *_: True,
    channel_axis=lambda rank: rank - 1,
)
SPECS = (LINEAR,)
