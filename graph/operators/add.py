"""add and sub, with broadcasting; a difference is a sum with a negative multiplier.

q_add(a, b) a_zero b_zero a_mult b_mult shift zero_point low high
    clamp((((a - a_zero) * a_mult + (b - b_zero) * b_mult + 2**(shift-1)) >> shift)
    + zero_point, low, high); the multipliers are 15-bit signed, the sum fits i32

q_add_wide(a i32, b) b_zero b_mult shift zero_point low high
    clamp(((a + (b - b_zero) * b_mult + 2**(shift-1)) >> shift) + zero_point, low, high): ``a`` are
    sums of products in steps of 2**-shift that nobody rounded before (``graph/fuse.py``)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, cast, make
from ...tir.types import i16
from ..aten import operand, scaled
from ..aten_mask import finite
from ..attributes import Shape, broadcast, integer, require
from ..emitting import Emitter, FloatStep
from ..forms import FACTOR, OFFSET, SUM_SHIFT
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_point import Point, binary
from ..lower_site import LIMIT, Site, narrowed, with_zero
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


# ATen calls --------------------------------------------------------------------------------------


def aten_add(b: GraphBuilder, self: Value, other: Value | float, alpha: float) -> Value:
    left, right = (finite(operand(b, value)) for value in (self, other))  # a mask may be infinite
    return b.emit("add", left, scaled(b, right, alpha))


def aten_sub(b: GraphBuilder, self: Value, other: Value | float, alpha: float) -> Value:
    return b.emit("sub", operand(b, self), scaled(b, operand(b, other), alpha))


def aten_rsub(b: GraphBuilder, self: Value, other: Value | float, alpha: float) -> Value:
    return b.emit("sub", operand(b, other), scaled(b, self, alpha))


# The float operators -----------------------------------------------------------------------------


def add(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a + b."""
    return a + b


def sub(torch: Any, a: Tensor, b: Tensor) -> Any:
    """a - b."""
    return a - b


# The quantized form ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddMultipliers:
    """``q_add``'s two 15-bit multipliers and their one shift."""

    a: int
    b: int
    shift: int


def add_multipliers(a: float, b: float, output: float) -> AddMultipliers:
    """For a * x + b * y in steps of ``output``; a and b are signed scales.

    |x|, |y| <= 255 and shift <= 30: 2 * 255 * (2**15 - 1) + 2**29 < 2**31, the sum fits i32.
    """
    largest = max(abs(a), abs(b)) / output
    shift = min(max(15 - math.frexp(largest)[1], 1), 30)
    limit = (1 << 15) - 1
    first, second = (min(max(round(math.ldexp(s / output, shift)), -limit), limit) for s in (a, b))
    return AddMultipliers(first, second, shift)


def quantize(emit: Emitter, step: FloatStep) -> None:
    a, b = (emit.affines[name] for name in step.inputs)
    output = emit.affines[step.output]
    sign = -1 if step.op == SUB.name else 1
    made = add_multipliers(a.scale, sign * b.scale, output.scale)
    low, high = emit.limits(step)
    attrs = {
        "a_zero": a.zero_point,
        "b_zero": b.zero_point,
        "a_mult": made.a,
        "b_mult": made.b,
        "shift": made.shift,
        "zero_point": output.zero_point,
        "low": low,
        "high": high,
    }
    emit.node(step, Q_ADD.name, [emit.tensor(name) for name in step.inputs], attrs)


# The integer operator ----------------------------------------------------------------------------


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    shift = integer(node, "shift")
    total = np.int32(1 << (shift - 1)) + sum(
        (array.astype(np.int32) - np.int32(integer(node, f"{side}_zero")))
        * np.int32(integer(node, f"{side}_mult"))
        for side, array in zip("ab", inputs, strict=True)
    )
    return _shifted(node, np.asarray(total))


def _shifted(node: Node, total: Array) -> Array:
    """A sum with the half of a step that rounds it, as the node's byte."""
    rounded = (total >> integer(node, "shift")) + integer(node, "zero_point")
    clipped = np.clip(rounded, integer(node, "low"), integer(node, "high"))
    return np.asarray(clipped, np.uint8)


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    shift = integer(node, "shift")
    require(1 <= shift <= 30, node, "shift is in 1..30", shift)
    for name in ("a_mult", "b_mult"):
        multiplier = integer(node, name)
        require(abs(multiplier) < 1 << 15, node, f"{name} is 15-bit signed", multiplier)
    return broadcast(node, shapes)


def point(site: Site) -> Point:
    """The zero points go into one constant, and where there is room the output's too:

    ((a - za)*ma + (b - zb)*mb + 2**(s-1)) >> s, plus z
        = rounding_shr(a*ma + b*mb + (z << s) - za*ma - zb*mb, s)
    """
    shift, zero = integer(site.node, "shift"), integer(site.node, "zero_point")
    low, high = integer(site.node, "low"), integer(site.node, "high")
    sides = [(integer(site.node, f"{s}_zero"), integer(site.node, f"{s}_mult")) for s in "ab"]
    reach = sum(max(z, 255 - z) * abs(m) for z, m in sides) + (zero << shift)
    inside = reach < LIMIT
    offset = (zero << shift if inside else 0) - sum(z * m for z, m in sides)
    factors = [
        site.number(f"{s}_mult", m, FACTOR, i16) for s, (_, m) in zip("ab", sides, strict=True)
    ]
    by, more = site.number("shift", shift, SUM_SHIFT), site.number("offset", offset, OFFSET)

    def term(value: Expr, factor: Expr) -> Expr:
        return make("widening_mul", cast(i16, value), factor)

    def made(a: Expr, b: Expr) -> Expr:
        total = term(a, factors[0]) + term(b, factors[1])
        scaled = make("rounding_shr", total + more if offset else total, by)
        scaled = scaled if inside else with_zero(site, scaled, "add", zero)
        return narrowed(site, scaled, low, high)

    return made


def lower(site: Site) -> Kernel:
    return binary(site, point(site))


def shape_of_wide(node: Node, shapes: Sequence[Shape]) -> Shape:
    shift = integer(node, "shift")
    require(1 <= shift <= 15, node, "shift is in 1..15", shift)
    multiplier = integer(node, "b_mult")
    require(abs(multiplier) < 1 << 15, node, "b_mult is 15-bit signed", multiplier)
    require(shapes[0] == shapes[1], node, "the operands are of one shape", shapes)
    return shapes[0]


def evaluate_wide(node: Node, inputs: Sequence[Array]) -> Array:
    a, b = (array.astype(np.int64) for array in inputs)
    shift = integer(node, "shift")
    total = a + (b - integer(node, "b_zero")) * integer(node, "b_mult") + (1 << (shift - 1))
    return _shifted(node, total)


def point_wide(site: Site) -> Point:
    """The zero points go into one constant."""
    shift, zero = integer(site.node, "shift"), integer(site.node, "zero_point")
    factor = site.number("b_mult", integer(site.node, "b_mult"), FACTOR, i16)
    known = (zero << shift) - integer(site.node, "b_zero") * integer(site.node, "b_mult")
    by, more = site.number("shift", shift, SUM_SHIFT), site.number("offset", known, OFFSET)

    def made(a: Expr, b: Expr) -> Expr:
        total = a + make("widening_mul", cast(i16, b), factor)
        scaled = make("rounding_shr", total + more if known else total, by)
        return narrowed(site, scaled, integer(site.node, "low"), integer(site.node, "high"))

    return made


def lower_wide(site: Site) -> Kernel:
    raise AssertionError("sums that nobody rounded are stored by no kernel")


Q_ADD_WIDE = Integer(
    "q_add_wide", ("i32", "u8"), evaluate_wide, shape_of_wide, lower_wide, point=point_wide
)
Q_ADD = Integer(
    "q_add",
    ("u8", "u8"),
    evaluate,
    shape_of,
    lower,
    turning=Turning(lambda node, *_: node.attrs, cost=lambda *_: 2, activations=2),
    spreads=True,
    point=point,
    anchors=True,
)
ADD = Spec(
    "add",
    aten=(Aten(("add",), aten_add),),
    meaning=add,
    quantize=quantize,
    integer=Q_ADD,
    arithmetic=True,
    clamped=True,
    commutes=True,
    on_channels=lambda scale, shift, number: (scale, shift + number),
)
SUB = Spec(
    "sub",
    aten=(Aten(("sub",), aten_sub), Aten(("rsub",), aten_rsub)),
    meaning=sub,
    quantize=quantize,
    integer=Q_ADD,
    arithmetic=True,
    clamped=True,
    on_channels=lambda scale, shift, number: (scale, shift - number),
)
SPECS = (ADD, SUB, Spec(Q_ADD_WIDE.name, integer=Q_ADD_WIDE))
