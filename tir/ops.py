"""The op table: one row an operator of the tensor IR: name, type rule and exact meaning in NumPy.

Three shelves: plain arithmetic, the fixed-point vocabulary of DSPs, and ``call`` of instructions.
Integers wrap; a fixed-point operator computes exactly and then rounds or saturates as it says.
Everything else that knows operators (interpreter, printer, prover, LLVM lowering) reads these rows
or is checked against them.

A value of ``lanes`` lanes is an array whose last axis is the lanes; leading axes are whole loops
that the interpreter evaluates at once, so a row's meaning may use only ``[..., lane]`` indexing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import Type, boolean, vector

Value = NDArray[Any]
Types = tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """One operator. ``meaning(result type, attr, *arrays)`` gives the array of the result."""

    name: str
    type_of: Callable[[Types, Any], Type]
    meaning: Callable[..., Value] | None
    symbol: str = ""  # infix in script; otherwise it is written as a call
    commutes: bool = False
    attr: str = ""  # what ``attr`` holds, where it holds something
    doc: str = ""


OPS: dict[str, Op] = {}


def _row(name: str, type_of: Callable[[Types, Any], Type], meaning: Callable[..., Value] | None,
         **more: Any) -> None:  # fmt: skip
    OPS[name] = Op(name, type_of, meaning, **more)


# Type rules ---------------------------------------------------------------------------------


def _fail(rule: str, types: Types) -> TypeError:
    return TypeError(f"{rule}, but got {', '.join(map(str, types))}")


def _same(types: Types, _: Any) -> Type:
    first = types[0]
    for kind in types:
        if kind is not first:
            raise _fail("the operands must have one type", types)
    return first


def _same_int(types: Types, attr: Any) -> Type:
    if not types[0].is_int:
        raise _fail("the operands must be integers", types)
    return _same(types, attr)


def _bits(types: Types, attr: Any) -> Type:
    if types[0].kind == "f":
        raise _fail("the operands must be integers or bool", types)
    return _same(types, attr)


def _compare(types: Types, attr: Any) -> Type:
    return vector(boolean, _same(types, attr).lanes)


def _select(types: Types, _: Any) -> Type:
    if types[0] != vector(boolean, types[1].lanes) or types[1] != types[2]:
        raise _fail("select takes bool lanes and two values of one type", types)
    return types[1]


def _wider(types: Types, _: Any) -> Type:
    """Both operands' products and sums fit: twice the bits; signed unless both are unsigned."""
    a, b = types
    if not (a.is_int and b.is_int and a.bits == b.bits and a.lanes == b.lanes):
        raise _fail("widening takes two integers of the same width and lanes", types)
    return Type("u" if a.kind == b.kind == "u" else "i", a.bits * 2, a.lanes)


def _first_int(types: Types, _: Any) -> Type:
    if not all(kind.is_int and kind.lanes == types[0].lanes for kind in types):
        raise _fail("the operands must be integers of as many lanes", types)
    return types[0]


def _unsigned(types: Types, attr: Any) -> Type:
    kind = _same_int(types, attr)
    return Type("u", kind.bits, kind.lanes)


def _group(types: Types, n: int) -> Type:
    if types[0].lanes % n:
        raise _fail(f"group_sum: {n} must divide the lanes", types)
    return vector(types[0], types[0].lanes // n)


def _many(types: Types, n: int) -> Type:
    return vector(types[0], types[0].lanes * n)


def _joined(types: Types, attr: Any) -> Type:
    return vector(_same(types, attr), sum(kind.lanes for kind in types))


def _turned(types: Types, attr: tuple[tuple[int, ...], tuple[int, ...]]) -> Type:
    sizes, order = attr
    if prod(sizes) != types[0].lanes or sorted(order) != list(range(len(sizes))):
        raise _fail(f"transpose: sizes must multiply to the lanes, but got {sizes}", types)
    return types[0]


def _transposed(_: Type, attr: tuple[tuple[int, ...], tuple[int, ...]], a: Value) -> Value:
    sizes, order = attr
    first = a.ndim - 1
    whole = a.reshape(*a.shape[:-1], *sizes)
    axes = (*range(first), *(first + digit for digit in order))
    return whole.transpose(axes).reshape(a.shape)


def _part(types: Types, attr: tuple[int, int]) -> Type:
    part, ways = attr
    if types[0].lanes % ways or not 0 <= part < ways:
        raise _fail(f"deinterleave: part {part} of {ways} must exist", types)
    return vector(types[0], types[0].lanes // ways)


def _slice(types: Types, attr: tuple[int, int]) -> Type:
    start, lanes = attr
    if not 0 <= start <= start + lanes <= types[0].lanes:
        raise _fail(f"slice: lanes {start}..{start + lanes} must exist", types)
    return vector(types[0], lanes)


def _lookup(types: Types, _: Any) -> Type:
    return vector(types[0], types[1].lanes)


def _reinterpret(types: Types, target: Type) -> Type:
    kind = types[0]
    if kind.bits * kind.lanes != target.bits * target.lanes:
        raise _fail(f"reinterpret keeps all bits: {target}", types)
    return target


# Meanings -----------------------------------------------------------------------------------


def wrap(exact: Value, kind: Type) -> Value:
    """Integers of any width brought into ``kind`` modulo 2**bits."""
    return exact.astype(kind.numpy, copy=False)


def saturate(exact: Value, kind: Type) -> Value:
    return np.clip(exact, kind.low, kind.high).astype(kind.numpy, copy=False)


def wide(value: Value) -> Value:
    """As int64: exact for elements up to 32 bits, their sums and products."""
    return value.astype(np.int64, copy=False)


def _plain(function: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    def meaning(kind: Type, _: Any, a: Value, b: Value) -> Value:
        with np.errstate(over="ignore"):
            return function(a, b).astype(kind.numpy, copy=False)

    return meaning


def _exact(function: Callable[..., Value], finish: Callable[[Value, Type], Value]) -> Any:
    """``function`` on int64, then wrapped or saturated into the result type."""

    def meaning(kind: Type, _: Any, *values: Value) -> Value:
        return finish(function(*map(wide, values)), kind)

    return meaning


def _rounding_shift(value: Value, by: Value) -> Value:
    """(value + 2**(by-1)) >> by without overflow: the last bit shifted out is added."""
    return np.where(by > 0, (value >> by) + ((value >> np.maximum(by - 1, 0)) & 1), value)


def _shift(left: bool) -> Callable[..., Value]:
    """Counts are taken modulo the element's bits, as the machines do."""

    def meaning(kind: Type, _: Any, a: Value, b: Value) -> Value:
        by = b & b.dtype.type(kind.bits - 1)
        shifted: Value = np.left_shift(a, by) if left else np.right_shift(a, by)
        return shifted.astype(kind.numpy, copy=False)

    return meaning


def _mul_shift(rounding: bool) -> Callable[..., Value]:
    """floor(a*b / 2**s), or with 2**(s-1) added; |a|, |b| < 2**31 so the product fits int64."""

    def meaning(kind: Type, _: Any, a: Value, b: Value, s: Value) -> Value:
        product, by = wide(a) * wide(b), wide(s)
        return saturate(_rounding_shift(product, by) if rounding else product >> by, kind)

    return meaning


def _convert(kind: Type, _: Any, a: Value) -> Value:
    if a.dtype.kind == "f" and kind.is_int:
        return np.trunc(a).astype(np.int64).astype(kind.numpy)
    return a.astype(kind.numpy, copy=False)


def _saturating_cast(kind: Type, _: Any, a: Value) -> Value:
    return saturate(np.rint(a).astype(np.int64) if a.dtype.kind == "f" else a.astype(object)
                    if a.dtype == np.uint64 else wide(a), kind)  # fmt: skip


def _grouped(kind: Type, n: int, a: Value) -> Value:
    with np.errstate(over="ignore"):
        grouped = a.reshape(*a.shape[:-1], a.shape[-1] // n, n)
        total: Value = grouped.sum(axis=-1, dtype=kind.numpy)
        return total


def _interleaved(kind: Type, _: Any, *parts: Value) -> Value:
    stacked = np.stack(np.broadcast_arrays(*parts), axis=-1)
    return stacked.reshape(*stacked.shape[:-2], -1)


def _gathered(kind: Type, _: Any, table: Value, index: Value) -> Value:
    shape = np.broadcast_shapes(table.shape[:-1], index.shape[:-1])
    table = np.broadcast_to(table, (*shape, table.shape[-1]))
    index = np.broadcast_to(index, (*shape, index.shape[-1]))
    return np.take_along_axis(table, wide(index), axis=-1)


def _reinterpreted(kind: Type, _: Any, a: Value) -> Value:
    return np.ascontiguousarray(a).view(kind.numpy)


def _selected(kind: Type, _: Any, condition: Value, yes: Value, no: Value) -> Value:
    chosen: Value = np.where(condition, yes, no)
    return chosen


def _floor_divide(a: Value, b: Value) -> Value:
    with np.errstate(divide="ignore"):
        return np.floor_divide(a, b)


def _floor_rest(a: Value, b: Value) -> Value:
    with np.errstate(divide="ignore"):
        rest: Value = np.mod(a, b)
        return rest


# Rows: leaves and memory --------------------------------------------------------------------


def _typed(types: Types, attr: Any) -> Type:
    raise TypeError("build constants, variables, casts and loads by their functions in tir/expr.py")


for _name, _attr in (
    ("const", "value"), ("var", "name"), ("hole", "name and interval"), ("load", "buffer"),
):  # fmt: skip
    _row(_name, _typed, None, attr=_attr)
_row("cast", _typed, _convert, doc="keep the low bits; floats round toward zero")
_row("sat_cast", _typed, _saturating_cast, doc="the nearest value; floats round to even")

# Rows: plain arithmetic ---------------------------------------------------------------------

_row("add", _same, _plain(np.add), symbol="+", commutes=True)
_row("sub", _same, _plain(np.subtract), symbol="-")
_row("mul", _same, _plain(np.multiply), symbol="*", commutes=True)
_row("floordiv", _same_int, _plain(_floor_divide), symbol="//")
_row("mod", _same_int, _plain(_floor_rest), symbol="%")
_row("min", _same, _plain(np.minimum), commutes=True)
_row("max", _same, _plain(np.maximum), commutes=True)
_row("and_", _bits, _plain(np.bitwise_and), symbol="&", commutes=True)
_row("or_", _bits, _plain(np.bitwise_or), symbol="|", commutes=True)
_row("xor", _bits, _plain(np.bitwise_xor), symbol="^", commutes=True)
_row("shl", _same_int, _shift(True), symbol="<<")
_row("shr", _same_int, _shift(False), symbol=">>", doc="arithmetic on signed elements")
_row("eq", _compare, lambda kind, _, a, b: a == b, symbol="==", commutes=True)
_row("lt", _compare, lambda kind, _, a, b: a < b, symbol="<")
_row("le", _compare, lambda kind, _, a, b: a <= b, symbol="<=")
_row("abs", _same, lambda kind, _, a: np.abs(a))
_row("rint", _same, lambda kind, _, a: np.rint(a), doc="nearest integer, ties to even")
_row("select", _select, _selected)

# Rows: fixed point --------------------------------------------------------------------------

_row("widening_add", _wider, _exact(np.add, wrap), commutes=True)
_row(
    "widening_sub", lambda t, a: Type("i", _wider(t, a).bits, t[0].lanes), _exact(np.subtract, wrap)
)
_row("widening_mul", _wider, _exact(np.multiply, wrap), doc="u8*i8 -> i16; exact")
_row("sat_add", _same_int, _exact(np.add, saturate), commutes=True)
_row("sat_sub", _same_int, _exact(np.subtract, saturate))
_row("rounding_shr", _first_int, _exact(_rounding_shift, saturate),
     doc="(a + 2**(s-1)) >> s computed exactly; s = 0 gives a")  # fmt: skip
_row("mul_shr", _first_int, _mul_shift(False), doc="floor(a*b / 2**s), saturated to a's type")
_row("rounding_mul_shr", _first_int, _mul_shift(True),
     doc="floor((a*b + 2**(s-1)) / 2**s), saturated to a's type: requantize single")  # fmt: skip
_row("halving_add", _same_int, _exact(lambda a, b: (a + b) >> 1, wrap), commutes=True)
_row("rounding_halving_add", _same_int, _exact(lambda a, b: (a + b + 1) >> 1, wrap),
     commutes=True)  # fmt: skip
_row("halving_sub", lambda t, a: Type("i", t[0].bits, _same_int(t, a).lanes),
     _exact(lambda a, b: (a - b) >> 1, wrap))  # fmt: skip
_row("abs_diff", _unsigned, _exact(lambda a, b: np.abs(a - b), wrap), commutes=True)
_row("group_sum", _group, _grouped, attr="n: lanes summed into one")

# Rows: lanes --------------------------------------------------------------------------------

_row("interleave", _joined, _interleaved, doc="a0 b0 a1 b1 ... of two or more equal parts")
_row("deinterleave", _part, lambda kind, attr, a: a[..., attr[0] :: attr[1]], attr="(part, ways)")
_row("concat", _joined, lambda kind, _, *parts: np.concatenate(
    [np.broadcast_to(p, (*np.broadcast_shapes(*[q.shape[:-1] for q in parts]), p.shape[-1]))
     for p in parts], axis=-1))  # fmt: skip
_row(
    "slice",
    _slice,
    lambda kind, attr, a: a[..., attr[0] : attr[0] + attr[1]],
    attr="(start, lanes)",
)
_row("transpose", _turned, _transposed, attr="(sizes, order): digits of lanes, in another order")
_row("tile", _many, lambda kind, n, a: np.tile(a, n), attr="n: the whole value n times")
_row("repeat", _many, lambda kind, n, a: np.repeat(a, n, axis=-1), attr="n: each lane n times")
_row("lookup", _lookup, _gathered, doc="lookup(table, index): lane i is table[index[i]]")
_row("reinterpret", _reinterpret, _reinterpreted, attr="type: the same bits, little endian")

# Rows: calls --------------------------------------------------------------------------------

_row("call", _typed, None, attr="the instruction's name; its meaning is its body")
