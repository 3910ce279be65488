"""div by a tensor that is computed; a quotient by what is known is a product.

q_div(a u8, b u8, table i32 [256]) a_zero zero_point low high:
    table[b] = round(2**14 * f), f what a step of a is in the result for this b, at most 256
    y = clamp((((a - a_zero) * table[b] + 2**13) >> 14) + zero_point, low, high)

|table| <= 2**22, so products and their sum fit i32. A factor of 256 leaves no value but 0 that is
not saturated: quotients by 0 are the greatest of their sign, as far as a map holds them, and 0 / 0
is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, cast, const, make
from ...tir.types import i32
from ..aten import operand
from ..aten_norm import written_quotient
from ..attributes import Shape, broadcast, integer, require
from ..emitting import Emitter, FloatStep
from ..errors import Unsupported
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_point import binary
from ..lower_site import Site, narrowed, with_zero
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value

BITS = 14  # behind the point of a factor
MOST = 256 << BITS


def aten_div(b: GraphBuilder, self: Value | float, other: Value | float) -> Value:
    """By what is known, a product with its reciprocal."""
    x, divisor = operand(b, self), operand(b, other)
    if isinstance(divisor, str):
        return written_quotient(b, x, divisor) or b.emit("div", x, divisor)
    return b.emit("mul", x, 1.0 / divisor.double())  # type: ignore[union-attr]


def aten_div_mode(
    b: GraphBuilder, self: Value, other: Value | float, rounding_mode: str | None = "floor"
) -> Value:
    """Of a tensor by a number: other quotients may be off by so much that they jump to another
    integer."""
    if rounding_mode and not isinstance(other, int | float):
        raise Unsupported(f"a quotient of two tensors to which {rounding_mode!r} is applied")
    quotient = aten_div(b, self, other)
    return b.emit(rounding_mode, quotient) if rounding_mode else quotient


def div(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a / b."""
    return a / b


def quantize(emit: Emitter, step: FloatStep) -> None:
    a, b = (emit.affines[name] for name in step.inputs)
    output = emit.affines[step.output]
    steps = np.arange(256.0) - b.zero_point
    steps[b.zero_point] = -(2.0**-9) if b.zero_point == 255 else 2.0**-9
    factors = np.clip(a.scale / (b.scale * output.scale) / steps, -256, 256)
    factors[b.zero_point] = np.sign(steps[b.zero_point]) * 256
    table = np.rint(factors * (1 << BITS)).astype(np.int32)
    low, high = emit.limits(step)
    attrs = {"a_zero": a.zero_point, "zero_point": output.zero_point, "low": low, "high": high}
    names = [emit.tensor(name) for name in step.inputs]
    emit.node(step, Q_DIV.name, [*names, emit.constant(f"{step.output}.table", table)], attrs)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    a, b, table = inputs
    product = (a.astype(np.int64) - integer(node, "a_zero")) * table[b]
    rounded = ((product + (1 << (BITS - 1))) >> BITS) + integer(node, "zero_point")
    return np.asarray(np.clip(rounded, integer(node, "low"), integer(node, "high")), np.uint8)


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(shapes[2] == (256,), node, "the table has 256 entries", shapes[2])
    return broadcast(node, shapes[:2])


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """A divisor looks up one entry at most."""
    return prod(shapes[position]) if position < 2 else min(256, prod(shapes[1]))


def lower(site: Site) -> Kernel:
    table, node = site.constant("table", site.value(2), of=2), site.node
    zero = site.zero("a_zero")

    def point(a: Expr, b: Expr) -> Expr:
        x = cast(i32, a)
        moved = x - zero if integer(node, "a_zero") else x
        total = make("rounding_shr", moved * table[cast(i32, b)], const(BITS, i32))
        with_it = with_zero(site, total, "add", integer(node, "zero_point"))
        return narrowed(site, with_it, integer(node, "low"), integer(node, "high"))

    return binary(site, point)


Q_DIV = Integer(
    "q_div",
    ("u8", "u8", "i32"),
    evaluate,
    shape_of,
    lower,
    reads=reads,
    turning=Turning(lambda node, *_: node.attrs, cost=lambda *_: 8, activations=2),
)
SPECS = (
    Spec(
        "div",
        aten=(
            Aten(("div.Tensor", "div.Scalar"), aten_div),
            Aten(("div.Tensor_mode", "div.Scalar_mode", "floor_divide"), aten_div_mode),
        ),
        meaning=div,
        quantize=quantize,
        integer=Q_DIV,
        arithmetic=True,
        clamped=True,
    ),
)
