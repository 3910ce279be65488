"""Scalar values live in 32-bit registers, extended; narrow arithmetic is done there and cut back.

cast(u8, clamp(x, 0, 255))  of i32 x     stays a clamp: it is in range
cast(u8, x)                              becomes x & 255
sat_cast(u8, x)                          becomes clamp(x, 0, 255)
"""

from __future__ import annotations

from ..tir.expr import Expr, clamp, const, make, rebuild
from ..tir.types import Type, i32, i64

_SATURATING = {"sat_add": "add", "sat_sub": "sub"}
_WIDENING = {"widening_add": "add", "widening_sub": "sub", "widening_mul": "mul"}


class Promoter:
    """Promotes the expressions of a region; what they share is done once."""

    def __init__(self) -> None:
        self.done: dict[Expr, Expr] = {}

    def __call__(self, root: Expr) -> Expr:
        """``root`` with its scalar parts as i32, i64 and bool values; vectors stay as they are."""
        found = self.done.get(root)
        if found is None:
            args = tuple([self(arg) for arg in root.args])
            fresh = rebuild(root, args)
            changed = _promoted(fresh)
            found = self.done[root] = fresh if changed is None else changed
        return found


def _promoted(node: Expr) -> Expr | None:
    kind = node.type
    if kind.lanes != 1 or not node.args:
        return _leaf(node)
    if node.op in ("call", "stored") or any(arg.type.lanes != 1 for arg in node.args):
        return None
    if node.op == "cast":
        return _cut(_wide(node.args[0]), kind)
    if node.op == "sat_cast":
        return clamp(_wide(node.args[0]), kind.low, kind.high)
    args = tuple(_wide(arg) for arg in node.args)
    if node.op in _SATURATING:
        return clamp(make(_SATURATING[node.op], *args), kind.low, kind.high)
    if node.op in _WIDENING:
        return make(_WIDENING[node.op], *args)
    if node.op in ("halving_add", "rounding_halving_add"):
        total = args[0] + args[1]
        return (total + 1 if node.op != "halving_add" else total) >> 1
    if node.op == "abs_diff":
        return make("max", args[0] - args[1], args[1] - args[0])
    return make(node.op, *args, attr=node.attr)


def _leaf(node: Expr) -> Expr | None:
    kind = node.type
    if kind.lanes != 1 or kind.bits >= 32 or kind.kind == "b":
        return None
    if node.op == "const":
        return const(int(node.attr), i32)
    return Expr("cast", i32, (node,)) if node.op == "fetch" else Expr(node.op, i32, (), node.attr)


def _wide(node: Expr) -> Expr:
    """A narrow leaf as the i32 value of its register."""
    if node.type.lanes == 1 and node.type.bits < 32 and node.type.kind in "iu":
        return Expr("cast", i32, (node,))
    return node


def _cut(value: Expr, kind: Type) -> Expr | None:
    """``value`` reduced to the range of ``kind``."""
    if kind.bits == 64 and value.type.bits == 32:
        return Expr("cast", i64, (value,))
    if kind.bits == 32:
        return Expr("cast", i32, (value,)) if value.type.bits == 64 else value
    if value.type.bits == 64:
        value = Expr("cast", i32, (value,))
    if _in_range(value, kind):
        return value
    if kind.kind == "u":
        return value & const(kind.high, i32)
    by = const(32 - kind.bits, i32)
    return (value << by) >> by


def _in_range(value: Expr, kind: Type) -> bool:
    """Whether a clamp, a load or a mask keeps the value within ``kind``."""
    if value.op == "max" and value.args[1].is_const and value.args[0].op == "min":
        low, high = value.args[1].attr, value.args[0].args[1]
        return bool(high.is_const and low >= kind.low and high.attr <= kind.high)
    if value.op == "cast" and value.args[0].op == "fetch":
        inner = value.args[0].type
        return inner.low >= kind.low and inner.high <= kind.high
    return bool(value.is_const and kind.low <= value.attr <= kind.high)
