"""Which operands an operator takes, found by asking its row."""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from itertools import product

import numpy as np

from dovetail.tir.ops import OPS
from dovetail.tir.row import Lanes, Op
from dovetail.tir.types import Type, boolean, f32, i8, i16, i32, u8, u16, u32, vector

INTEGERS = (u8, i8, u16, i16, u32, i32)
KINDS = (*INTEGERS, boolean, f32)
CASTS = {"cast", "sat_cast"}
LANES = 4
ATTRS = {op.name: op.example(LANES) for op in OPS.values() if op.example}


def plain(kind: Type, computed: Container[str]) -> list[str]:
    """The operators of one type, lane by lane, of those that rows compute."""
    lanewise = [op for op in OPS.values() if op.lanes is Lanes.SAME and op.proven and not op.counts]
    return [op.name for op in lanewise if op.name in computed and _keeps(op, kind)]


def _keeps(op: Op, kind: Type) -> bool:
    try:
        return op.type_of((kind,) * op.arity, None) == kind
    except TypeError:
        return False


def shifting(computed: Container[str]) -> list[str]:
    """The operators of a value and a count of bits that rows compute."""
    return [op.name for op in OPS.values() if op.name in computed and op.counts == (1,)]


@cache
def operand_types(op: str) -> list[tuple[Type, ...]]:
    """Elements that ``op`` takes: those of which it can compute something."""
    arity = OPS[op].arity
    return [kinds for kinds in product(KINDS, repeat=max(arity, 1)) if takes(op, kinds)]


def takes(op: str, kinds: tuple[Type, ...]) -> bool:
    ones, attr = [np.ones(LANES, kind.numpy) for kind in kinds], ATTRS.get(op)
    wide = tuple(vector(kind, LANES) for kind in kinds)
    try:
        result = i16 if op in CASTS else OPS[op].type_of(wide, attr)
        OPS[op].value(result, attr, *ones)
    except (TypeError, ValueError, IndexError):
        return False
    return True
