"""Type rules of the op table: the type that an operator gives for the types of its operands.

    >>> wider((u8, i8), None)
    i16

Each is called with the operands' types and the node's ``attr``; TypeError says what must hold.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .types import Type, boolean, vector

Types = tuple[Type, ...]


def _fail(rule: str, types: Types) -> TypeError:
    return TypeError(f"{rule}, but got {', '.join(map(str, types))}")


def given(types: Types, _: Any) -> Type:
    """Of nodes that are told their type."""
    raise TypeError("build constants, variables, casts and loads by their functions in tir/expr.py")


# Lane by lane -------------------------------------------------------------------------------


def same(types: Types, _: Any) -> Type:
    first = types[0]
    for kind in types:
        if kind is not first:
            raise _fail("the operands must have one type", types)
    return first


def same_int(types: Types, attr: Any) -> Type:
    if not types[0].is_int:
        raise _fail("the operands must be integers", types)
    return same(types, attr)


def unsigned(types: Types, attr: Any) -> Type:
    if types[0].kind != "u":
        raise _fail("the operands must be unsigned integers", types)
    return same(types, attr)


def bits(types: Types, attr: Any) -> Type:
    if types[0].kind == "f":
        raise _fail("the operands must be integers or bool", types)
    return same(types, attr)


def compared(types: Types, attr: Any) -> Type:
    return vector(boolean, same(types, attr).lanes)


def selected(types: Types, _: Any) -> Type:
    if types[0] != vector(boolean, types[1].lanes) or types[1] != types[2]:
        raise _fail("select takes bool lanes and two values of one type", types)
    return types[1]


def wider(types: Types, _: Any) -> Type:
    """Both operands' products and sums fit: twice the bits; signed unless both are unsigned."""
    a, b = types
    if not (a.is_int and b.is_int and a.bits == b.bits and a.lanes == b.lanes):
        raise _fail("widening takes two integers of the same width and lanes", types)
    return Type("u" if a.kind == b.kind == "u" else "i", a.bits * 2, a.lanes)


def wider_signed(types: Types, attr: Any) -> Type:
    return Type("i", wider(types, attr).bits, types[0].lanes)


def first_int(types: Types, _: Any) -> Type:
    if not all(kind.is_int and kind.lanes == types[0].lanes for kind in types):
        raise _fail("the operands must be integers of as many lanes", types)
    return types[0]


def as_unsigned(types: Types, attr: Any) -> Type:
    kind = same_int(types, attr)
    return Type("u", kind.bits, kind.lanes)


def as_signed(types: Types, attr: Any) -> Type:
    kind = same_int(types, attr)
    return Type("i", kind.bits, kind.lanes)


# Across lanes -------------------------------------------------------------------------------


def grouped(types: Types, n: int) -> Type:
    if types[0].lanes % n:
        raise _fail(f"group_sum: {n} must divide the lanes", types)
    return vector(types[0], types[0].lanes // n)


def copied(types: Types, n: int) -> Type:
    return vector(types[0], types[0].lanes * n)


def joined(types: Types, attr: Any) -> Type:
    return vector(same(types, attr), sum(kind.lanes for kind in types))


def transposed(types: Types, attr: tuple[tuple[int, ...], tuple[int, ...]]) -> Type:
    sizes, order = attr
    if prod(sizes) != types[0].lanes or sorted(order) != list(range(len(sizes))):
        raise _fail(f"transpose: sizes must multiply to the lanes, but got {sizes}", types)
    return types[0]


def dealt(types: Types, attr: tuple[int, int]) -> Type:
    part, ways = attr
    if types[0].lanes % ways or not 0 <= part < ways:
        raise _fail(f"deinterleave: part {part} of {ways} must exist", types)
    return vector(types[0], types[0].lanes // ways)


def sliced(types: Types, attr: tuple[int, int]) -> Type:
    start, lanes = attr
    if not 0 <= start <= start + lanes <= types[0].lanes:
        raise _fail(f"slice: lanes {start}..{start + lanes} must exist", types)
    return vector(types[0], lanes)


def looked_up(types: Types, _: Any) -> Type:
    return vector(types[0], types[1].lanes)


def reinterpreted(types: Types, target: Type) -> Type:
    kind = types[0]
    if kind.bits * kind.lanes != target.bits * target.lanes:
        raise _fail(f"reinterpret keeps all bits: {target}", types)
    return target
