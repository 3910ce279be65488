"""mul, with broadcasting; quotients by what is known and squares are products, too.

q_mul(a, b) a_zero b_zero requant:  acc = (a - a_zero) * (b - b_zero)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, cast, make
from ...tir.types import i16
from ..aten import operand
from ..aten_norm import written_product
from ..attributes import broadcast, integer, requant_of
from ..emitting import Emitter, FloatStep, zero_and_reach
from ..graph import Array, Graph, Node
from ..kernels import Kernel
from ..lower_point import Point, binary
from ..lower_site import Site, common_multiplier, requantized
from ..requantize import requantize
from ..spec import Aten, Integer, Spec, Turning
from .conv2d import CONV2D, depthwise

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_mul(b: GraphBuilder, self: Value, other: Value | float) -> Value:
    left, right = operand(b, self), operand(b, other)
    return written_product(b, left, right) or b.emit("mul", left, right)


def mul(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a * b."""
    return a * b


def as_convolution(graph: Graph, node: Node) -> Node:
    """By one number a channel of images, a 1x1 depthwise convolution, which is exact per channel.

    As a u8 tensor the numbers would be rounded to 256 steps, and the product once more.
    """
    shape = graph.types[node.output].shape
    for x, other in (node.inputs, node.inputs[::-1]):
        numbers = graph.constants.get(other)
        if numbers is None or len(shape) != 4 or graph.types[x].shape != shape:
            continue
        if (1,) * (4 - numbers.ndim) + numbers.shape == (1, shape[1], 1, 1) and shape[1] > 1:
            weight = graph.add_constant(f"{other}.weight", numbers.reshape(-1, 1, 1, 1))
            return replace(node, op=CONV2D.name, inputs=(x, weight), attrs=depthwise(shape[1]))
    return node


def quantize(emit: Emitter, step: FloatStep) -> None:
    a, b = (emit.affines[name] for name in step.inputs)
    (a_zero, a_reach), (b_zero, b_reach) = zero_and_reach(a), zero_and_reach(b)
    requant = emit.requant(step, [a.scale * b.scale], a_reach * b_reach)
    names = [emit.tensor(name) for name in step.inputs]
    emit.node(step, Q_MUL.name, names, {"a_zero": a_zero, "b_zero": b_zero, "requant": requant})


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    a, b = (
        array.astype(np.int32) - np.int32(integer(node, f"{side}_zero"))
        for side, array in zip("ab", inputs, strict=True)
    )
    return requantize(np.asarray(a * b), requant_of(node))


def point(site: Site) -> Point:
    requant = requant_of(site.node)
    zeros = integer(site.node, "a_zero"), integer(site.node, "b_zero")
    bound = max(zeros[0], 255 - zeros[0]) * max(zeros[1], 255 - zeros[1])
    amounts = [site.zero(f"{side}_zero", i16) for side in "ab"]

    def made(a: Expr, b: Expr) -> Expr:
        factors = [cast(i16, x) - z for x, z in zip((a, b), amounts, strict=True)]
        product = make("widening_mul", *factors)
        return requantized(site, requant, product, common_multiplier(site, requant), bound)

    return made


def lower(site: Site) -> Kernel:
    return binary(site, point(site))


Q_MUL = Integer(
    "q_mul",
    ("u8", "u8"),
    evaluate,
    broadcast,
    lower,
    turning=Turning(lambda node, *_: node.attrs, cost=lambda *_: 2, activations=2),
    spreads=True,
    point=point,
    anchors=True,
)
SPECS = (
    Spec(
        "mul",
        aten=(Aten(("mul",), aten_mul),),
        meaning=mul,
        quantize=quantize,
        integer=Q_MUL,
        arithmetic=True,
        clamped=True,
        commutes=True,
        left=as_convolution,
        on_channels=lambda scale, shift, number: (scale * number, shift * number),
    ),
)
