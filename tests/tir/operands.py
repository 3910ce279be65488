"""Which operands an operator takes, found by asking its row."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from dovetail.tir.ops import OPS
from dovetail.tir.rewrite import proofs
from dovetail.tir.types import Type, boolean, f32, i8, i16, i32, u8, u16, u32, vector

INTEGERS = (u8, i8, u16, i16, u32, i32)
KINDS = (*INTEGERS, boolean, f32)
CASTS = {"cast", "sat_cast"}
ATTRS = {**proofs.ATTRS, "transpose": ((2, 2), (1, 0))}  # of four lanes


@cache
def operand_types(op: str) -> list[tuple[Type, ...]]:
    """Elements that ``op`` takes: those of which it can compute something."""
    taken = ([k for k in product(KINDS, repeat=n) if takes(op, k)] for n in (1, 2, 3))
    return next(filter(None, taken))


def takes(op: str, kinds: tuple[Type, ...]) -> bool:
    ones, attr = [np.ones(4, kind.numpy) for kind in kinds], ATTRS.get(op)
    wide = tuple(vector(kind, 4) for kind in kinds)
    try:
        result = i16 if op in CASTS else OPS[op].type_of(wide, attr)
        meaning = OPS[op].meaning
        assert meaning is not None
        meaning(result, attr, *ones)
    except (TypeError, ValueError, IndexError):
        return False
    return True
