"""The op table: one row an operator of the tensor IR, a function whose body is its meaning.

Three shelves: plain arithmetic, the fixed-point vocabulary of DSPs, and ``call`` of instructions.
Integers wrap; a fixed-point operator computes exactly and then rounds or saturates as it says.
Everything else that knows operators (script, interpreter, intervals, prover) reads these rows; the
LLVM lowering alone is written apart (``target/llvm_ops.py``), and checked against them.

A value of ``lanes`` lanes is an array whose last axis is the lanes; leading axes are whole loops
that the interpreter evaluates at once, so a row's meaning may use only ``[..., lane]`` indexing.
``tir/row.py`` says what a row holds, ``tir/type_rules.py`` what types it gives.
"""

from __future__ import annotations

import numpy as np

from . import intervals
from . import type_rules as rules
from .arithmetic import Arithmetic, V, Value, rounded_shift
from .row import OPS as OPS
from .row import Beyond, Lanes, leaf, moves, row
from .row import with_lanes as with_lanes
from .types import Type

_WRAPS, _SATURATES = Beyond.WRAPS, Beyond.SATURATES

# Leaves, memory and calls -------------------------------------------------------------------

leaf("const", "value")
leaf("var", "name")
leaf("hole", "name and interval")
leaf("load", "buffer")
call = leaf("call", "the instruction's name; its meaning is its body")

# Conversions --------------------------------------------------------------------------------


@row(rules.given, rises="+")
def cast(a: V) -> V:
    """The low bits; floats round toward zero."""
    return a


@row(rules.given, _SATURATES, rises="+")
def sat_cast(a: V) -> V:
    """The nearest value; floats round to even."""
    return a


# Plain arithmetic ---------------------------------------------------------------------------


@row(rules.same, rises="++", symbol="+", commutes=True, neutral=lambda _: 0, from_below=True)
def add(a: V, b: V) -> V:
    return a + b


@row(rules.same, rises="+-", symbol="-", from_below=True)
def sub(a: V, b: V) -> V:
    return a - b


@row(rules.same, rises="**", symbol="*", commutes=True, neutral=lambda _: 1, from_below=True)
def mul(of: Arithmetic, a: V, b: V) -> V:
    return of.times(a, b)


@row(rules.same_int, bound=intervals.floordiv, symbol="//")
def floordiv(of: Arithmetic, a: V, b: V) -> V:
    return of.floordiv(a, b)


@row(rules.same_int, bound=intervals.mod, symbol="%")
def mod(of: Arithmetic, a: V, b: V) -> V:
    return of.mod(a, b)


@row(rules.same, name="min", rises="++", commutes=True, neutral=lambda kind: kind.high)
def minimum(of: Arithmetic, a: V, b: V) -> V:
    return of.least(a, b)


@row(rules.same, name="max", rises="++", commutes=True, neutral=lambda kind: kind.low)
def maximum(of: Arithmetic, a: V, b: V) -> V:
    return of.most(a, b)


@row(rules.bits, bound=intervals.common_bits, symbol="&", commutes=True,
     neutral=lambda kind: -1 if kind.signed else kind.high, from_below=True)  # fmt: skip
def and_(a: V, b: V) -> V:
    return a & b


@row(rules.bits, bound=intervals.either_bits, symbol="|", commutes=True, neutral=lambda _: 0,
     from_below=True)  # fmt: skip
def or_(a: V, b: V) -> V:
    return a | b


@row(rules.bits, bound=intervals.other_bits, symbol="^", commutes=True, neutral=lambda _: 0,
     from_below=True)  # fmt: skip
def xor(a: V, b: V) -> V:
    return a ^ b


@row(rules.same_int, rises="**", symbol="<<", from_below=True)
def shl(a: V, by: V) -> V:
    return a << by


@row(rules.same_int, rises="**", symbol=">>")
def shr(of: Arithmetic, a: V, by: V) -> V:
    """Arithmetic on signed elements."""
    return of.right(a, by)


@row(rules.compared, name="eq", bound=intervals.equal, symbol="==", commutes=True)
def equal(a: V, b: V) -> V:
    return a == b


@row(rules.compared, rises="-+", symbol="<")
def lt(of: Arithmetic, a: V, b: V) -> V:
    return of.less(a, b)


@row(rules.compared, rises="-+", symbol="<=")
def le(of: Arithmetic, a: V, b: V) -> V:
    return of.at_most(a, b)


@row(rules.same, name="abs", bound=intervals.size)
def absolute(of: Arithmetic, a: V) -> V:
    return of.size(a)


@row(rules.same, proven=False)
def rint(of: Arithmetic, a: V) -> V:
    """The nearest integer, ties to even."""
    return of.rint(a)


@row(rules.unsigned, rises="-")
def count_leading_zeros(of: Arithmetic, kind: Type, a: V) -> V:
    """The zeros above the highest one; of 0, all bits."""
    return sum(of.where(of.less(a, 1 << bit), 1, 0) for bit in range(kind.bits))


@row(rules.selected, bound=intervals.selected, from_below=True)
def select(of: Arithmetic, condition: V, yes: V, no: V) -> V:
    return of.where(condition, yes, no)


# Fixed point --------------------------------------------------------------------------------


@row(rules.wider, _WRAPS, rises="++", commutes=True)
def widening_add(a: V, b: V) -> V:
    return a + b


@row(rules.wider_signed, _WRAPS, rises="+-")
def widening_sub(a: V, b: V) -> V:
    return a - b


@row(rules.wider, _WRAPS, rises="**")
def widening_mul(of: Arithmetic, a: V, b: V) -> V:
    """u8 * i8 -> i16; exact."""
    return of.times(a, b)


@row(rules.same_int, _SATURATES, rises="++", commutes=True)
def sat_add(a: V, b: V) -> V:
    return a + b


@row(rules.same_int, _SATURATES, rises="+-")
def sat_sub(a: V, b: V) -> V:
    return a - b


@row(rules.first_int, _SATURATES, rises="**")
def rounding_shr(of: Arithmetic, a: V, by: V) -> V:
    """(a + 2**(by-1)) >> by computed exactly; by = 0 gives a."""
    return rounded_shift(of, a, by)


@row(rules.first_int, _SATURATES, rises="***")
def mul_shr(of: Arithmetic, a: V, b: V, by: V) -> V:
    """floor(a*b / 2**by), saturated to a's type; |a|, |b| < 2**31 so the product fits int64."""
    return of.times(a, b) >> by


@row(rules.first_int, _SATURATES, rises="***")
def rounding_mul_shr(of: Arithmetic, a: V, b: V, by: V) -> V:
    """floor((a*b + 2**(by-1)) / 2**by), saturated to a's type: requantize single."""
    return rounded_shift(of, of.times(a, b), by)


@row(rules.same_int, _WRAPS, rises="++", commutes=True)
def halving_add(a: V, b: V) -> V:
    return (a + b) >> 1


@row(rules.same_int, _WRAPS, rises="++", commutes=True)
def rounding_halving_add(a: V, b: V) -> V:
    return (a + b + 1) >> 1


@row(rules.as_signed, _WRAPS, rises="+-")
def halving_sub(a: V, b: V) -> V:
    return (a - b) >> 1


@row(rules.as_unsigned, _WRAPS, bound=intervals.apart, commutes=True)
def abs_diff(of: Arithmetic, a: V, b: V) -> V:
    return of.size(a - b)


# Across lanes -------------------------------------------------------------------------------


@moves(rules.grouped, Lanes.ANY, attr="n: lanes summed into one", example=lambda lanes: 2,
       bound=intervals.times_lanes)  # fmt: skip
def group_sum(attr: int, a: Value) -> Value:
    groups = a.reshape(*a.shape[:-1], a.shape[-1] // attr, attr)
    total: Value = groups.sum(axis=-1, dtype=a.dtype)
    return total


@moves(rules.joined)
def interleave(*parts: Value) -> Value:
    """a0 b0 a1 b1 ... of two or more equal parts."""
    stacked = np.stack(np.broadcast_arrays(*parts), axis=-1)
    return stacked.reshape(*stacked.shape[:-2], -1)


@moves(rules.dealt, attr="(part, ways)", example=lambda lanes: (1, 2))
def deinterleave(attr: tuple[int, int], a: Value) -> Value:
    part, ways = attr
    return a[..., part::ways]


@moves(rules.joined)
def concat(*parts: Value) -> Value:
    shape = np.broadcast_shapes(*[part.shape[:-1] for part in parts])
    return np.concatenate([np.broadcast_to(p, (*shape, p.shape[-1])) for p in parts], axis=-1)


@moves(rules.sliced, attr="(start, lanes)", example=lambda lanes: (1, 2))
def slice(attr: tuple[int, int], a: Value) -> Value:
    start, lanes = attr
    return a[..., start : start + lanes]


@moves(rules.transposed, attr="(sizes, order): digits of lanes, in another order",
       example=lambda lanes: ((2, lanes // 2), (1, 0)))  # fmt: skip
def transpose(attr: tuple[tuple[int, ...], tuple[int, ...]], a: Value) -> Value:
    sizes, order = attr
    first = a.ndim - 1
    axes = (*range(first), *(first + digit for digit in order))
    return a.reshape(*a.shape[:-1], *sizes).transpose(axes).reshape(a.shape)


@moves(rules.copied, Lanes.COPIED, attr="n: the whole value n times", example=lambda lanes: 2)
def tile(attr: int, a: Value) -> Value:
    return np.tile(a, attr)


@moves(rules.copied, Lanes.COPIED, attr="n: each lane n times", example=lambda lanes: 2)
def repeat(attr: int, a: Value) -> Value:
    return np.repeat(a, attr, axis=-1)


@moves(rules.looked_up, Lanes.ANY, bound=intervals.first, proven=False)
def lookup(table: Value, index: Value) -> Value:
    """Lane i is table[index[i]]."""
    shape = np.broadcast_shapes(table.shape[:-1], index.shape[:-1])
    table = np.broadcast_to(table, (*shape, table.shape[-1]))
    index = np.broadcast_to(index, (*shape, index.shape[-1]))
    return np.take_along_axis(table, index.astype(np.int64, copy=False), axis=-1)


@moves(rules.reinterpreted, Lanes.ANY, attr="type: the same bits, little endian", bound=None,
       proven=False)  # fmt: skip
def reinterpret(kind: Type, a: Value) -> Value:
    return np.ascontiguousarray(a).view(kind.numpy)


# Families -----------------------------------------------------------------------------------

JOINING = tuple(op.name for op in OPS.values() if op.neutral is not None)  # in any order
FOLDS = tuple(name for name in JOINING if OPS[name].rises == "++")  # sums and extremes
