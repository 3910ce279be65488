"""The words of instruction bodies: types for annotations, operators for expressions.

    from ..vocabulary import cast, group_sum, i32

Types of vectors are words of the machine that has them (``dsp/declare.py``).

A body is parsed, not run, but type checkers read it as Python: every type name is an alias of
``Expr`` there, and every operator takes and gives ``Expr``. ``declare.py`` turns type names into
types and calls the operators below by name.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from types import FunctionType
from typing import Any, TypeAlias

from ..tir import expr as tir
from ..tir.expr import Expr, make, written
from ..tir.ops import *  # noqa: F403  (rows are words)
from ..tir.ops import OPS
from ..tir.types import Type, vector
from ..tir.types import i16 as i16_type

# Registers of 32 and 64 bits: one value or packed bytes and halfwords.
i8: TypeAlias = Expr
u8: TypeAlias = Expr
i16: TypeAlias = Expr
u16: TypeAlias = Expr
i32: TypeAlias = Expr
u32: TypeAlias = Expr
i64: TypeAlias = Expr
u64: TypeAlias = Expr
i8x4: TypeAlias = Expr
u8x4: TypeAlias = Expr
i16x2: TypeAlias = Expr
u16x2: TypeAlias = Expr
i32x2: TypeAlias = Expr
boolx1: TypeAlias = Expr

# Immediates: signed (s) or unsigned (u), with their number of bits; i32 values in bodies.
imm_u1: TypeAlias = Expr
imm_u2: TypeAlias = Expr
imm_u3: TypeAlias = Expr
imm_u5: TypeAlias = Expr
imm_u6: TypeAlias = Expr
imm_u8: TypeAlias = Expr
imm_u9: TypeAlias = Expr
imm_u16: TypeAlias = Expr
imm_s8: TypeAlias = Expr
imm_s10: TypeAlias = Expr
imm_s16: TypeAlias = Expr
imm_s32: TypeAlias = Expr
imm_1_63: TypeAlias = Expr  # from 1 to 63

# Stand for the types that each row of a family gives.
T: TypeAlias = Expr
N: TypeAlias = Expr
U: TypeAlias = Expr
W: TypeAlias = Expr
Q: TypeAlias = Expr
H: TypeAlias = Expr
E: TypeAlias = Expr
R: TypeAlias = Expr  # a scalar register with a constant
K: int = 0  # stand for the numbers that each row of a family gives
S: int = 0
B: int = 0


def const(value: int, kind: Any) -> Expr:
    """``value`` in every lane of ``kind``."""
    return tir.const(value, kind)


def memory() -> Expr:
    """The result of a load: a row of memory has no body."""
    raise AssertionError("bodies are parsed, not run")


def part(value: Expr, index: int, ways: int) -> Expr:
    """Lanes index, index + ways, ...: ``part(x, 0, 2)`` are the even lanes."""
    return make("deinterleave", value, attr=(index, ways))


def even(value: Expr) -> Expr:
    return part(value, 0, 2)


def odd(value: Expr) -> Expr:
    return part(value, 1, 2)


def split(value: Expr) -> Expr:
    """As the low and the high register of a pair: even lanes, then odd lanes."""
    return make("concat", even(value), odd(value))


def _lanes(value: Expr, start: int, lanes: int) -> Expr:
    return make("slice", value, attr=(start, lanes))


def low(value: Expr) -> Expr:
    """The low half: the first register of a pair."""
    return _lanes(value, 0, value.type.lanes // 2)


def high(value: Expr) -> Expr:
    """The high half: the second register of a pair."""
    return _lanes(value, value.type.lanes // 2, value.type.lanes // 2)


def exchange(a: Expr, b: Expr, size: int) -> Expr:
    """Of the pieces of ``size`` lanes, the even ones of ``b`` and ``a`` in turns in the low
    register, the odd ones in the high one."""
    pieces = b.type.lanes // (2 * size)
    return make("transpose", make("concat", b, a), attr=((2, pieces, 2, size), (2, 1, 0, 3)))


def widen(value: Expr) -> Expr:
    """Each lane in twice the bits, of the same sign."""
    return tir.cast(Type(value.type.kind, value.type.bits * 2), value)


def lane(value: Expr, index: int) -> Expr:
    return _lanes(value, index, 1)


def iota(kind: Any) -> Expr:
    """The lanes' numbers 0, 1, 2, ... as a constant of ``kind``."""
    lanes = range(kind.lanes)
    return make("concat", *(tir.const(index, kind.element) for index in lanes))


def rotate(value: Expr, by: Expr) -> Expr:
    """Lane i is lane ``i + by`` of ``value``, modulo its lanes; ``by`` is a scalar."""
    lanes = value.type.lanes
    index = make("tile", tir.cast(i16_type, by), attr=lanes)
    return make("lookup", value, iota(vector(i16_type, lanes)) + index & (lanes - 1))


def splat(value: Expr, like: Expr) -> Expr:
    """A scalar, low bits or extended, in every lane of the type of ``like``."""
    return make("tile", tir.cast(like.type.element, value), attr=like.type.lanes)


def _reinterpret(kind: Type, value: Expr) -> Expr:
    return value if value.type == kind else written("reinterpret", kind, value)


def operators() -> dict[str, Callable[..., Hashable]]:
    """Every word that a body may call, by name: rows of the op table, and functions above."""
    own = {name: value for name, value in globals().items()
           if isinstance(value, FunctionType) and value.__module__ == __name__}  # fmt: skip
    words = {op.word: partial(written, op.name) for op in OPS.values() if op.meaning}
    return {**words, **own, "reinterpret": _reinterpret}
