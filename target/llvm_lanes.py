"""LLVM IR of lanes: permutations as shuffles or as shifts in wider lanes.

Even and odd lanes are the halves of lanes twice as wide, so ``deinterleave`` is a shift and
``interleave`` an or: nothing crosses the machine's registers. Taking parts commutes with lane-wise
arithmetic, which brings the shifts down to the narrow operands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import llvmlite.ir as ir
import numpy as np

from ..tir.expr import Expr, cast, make
from ..tir.types import Type, vector
from .llvm import Lowering, ir_type, rule
from .llvm_ops import clamp

_LANEWISE = {"add", "sub", "mul", "min", "max", "and_", "or_", "xor", "shl", "shr", "widening_mul",
             "widening_add", "widening_sub", "abs_diff"}  # fmt: skip


def shuffled(low: Lowering, value: Any, kind: Type, lanes: Iterable[int]) -> Any:
    """The given lanes of a value of several lanes."""
    taken = [int(lane) for lane in lanes]
    if len(taken) == 1:
        return low.builder.extract_element(value, ir.IntType(32)(taken[0]))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(taken)), taken)
    return low.builder.shuffle_vector(value, ir.Constant(ir_type(kind), ir.Undefined), mask)


def as_vector(low: Lowering, value: Any, kind: Type) -> Any:
    """A scalar as a vector of one lane."""
    if kind.lanes > 1:
        return value
    one = ir.Constant(ir.VectorType(ir_type(kind), 1), ir.Undefined)
    return low.builder.insert_element(one, value, ir.IntType(32)(0))


def as_lanes(low: Lowering, value: Any, source: Type, target: Type) -> Any:
    """The same bits in lanes of another width."""
    return value if source == target else low.builder.bitcast(value, ir_type(target))


def joined(low: Lowering, values: Sequence[Any], kind: Type) -> Any:
    """Values of one type (``kind``), one after another."""
    parts = [as_vector(low, value, kind) for value in values]
    lanes = kind.lanes
    while len(parts) > 1:
        if len(parts) % 2:
            undefined = ir.Constant(ir.VectorType(ir_type(kind.element), lanes), ir.Undefined)
            parts.append(undefined)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), 2 * lanes), list(range(2 * lanes)))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [low.builder.shuffle_vector(a, b, mask) for a, b in pairs]
        lanes *= 2
    total = kind.lanes * len(values)
    return (
        parts[0] if lanes == total else shuffled(low, parts[0], vector(kind, lanes), range(total))
    )


@rule("concat")
def _concat(low: Lowering, node: Expr) -> Any:
    kinds = {arg.type for arg in node.args}
    if len(kinds) == 1:
        return joined(low, [low.value(arg) for arg in node.args], kinds.pop())
    single = [
        low.value(arg) if arg.type.lanes == 1 else shuffled(low, low.value(arg), arg.type, [lane])
        for arg in node.args
        for lane in range(arg.type.lanes)
    ]
    return joined(low, single, node.type.element)


@rule("slice")
def _slice(low: Lowering, node: Expr) -> Any:
    start, lanes = node.attr
    inner = node.args[0]
    if inner.op == "concat" and len({arg.type for arg in inner.args}) == 1:
        each = inner.args[0].type.lanes
        if start % each == 0 and lanes == each:
            return low.item(inner.args[start // each])
    if lanes == inner.type.lanes:
        return low.item(inner)
    below = pushed(node)
    if below is not None:
        return low.item(below)
    return shuffled(low, low.value(inner), inner.type, range(start, start + lanes))


@rule("tile")
def _tile(low: Lowering, node: Expr) -> Any:
    """Short values are splats of one wider lane."""
    inner, n = node.args[0], node.attr
    kind, bits = inner.type, inner.type.bits * inner.type.lanes
    if n == 1:
        return low.item(inner)
    if kind.kind in "iu" and bits in (8, 16, 32, 64):
        whole = Type("u", bits)
        return as_lanes(low, splat(low, as_lanes(low, low.value(inner), kind, whole), whole, n),
                        vector(whole, n), node.type)  # fmt: skip
    if kind.lanes == 1:
        return splat(low, low.value(inner), kind, n)
    return shuffled(low, low.value(inner), kind, list(range(kind.lanes)) * n)


def splat(low: Lowering, value: Any, kind: Type, lanes: int) -> Any:
    undefined = ir.Constant(ir_type(vector(kind, lanes)), ir.Undefined)
    one = low.builder.insert_element(undefined, value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return low.builder.shuffle_vector(one, undefined, zeros)


@rule("repeat")
def _repeat(low: Lowering, node: Expr) -> Any:
    inner, n = node.args[0], node.attr
    if n == 1:
        return low.item(inner)
    if inner.type.lanes == 1:
        return splat(low, low.value(inner), inner.type, n)
    return shuffled(low, low.value(inner), inner.type, np.repeat(range(inner.type.lanes), n))


@rule("transpose")
def _transpose(low: Lowering, node: Expr) -> Any:
    inner, (sizes, order) = node.args[0], node.attr
    lanes = np.arange(inner.type.lanes).reshape(sizes).transpose(order).reshape(-1)
    return shuffled(low, low.value(inner), inner.type, lanes)


@rule("reinterpret")
def _reinterpret(low: Lowering, node: Expr) -> Any:
    return as_lanes(low, low.value(node.args[0]), node.args[0].type, node.type)


# Parts and interleaving -----------------------------------------------------------------------


@rule("deinterleave")
def _deinterleave(low: Lowering, node: Expr) -> Any:
    inner, (part, ways) = node.args[0], node.attr
    below = pushed(node)
    if below is not None:
        return low.item(below)
    kind = inner.type
    value = low.value(inner)
    if kind.kind not in "iu" or ways * kind.bits not in (16, 32, 64) or kind.lanes == ways:
        return shuffled(low, value, kind, range(part, kind.lanes, ways))
    wide = Type("u", ways * kind.bits, kind.lanes // ways)
    lanes = as_lanes(low, value, kind, wide)
    if part:
        lanes = low.builder.lshr(lanes, low.constant(wide, part * kind.bits))
    return low.builder.trunc(lanes, ir_type(node.type))


def pushed(node: Expr) -> Expr | None:
    """A part or slice of a lane-wise value as the same value of parts, which is cheaper."""
    inner = node.args[0]

    def of(arg: Expr) -> Expr:
        return make(node.op, arg, attr=node.attr)

    if inner.op == "cast" and inner.args[0].type.kind in "iu":
        return cast(inner.type.element, of(inner.args[0]))
    if inner.op in _LANEWISE:
        return make(inner.op, *(of(arg) for arg in inner.args))
    if node.op == "slice":
        return None
    part, ways = node.attr
    if inner.op == "interleave" and len(inner.args) == ways:
        chosen: Expr = inner.args[part]
        return chosen
    if inner.op == "tile" and inner.args[0].type.lanes % ways == 0:
        return make("tile", of(inner.args[0]), attr=inner.attr)
    return None


@rule("interleave")
def _interleave(low: Lowering, node: Expr) -> Any:
    """Parts that come narrowed from wider lanes are shifted into place there."""
    kind, ways = node.args[0].type, len(node.args)
    wide = Type("u", ways * kind.bits, kind.lanes)
    if (
        kind.kind in "iu"
        and wide.bits in (16, 32, 64)
        and all(_narrowed(a, wide) for a in node.args)
    ):
        total = None
        for at, arg in enumerate(node.args):
            value = _in_place(low, arg, wide, at)
            total = value if total is None else low.builder.or_(total, value)
        return as_lanes(low, total, wide, node.type)
    both = joined(low, [low.value(arg) for arg in node.args], kind)
    order = np.arange(node.type.lanes).reshape(ways, -1).T.ravel()
    return shuffled(low, both, vector(kind, node.type.lanes), order)


def _narrowed(arg: Expr, wide: Type) -> bool:
    source = arg.args[0].type if arg.op in ("cast", "sat_cast") else arg.type
    return source.kind in "iu" and source.bits == wide.bits


def _in_place(low: Lowering, arg: Expr, wide: Type, at: int) -> Any:
    """A narrowed part as bits ``at * bits`` and up of its wide lane."""
    source, build, bits = arg.args[0], low.builder, arg.type.bits
    value = low.value(source)
    if arg.op == "sat_cast":
        value = clamp(low, value, source.type, arg.type)
    if at * bits + bits < wide.bits:
        value = build.and_(value, low.constant(wide, (1 << bits) - 1))
    return build.shl(value, low.constant(wide, at * bits)) if at else value
