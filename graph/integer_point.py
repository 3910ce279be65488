"""Integer operators that work point by point, and softmax along an axis.

    q_add(a, b) a_zero b_zero a_mult b_mult shift zero_point low high
        clamp((((a - a_zero) * a_mult + (b - b_zero) * b_mult + 2**(shift-1)) >> shift)
        + zero_point, low, high); the multipliers are 15-bit signed, the sum fits i32
    q_mul(a, b) a_zero b_zero requant:  acc = (a - a_zero) * (b - b_zero)
    lookup(x, table u8 [256]):  y = table[x]
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

from collections.abc import Sequence

import numpy as np

from .graph import Array, Node
from .integer_row import Row, Shape, broadcast, integer, requant_of, require
from .requantize import requantize

SOFTMAX_AXIS_LIMIT = 65535


def _add(node: Node, inputs: Sequence[Array]) -> Array:
    shift = integer(node, "shift")
    total = np.int32(1 << (shift - 1)) + sum(
        (array.astype(np.int32) - np.int32(integer(node, f"{side}_zero")))
        * np.int32(integer(node, f"{side}_mult"))
        for side, array in zip("ab", inputs, strict=True)
    )
    rounded = (np.asarray(total) >> shift) + integer(node, "zero_point")
    clipped = np.clip(rounded, integer(node, "low"), integer(node, "high"))
    return np.asarray(clipped, np.uint8)


def _mul(node: Node, inputs: Sequence[Array]) -> Array:
    a, b = (
        array.astype(np.int32) - np.int32(integer(node, f"{side}_zero"))
        for side, array in zip("ab", inputs, strict=True)
    )
    return requantize(np.asarray(a * b), requant_of(node))


def _lookup(node: Node, inputs: Sequence[Array]) -> Array:
    x, table = inputs
    return table[x]


def _lookup_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    require(shapes[1] == (256,), node, "the table has 256 entries", shapes[1])
    return shapes[0]


def _softmax(node: Node, inputs: Sequence[Array]) -> Array:
    x, table = inputs[0].astype(np.int64), inputs[1].astype(np.int64)
    axis = integer(node, "axis")
    e = table[x.max(axis=axis, keepdims=True) - x]
    reciprocal = (1 << 30) // e.sum(axis=axis, keepdims=True)
    shift = integer(node, "shift")
    return np.asarray(np.minimum((e * reciprocal + (1 << (shift - 1))) >> shift, 255), np.uint8)


def _softmax_shape(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis = integer(node, "axis")
    require(shapes[1] == (256,), node, "the table has 256 entries", shapes[1])
    require(0 <= axis < len(shapes[0]), node, "axis must be in 0 to rank - 1", axis)
    length = shapes[0][axis]
    rule = f"the axis may be at most {SOFTMAX_AXIS_LIMIT} long"
    require(length <= SOFTMAX_AXIS_LIMIT, node, rule, length)
    shift = integer(node, "shift")
    require(15 <= shift <= 22, node, "shift is in 15..22", shift)
    return shapes[0]


ROWS = (
    Row("q_add", ("u8", "u8"), _add, broadcast),
    Row("q_mul", ("u8", "u8"), _mul, broadcast),
    Row("lookup", ("u8", "u8"), _lookup, _lookup_shape),
    Row("q_softmax", ("u8", "i32"), _softmax, _softmax_shape),
)
