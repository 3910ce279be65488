"""softmax along an axis.

    q_softmax(x, table i32 [256]) axis shift:  y has scale 2**(shift-30) and zero point 0
        e = table[max - x], table[d] = round(exp(-d * scale_x) * 2**15), so e <= 2**15
        S = sum of e;   r = floor(2**30 / S);   y = min((e * r + 2**(shift-1)) >> shift, 255)

Softmax does not overflow: table[0] = 2**15 is in every sum, so 2**15 <= S and r <= 2**15; an
axis of at most 65535 gives S <= 65535 * 2**15 < 2**31; the shift is in 15..22, so
e * r + 2**(shift-1) <= 2**30 + 2**21 < 2**31, and (e * r) >> shift <= 2**15 fits u16.
The quotient r < 2**16 is found bit by bit without overflow, from rem = 2**30 and r = 0: for k from
15 down to 0, if (rem >> k) >= S then rem -= S << k and r += 1 << k (S << k <= rem there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tir.expr import Expr, cast, const, make, maximum, minimum, sat_cast, select
from ...tir.places import ALIGN
from ...tir.stmt import Buffer, Store
from ...tir.types import i32, u8, u16
from ..aten import axis_of
from ..attributes import Shape, integer, require
from ..emitting import Emitter, FloatStep
from ..forms import SOFTMAX_REST, SOFTMAX_SHIFT
from ..graph import Array, Node
from ..kernels import Kernel
from ..lower_nest import LoopAxis, grown, variables
from ..lower_point import logical
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
    return b.emit("softmax", self, axis=axis_of(b, self, dim))


def softmax(torch: Any, x: Tensor, *, axis: int) -> Any:
    """exp(x) over its sum along ``axis``."""
    return torch.softmax(x, axis)


def quantize(emit: Emitter, step: FloatStep) -> None:
    distances = np.arange(256) * emit.affines[step.inputs[0]].scale
    table = np.rint(np.exp(-distances) * (1 << 15)).astype(np.int32)
    names = [emit.tensor(step.inputs[0]), emit.constant(f"{step.output}.table", table)]
    shift = 30 + round(math.log2(emit.affines[step.output].scale))
    emit.node(step, Q_SOFTMAX.name, names, {**step.attrs, "shift": shift})


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    x, table = inputs[0].astype(np.int64), inputs[1].astype(np.int64)
    axis = integer(node, "axis")
    e = table[x.max(axis=axis, keepdims=True) - x]
    reciprocal = (1 << 30) // e.sum(axis=axis, keepdims=True)
    shift = integer(node, "shift")
    return np.asarray(np.minimum((e * reciprocal + (1 << (shift - 1))) >> shift, 255), np.uint8)


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis = integer(node, "axis")
    require(shapes[1] == (256,), node, "the table has 256 entries", shapes[1])
    require(0 <= axis < len(shapes[0]), node, "axis must be in 0 to rank - 1", axis)
    length = shapes[0][axis]
    rule = f"the axis may be at most {SOFTMAX_AXIS_LIMIT} long"
    require(length <= SOFTMAX_AXIS_LIMIT, node, rule, length)
    shift = integer(node, "shift")
    require(15 <= shift <= 22, node, "shift is in 15..22", shift)
    return shapes[0]


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """An element looks up one entry at most."""
    return prod(shapes[0]) if position == 0 else min(prod(shapes[1]), prod(shapes[0]))


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
    x, table = site.input(0, "x"), site.constant("table", site.value(1).astype(np.uint16), of=1)
    loops, index = logical(shape)
    if len(shape) < 3:  # rows have an axis, though there is one of them
        loops = [LoopAxis("h", 1), *loops]
    along = next(axis for axis in loops if axis.var is index[dim])
    inner = LoopAxis(along.name, along.extent, True)
    pixel, output = x[place_of(shape, index)], site.output()
    full = grown(loops, Store(output, place_of(shape, index), pixel))
    others = [axis for axis in full if axis.name != along.name]
    rows, at = variables(others), variables(full)
    sizes = tuple(a.extent for a in others)
    m = site.nests.alloc(Buffer("m", u8, sizes, "reg"))
    e = site.nests.alloc(Buffer("e", u16, tuple(a.extent for a in full), "tcm"))
    s, r = (site.nests.alloc(Buffer(name, i32, sizes, "reg")) for name in "sr")
    over, zero = [*others, inner], const(0, i32)
    first = Store(m, rows, const(0, u8))
    site.nests.add("max", over, Store(m, rows, maximum(m[rows], pixel)), first)
    exponent = table[cast(i32, m[rows] - pixel)]  # in u8: none is above the maximum
    site.nests.add("exp", full, Store(e, at, exponent))
    total = s[rows] + cast(i32, e[at])
    site.nests.add("sum", over, Store(s, rows, total), Store(s, rows, zero))
    site.nests.add("recip", others, Store(r, rows, reciprocal(s[rows])))
    product = make("widening_mul", e[at], cast(u16, r[rows]))
    store = Store(output, place_of(shape, index), _scaled(site, product))
    site.nests.add("out", full, store)
    return site.kernel("softmax", axis=dim, length=along.extent)


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
SPECS = (
    Spec(
        "softmax",
        aten=(
            Aten(("softmax",), aten_softmax, whole=True),
            Aten(("_softmax",), aten_softmax, public="softmax"),
        ),
        meaning=softmax,
        quantize=quantize,
        integer=Q_SOFTMAX,
        probabilities="axis",
    ),
)
