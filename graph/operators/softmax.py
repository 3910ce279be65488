"""softmax along an axis.

    q_softmax(x, table i32 [256]) axis shift:  y has scale 2**(shift-30) and zero point 0
        e = table[max - x], table[d] = round(exp(-d * scale_x) * 2**15), so e <= 2**15
        S = sum of e;   r = floor(2**30 / S);   y = min((e * r + 2**(shift-1)) >> shift, 255)

    q_masked_softmax(x, mask u8, table i32 [256]) axis shift mask_zero
        where mask is at most mask_zero, which broadcasts to x, e is 0 and x counts as 0 in max;
        a row without any e gives 0, for S is at least 2**15

Softmax does not overflow: table[0] = 2**15 is in every sum, so 2**15 <= S and r <= 2**15; an
axis of at most 65535 gives S <= 65535 * 2**15 < 2**31; the shift is in 15..22, so
e * r + 2**(shift-1) <= 2**30 + 2**21 < 2**31, and (e * r) >> shift <= 2**15 fits u16.
The quotient r < 2**16 is found bit by bit without overflow, from rem = 2**30 and r = 0: for k from
15 down to 0, if (rem >> k) >= S then rem -= S << k and r += 1 << k (S << k <= rem there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, cast, const, make, maximum, minimum, sat_cast, select
from ...tir.places import ALIGN
from ...tir.stmt import Buffer, Store
from ...tir.types import Type, i32, u8, u16
from ..aten import axis_of
from ..aten_mask import unmasked
from ..attributes import Shape, broadcast, integer, require
from ..emitting import Emitter, FloatStep
from ..forms import SOFTMAX_REST, SOFTMAX_SHIFT, ZERO
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_nest import LoopAxis, grown, variables
from ..lower_point import logical, repeated
from ..lower_site import Site
from ..physical import physical, place_of
from ..spec import Aten, Integer, Spec, Turning

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value

SOFTMAX_AXIS_LIMIT = 65535


def aten_softmax(b: GraphBuilder, self: Value, dim: int, **_: object) -> Value:
    if not b.shape(self):  # the one value of a tensor without axes
        return b.reshape(b.emit("softmax", b.reshape(self, (1,)), axis=0), ())
    return softmax_of(b, self, axis_of(b, self, dim))


def softmax_of(b: GraphBuilder, x: Value, axis: int) -> Value:
    """By what a mask lets through, if there is one before it."""
    x, mask = unmasked(b, x, axis)
    if mask is None:
        return b.emit("softmax", x, axis=axis)
    return b.emit("masked_softmax", x, mask, axis=axis)


def aten_log_softmax(b: GraphBuilder, self: Value, dim: int, **_: object) -> Value:
    """x less the logarithm of the sum of all exp(x), which is taken beside the greatest x."""
    if not b.shape(self):
        return b.emit("sub", self, self)
    axes = (axis_of(b, self, dim),)
    apart = b.emit("sub", self, b.emit("amax", self, axes=axes, keepdim=True))
    count = b.scalar(b.shape(self)[axes[0]])
    mean = b.emit("mean", b.emit("exp", apart), axes=axes, keepdim=True)
    return b.emit("sub", apart, b.emit("log", b.emit("mul", mean, count)))


def masked_softmax(torch: Any, x: Tensor, mask: Tensor, *, axis: int) -> Any:
    """exp(x) over its sum along ``axis`` where mask is not 0, else 0; of none, the sum is 1."""
    left = torch.where(mask != 0, x, float("-inf"))
    return torch.nan_to_num(torch.softmax(left, axis), nan=0.0)


def softmax(torch: Any, x: Tensor, *, axis: int) -> Any:
    """exp(x) over its sum along ``axis``."""
    return torch.softmax(x, axis)


def quantize(emit: Emitter, step: FloatStep) -> None:
    distances = np.arange(256) * emit.affines[step.inputs[0]].scale
    table = np.rint(np.exp(-distances) * (1 << 15)).astype(np.int32)
    names = [*map(emit.tensor, step.inputs), emit.constant(f"{step.output}.table", table)]
    attrs = {**step.attrs, "shift": 30 + round(math.log2(emit.affines[step.output].scale))}
    if len(step.inputs) > 1:
        attrs["mask_zero"] = emit.affines[step.inputs[1]].zero_point
    emit.node(step, f"q_{step.op}", names, attrs)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    x, *masks, table = (array.astype(np.int64) for array in inputs)
    axis = integer(node, "axis")
    for mask in masks:
        x = np.where(mask > integer(node, "mask_zero"), x, 0)
    e = table[x.max(axis=axis, keepdims=True) - x]
    for mask in masks:
        e = np.where(mask > integer(node, "mask_zero"), e, 0)
    reciprocal = (1 << 30) // np.maximum(e.sum(axis=axis, keepdims=True), 1 << 15)
    shift = integer(node, "shift")
    return np.asarray(np.minimum((e * reciprocal + (1 << (shift - 1))) >> shift, 255), np.uint8)


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis = integer(node, "axis")
    require(shapes[-1] == (256,), node, "the table has 256 entries", shapes[-1])
    fits = broadcast(node, shapes[:-1]) == shapes[0]
    require(fits, node, "a mask broadcasts to what it masks", shapes[:-1])
    require(0 <= axis < len(shapes[0]), node, "axis must be in 0 to rank - 1", axis)
    length = shapes[0][axis]
    rule = f"the axis may be at most {SOFTMAX_AXIS_LIMIT} long"
    require(length <= SOFTMAX_AXIS_LIMIT, node, rule, length)
    shift = integer(node, "shift")
    require(15 <= shift <= 22, node, "shift is in 15..22", shift)
    return shapes[0]


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """An element looks up one entry at most."""
    return min(prod(shapes[position]), prod(shapes[0]))


def turned(node: Node, rank: int, places: Mapping[int, int]) -> Mapping[str, Any] | None:
    axis = places.get(integer(node, "axis"))
    return None if axis is None else {**node.attrs, "axis": axis}


def cost(node: Node, shape: Shape) -> int:
    """Of a byte: along lanes, whole vectors of them or fewer; or along another axis, where each
    lane has a row of its own, whose division counts more if it is short, and threads need vectors
    of rows."""
    axis, stored = integer(node, "axis"), physical(shape)
    length, deep = shape[axis], stored[3]
    if axis != (1 if len(shape) == 4 else len(shape) - 1):
        alone = max(2 * ALIGN * length // prod(stored), 1)
        return (13 + 120 // length + (5 if deep == 4 else 0)) * alone
    if length < deep or deep <= ALIGN // 4:
        return 18 if deep >= ALIGN else 24
    return 10 if deep >= ALIGN else 12


def lower(site: Site) -> Kernel:
    """max, exp, sum, recip and out, along the logical axis only: pads take no part.

    Exponents and reciprocals are at most 2**15: they fit u16, and so do their scaled products."""
    shape, dim = site.output_shape, integer(site.node, "axis")
    if len(shape) == 1:  # one row, stored alike
        shape, dim = (1, *shape), 1
    x, last = site.input(0, "x"), len(site.node.inputs) - 1
    table = site.constant("table", site.value(last).astype(np.uint16), of=last)
    loops, index = logical(shape)
    if len(shape) < 3:  # rows have an axis, though there is one of them
        loops = [LoopAxis("h", 1), *loops]
    along = next(axis for axis in loops if axis.var is index[dim])
    inner = LoopAxis(along.name, along.extent, True)
    pixel, output = x[place_of(shape, index)], site.output()
    full = grown(loops, Store(output, place_of(shape, index), pixel))
    others = [axis for axis in full if axis.name != along.name]
    rows, at = variables(others), variables(full)
    if last > 1:
        masked = site.nests.alloc(Buffer("xm", u8, tuple(a.extent for a in full), "tcm"))
        left = select(_allowed(site, index, u8), pixel, const(0, u8))
        site.nests.add("mask", full, Store(masked, at, left))
        pixel = masked[at]
    sizes = tuple(a.extent for a in others)
    m = site.nests.alloc(Buffer("m", u8, sizes, "reg"))
    e = site.nests.alloc(Buffer("e", u16, tuple(a.extent for a in full), "tcm"))
    s, r = (site.nests.alloc(Buffer(name, i32, sizes, "reg")) for name in "sr")
    over, zero = [*others, inner], const(0, i32)
    first = Store(m, rows, const(0, u8))
    site.nests.add("max", over, Store(m, rows, maximum(m[rows], pixel)), first)
    exponent = table[cast(i32, m[rows] - pixel)]  # in u8: none is above the maximum
    if last > 1:
        exponent = select(_allowed(site, index, u16), exponent, const(0, u16))
    site.nests.add("exp", full, Store(e, at, exponent))
    total = s[rows] + cast(i32, e[at])
    site.nests.add("sum", over, Store(s, rows, total), Store(s, rows, zero))
    least = maximum(s[rows], 1 << 15) if last > 1 else s[rows]
    site.nests.add("recip", others, Store(r, rows, reciprocal(least)))
    product = make("widening_mul", e[at], cast(u16, r[rows]))
    store = Store(output, place_of(shape, index), _scaled(site, product))
    site.nests.add("out", full, store)
    return site.kernel("softmax", axis=dim, length=along.extent)


def _allowed(site: Site, index: list[Expr], kind: Type) -> Expr:
    """Whether the element at ``index`` takes part, compared as ``kind``."""
    shape = site.shape(site.node.inputs[1])
    zero = site.number("mask_zero", integer(site.node, "mask_zero"), ZERO, u8)
    mask = site.input(1, "mask")[place_of(shape, repeated(shape, index))]
    return cast(kind, zero) < cast(kind, mask)


def _scaled(site: Site, product: Expr) -> Expr:
    """The product rounded and shifted into a byte: from 17 bits on, its high half rounded and
    shifted by the rest, for floors compose."""
    shift = integer(site.node, "shift")
    if SOFTMAX_SHIFT.band(shift)[0] > 16:
        rest = site.number("shift", shift - 16, SOFTMAX_REST, u16)
        return sat_cast(u8, make("rounding_shr", cast(u16, product >> 16), rest))
    scaled = sat_cast(u16, make("rounding_shr", product, const(shift, product.type)))
    return cast(u8, minimum(scaled, 255))


def reciprocal(total: Expr) -> Expr:
    """floor(2**30 / total) for 2**15 <= total < 2**31, bit by bit: no target divides vectors.

    Bit k is set where total << k fits into what is left. A total that is too large for the shift
    is taken as the largest one that is not, which does not fit either.
    """
    zero = const(0, i32)
    rest, quotient = const(1 << 30, i32), zero
    for k in range(15, -1, -1):
        part = minimum(total, i32.high >> k) << k if k else total
        above = rest < part
        rest = rest - select(above, zero, part) if k else rest
        quotient = quotient + select(above, zero, const(1 << k, i32))
    return quotient


Q_SOFTMAX = Integer(
    "q_softmax",
    ("u8", "i32"),
    evaluate,
    shape_of,
    lower,
    reads=reads,
    turning=Turning(turned, cost, ranked=True),
)
Q_MASKED_SOFTMAX = replace(
    Q_SOFTMAX,
    name="q_masked_softmax",
    elements=("u8", "u8", "i32"),
    turning=Turning(turned, cost, activations=2, ranked=True),
    spreads=False,
)
SPECS = (
    Spec(
        "masked_softmax",
        meaning=masked_softmax,
        quantize=quantize,
        integer=Q_MASKED_SOFTMAX,
        probabilities="axis",
    ),
    Spec(
        "softmax",
        aten=(
            Aten(("softmax",), aten_softmax, whole=True),
            Aten(("log_softmax",), aten_log_softmax, whole=True),
            Aten(("_log_softmax",), aten_log_softmax, public="log_softmax"),
            Aten(("_softmax",), aten_softmax, public="softmax"),
        ),
        meaning=softmax,
        quantize=quantize,
        integer=Q_SOFTMAX,
        probabilities="axis",
    ),
)
