"""Scalar values live in 32-bit registers, extended; narrow arithmetic is done there and cut back.

cast(u8, clamp(x, 0, 255))  of i32 x     stays a clamp: it is in range
cast(u8, x)                              becomes x & 255
sat_cast(u8, x)                          becomes clamp(x, 0, 255)
"""

from __future__ import annotations

from ..tir.expr import Expr, clamp, const, make, rebuild
from ..tir.ops import OPS
from ..tir.types import Type, i32, i64, u32

_SATURATING = {"sat_add": "add", "sat_sub": "sub"}
_WIDENING = {"widening_add": "add", "widening_sub": "sub", "widening_mul": "mul"}
_HALVING = {"halving_add": "add", "rounding_halving_add": "add", "halving_sub": "sub"}
_LONG = (*_SATURATING, *_WIDENING, *_HALVING)  # on words they are done in 64 bits
_NARROW = ("mul_shr", "rounding_mul_shr")  # saturate to their type
_WRAPPING = {op.name for op in OPS.values() if op.wraps}  # may leave the range of a narrow type
_SIGNLESS = {op.name for op in OPS.values() if op.from_below}  # the same for all words
# Low bits come from low bits of operands of the same type alone.
_FROM_BELOW = {name for name in _SIGNLESS if OPS[name].arity == 2 and not OPS[name].counts}


class Promoter:
    """Promotes the expressions of a region, each shared expression once."""

    def __init__(self) -> None:
        self.done: dict[Expr, Expr] = {}
        self.lows: dict[Expr, Expr] = {}

    def __call__(self, root: Expr) -> Expr:
        """``root`` with its scalar parts as i32, i64 and bool values; vectors stay as they are."""
        found = self.done.get(root)
        if found is None:
            args = tuple([self(arg) for arg in root.args])
            fresh = rebuild(root, args)
            changed = _promoted(fresh)
            found = self.done[root] = fresh if changed is None else changed
        return found

    def low(self, root: Expr) -> Expr:
        """As a call, but of a narrow scalar only the bits of its type are right: no cuts."""
        kind = root.type
        if root.op not in _FROM_BELOW or kind.lanes != 1 or kind.bits >= 32:
            return self(root)
        found = self.lows.get(root)
        if found is None:
            args = [_wide(self.low(arg)) for arg in root.args]
            found = self.lows[root] = make(root.op, *args)
        return found


def _promoted(node: Expr) -> Expr | None:
    kind = node.type
    if kind.lanes != 1 or not node.args:
        return _leaf(node)
    if node.op in ("call", "stored") or any(arg.type.lanes != 1 for arg in node.args):
        return None
    if u32 in (kind, *(arg.type for arg in node.args)) and (word := _unsigned(node)) is not None:
        return word
    if node.op == "cast":
        return _cut(_wide(node.args[0]), kind)
    if node.op == "sat_cast":
        return _saturated(_wide(node.args[0]), kind)
    value = _computed(node, [_wide(arg) for arg in node.args])
    return _cut(value, kind) if node.op in _WRAPPING and kind.is_int else value


def _unsigned(node: Expr) -> Expr | None:
    """Operations on words without sign by those on words with one, where they are the same."""
    args = [_signed(arg) if arg.type == u32 else arg for arg in node.args]
    if node.op in _SIGNLESS and node.type == u32:
        return Expr("cast", u32, (make(node.op, *args),))
    if node.op == "eq":
        return make("eq", *args)
    if node.op == "abs":
        return node.args[0]
    return _long(node.args[0]) if node.op == "cast" and node.type == i64 else None


def _long(word: Expr) -> Expr:
    """A word in 64 bits; one without sign is the one with sign and 2**32 times its highest bit."""
    if word.type != u32:
        return Expr("cast", i64, (word,))
    high = _signed(word >> const(31, u32))
    low = Expr("cast", i64, (_signed(word),))
    return low + (Expr("cast", i64, (high,)) << const(32, i64))


def _signed(word: Expr) -> Expr:
    """The bits of a word as one with sign."""
    if word.is_const:
        return const(word.attr, i32)
    inner = word.args[0] if word.op == "cast" else word
    return inner if inner.type == i32 else Expr("cast", i32, (word,))


def _computed(node: Expr, args: list[Expr]) -> Expr:
    """The operation on registers; where a narrow one would wrap, the bits above are not right."""
    kind, op = node.type, node.op
    if kind.bits == 64 and op in (*_SATURATING, *_HALVING):
        return node  # which no row computes
    if op in _LONG and kind.bits == (64 if op in _WIDENING else 32):
        args = [_long(arg) for arg in args]
    if op in _SATURATING:
        return _saturated(make(_SATURATING[op], *args), kind)
    if op in _WIDENING:
        value = make(_WIDENING[op], *args)
        return Expr("cast", u32, (value,)) if kind == u32 else value
    if op in _HALVING:
        total = make(_HALVING[op], *args)
        return _word((total + 1 if op == "rounding_halving_add" else total) >> 1)
    if op == "abs_diff":
        a, b = args
        if kind.bits < 32:
            return make("max", a - b, b - a)
        return _cut(make("select", b < a, a - b, b - a), kind)
    if op == "count_leading_zeros":  # those of the word, but for the bits above
        zeros = Expr("cast", i32, (make(op, Expr("cast", u32, (_signed(args[0]),))),))
        return Expr("cast", u32, (zeros,)) if kind == u32 else zeros - (32 - kind.bits)
    if op in ("shl", "shr") and kind.bits < 32:
        args[1] = _masked(args[1], kind.bits - 1)
    value = make(op, *args, attr=node.attr)
    return clamp(value, kind.low, kind.high) if op in _NARROW and kind.bits < 32 else value


def _masked(count: Expr, mask: int) -> Expr:
    """A shift's count modulo the bits of the shifted value: ``mask`` is the bits less one."""
    return const(int(count.attr) & mask, count.type) if count.is_const else count & mask


def _saturated(value: Expr, kind: Type) -> Expr:
    """The nearest value of ``kind``."""
    if value.type.bits == 64 and kind == i32:
        return Expr("sat_cast", i32, (value,))
    low, high = max(kind.low, value.type.low), min(kind.high, value.type.high)
    if low > value.type.low or high == value.type.high:
        value = make("max", make("min", value, const(high, value.type)), const(low, value.type))
    else:
        value = make("min", value, const(high, value.type))
    return _cut(value, kind if kind.bits == 32 else i32)


def _word(value: Expr) -> Expr:
    return Expr("cast", i32, (value,)) if value.type.bits == 64 else value


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


def _cut(value: Expr, kind: Type) -> Expr:
    """``value`` reduced to the range of ``kind``."""
    if value.type == kind:
        return value
    if kind.bits >= 32:
        return Expr("cast", kind, (value,))
    if value.type != i32:
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
        return kind.holds(value.args[0].type)
    if value.op == "and_" and value.args[1].is_const:
        return 0 <= int(value.args[1].attr) <= kind.high
    return bool(value.is_const and kind.low <= value.attr <= kind.high)
