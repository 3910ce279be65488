"""The meaning of operators in bit-vector logic, for the prover: a value is a list of lanes.

Written apart from the NumPy meanings of ``tir/ops.py`` and held to them by a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import z3

from ..expr import Expr, walk
from ..ops import OPS
from ..types import Type

Term = Any  # z3 is untyped
Lanes = list[Term]


class Products:
    """Wide products as fresh variables: equal factors give equal products, within bounds."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], Term] = {}
        self.kept: list[Term] = []  # terms whose ids are used
        self.facts: list[Term] = []

    def of(self, a: Term, b: Term, kinds: tuple[Type, Type]) -> Term:
        """The product of two terms of 64 bits that hold values of ``kinds``."""
        if kinds[0].bits < 32:
            return times(a, b, 64)
        key = a.get_id(), b.get_id()
        if key not in self.known:
            product = z3.BitVec(f"product{len(self.known)}", 64)
            self.known[key] = product
            self.kept += [a, b]
            top = 1 << 62
            lows = z3.And(a == kinds[0].low, b == kinds[1].low)
            self.facts += [product <= top, product >= -top, z3.Implies(product == top, lows)]
        return self.known[key]


def resized(term: Term, kind: Type, bits: int) -> Term:
    """A value of ``kind`` in ``bits`` bits, exact where it grows."""
    if kind.kind == "b":
        return z3.If(term, z3.BitVecVal(1, bits), z3.BitVecVal(0, bits))
    if bits <= kind.bits:
        return z3.Extract(bits - 1, 0, term) if bits < kind.bits else term
    more = bits - kind.bits
    return z3.SignExt(more, term) if kind.signed else z3.ZeroExt(more, term)


def times(a: Term, b: Term, bits: int) -> Term:
    """The low ``bits`` of a product of signed values, multiplied in no more bits than it needs:
    of terms that were extended, what was there before."""
    (x, x_signed), (y, y_signed) = _core(a), _core(b)
    needed = x.size() + y.size()
    if needed >= bits:
        return z3.Extract(bits - 1, 0, a) * z3.Extract(bits - 1, 0, b)
    product = _extended(x, x_signed, needed) * _extended(y, y_signed, needed)
    return _extended(product, x_signed or y_signed, bits)


def _core(term: Term) -> tuple[Term, bool]:
    """What a signed term is an extension of, and whether that has a sign."""
    signed = True
    while (kind := term.decl().kind()) in (z3.Z3_OP_SIGN_EXT, z3.Z3_OP_ZERO_EXT):
        if not signed and kind == z3.Z3_OP_SIGN_EXT:
            break
        if term.size() > term.arg(0).size():
            signed = signed and kind == z3.Z3_OP_SIGN_EXT
        term = term.arg(0)
    return term, signed


def _extended(term: Term, signed: bool, bits: int) -> Term:
    more = bits - term.size()
    return z3.SignExt(more, term) if signed else z3.ZeroExt(more, term)


def saturated(term: Term, kind: Type) -> Term:
    """A signed exact value brought to the nearest of ``kind``."""
    low, high = z3.BitVecVal(kind.low, term.size()), z3.BitVecVal(kind.high, term.size())
    inside = z3.If(term < low, low, z3.If(term > high, high, term))
    return z3.Extract(kind.bits - 1, 0, inside)


def meaning(root: Expr, env: dict[Expr, Lanes], products: Products) -> Lanes:
    """The lanes of ``root`` over the wildcards' terms."""
    done: dict[Expr, Lanes] = {}
    for node in walk(root):
        done[node] = _node(node, [done[arg] for arg in node.args], env, products)
    return done[root]


def _node(node: Expr, args: list[Lanes], env: dict[Expr, Lanes], products: Products) -> Lanes:
    kind = node.type
    if node.op == "var":
        return env[node]
    if node.op == "const":
        value = z3.BoolVal(node.attr) if kind.kind == "b" else z3.BitVecVal(node.attr, kind.bits)
        return [value] * kind.lanes
    if node.op in MOVES:
        return MOVES[node.op](node, args)
    kinds = [arg.type for arg in node.args]
    return [_lane(node, list(lane), kinds, products) for lane in zip(*args, strict=True)]


# Lanes that move ----------------------------------------------------------------------------


def _group_sum(node: Expr, args: list[Lanes]) -> Lanes:
    lanes, n = args[0], node.attr
    return [sum(lanes[i + 1 : i + n], lanes[i]) for i in range(0, len(lanes), n)]


def _order(node: Expr) -> list[int]:
    meaning = OPS["transpose"].meaning
    assert meaning is not None
    return [int(lane) for lane in meaning(node.type, node.attr, np.arange(node.type.lanes))]


MOVES: dict[str, Callable[[Expr, list[Lanes]], Lanes]] = {
    "group_sum": _group_sum,
    "interleave": lambda node, args: [lane for row in zip(*args, strict=True) for lane in row],
    "concat": lambda node, args: [lane for part in args for lane in part],
    "deinterleave": lambda node, args: args[0][node.attr[0] :: node.attr[1]],
    "transpose": lambda node, args: [args[0][lane] for lane in _order(node)],
    "slice": lambda node, args: args[0][node.attr[0] : node.attr[0] + node.attr[1]],
    "tile": lambda node, args: args[0] * node.attr,
    "repeat": lambda node, args: [lane for lane in args[0] for _ in range(node.attr)],
}

# One lane -----------------------------------------------------------------------------------


def _lane(node: Expr, args: Lanes, kinds: list[Type], products: Products) -> Term:
    op, kind = node.op, node.type
    if op in PLAIN:
        return PLAIN[op](args, kinds[0])
    if op == "cast":
        return resized(args[0], kinds[0], kind.bits)
    if op in ("mul_shr", "rounding_mul_shr"):
        return _product_shift(op, args, kinds, kind, products)
    if op == "mul" and kind.bits == 64:
        return products.of(*_exact_factors(node, args), (kind, kind))
    bits = max(2 * max(k.bits for k in kinds), kind.bits) + 2
    wide = [resized(arg, k, bits) for arg, k in zip(args, kinds, strict=True)]
    if op == "widening_mul" and kind.bits == 64:
        factors = [resized(arg, k, 64) for arg, k in zip(args, kinds, strict=True)]
        return products.of(factors[0], factors[1], (kinds[0], kinds[1]))
    if op in ("mul", "widening_mul"):
        return times(wide[0], wide[1], kind.bits)
    if op in WRAPPED:
        return z3.Extract(kind.bits - 1, 0, WRAPPED[op](wide))
    return saturated(SATURATED[op](wide), kind)


def _exact_factors(node: Expr, args: Lanes) -> tuple[Term, Term]:
    """Factors of an i64 product: 32-bit values that were cast."""
    assert all(arg.op == "cast" and arg.args[0].type.bits == 32 for arg in node.args)
    return args[0], args[1]


def _product_shift(op: str, args: Lanes, kinds: list[Type], kind: Type, products: Products) -> Term:
    a, b = (resized(arg, k, 64) for arg, k in zip(args[:2], kinds[:2], strict=True))
    product = products.of(a, b, (kinds[0], kinds[1]))
    by = resized(args[2], kinds[2], 64)
    return saturated(_rounded(product, by) if op.startswith("rounding") else product >> by, kind)


def _rounded(value: Term, by: Term) -> Term:
    last = z3.If(by > 0, (value >> (by - 1)) & 1, z3.BitVecVal(0, value.size()))
    return (value >> by) + last


def _shr(args: Lanes, kind: Type) -> Term:
    by = args[1] & (kind.bits - 1)
    return args[0] >> by if kind.signed else z3.LShR(args[0], by)


def _less(args: Lanes, kind: Type) -> Term:
    return args[0] < args[1] if kind.signed else z3.ULT(args[0], args[1])


def _at_most(args: Lanes, kind: Type) -> Term:
    return args[0] <= args[1] if kind.signed else z3.ULE(args[0], args[1])


def _bits(on_bool: Callable[..., Term], on_bits: Callable[..., Term]) -> Callable[..., Term]:
    return lambda args, kind: (on_bool if kind.kind == "b" else on_bits)(*args)


PLAIN: dict[str, Callable[[Lanes, Type], Term]] = {
    "add": lambda args, _: args[0] + args[1],
    "sub": lambda args, _: args[0] - args[1],
    "min": lambda args, kind: z3.If(_less(args, kind), args[0], args[1]),
    "max": lambda args, kind: z3.If(_less(args, kind), args[1], args[0]),
    "and_": _bits(z3.And, lambda a, b: a & b),
    "or_": _bits(z3.Or, lambda a, b: a | b),
    "xor": _bits(z3.Xor, lambda a, b: a ^ b),
    "shl": lambda args, kind: args[0] << (args[1] & (kind.bits - 1)),
    "shr": _shr,
    "eq": lambda args, _: args[0] == args[1],
    "lt": _less,
    "le": _at_most,
    "abs": lambda args, kind: z3.If(args[0] < 0, -args[0], args[0]) if kind.signed else args[0],
    "select": lambda args, _: z3.If(args[0], args[1], args[2]),
}
WRAPPED: dict[str, Callable[[Lanes], Term]] = {
    "widening_add": lambda args: args[0] + args[1],
    "widening_sub": lambda args: args[0] - args[1],
    "halving_add": lambda args: (args[0] + args[1]) >> 1,
    "rounding_halving_add": lambda args: (args[0] + args[1] + 1) >> 1,
    "halving_sub": lambda args: (args[0] - args[1]) >> 1,
    "abs_diff": lambda args: z3.If(args[0] < args[1], args[1] - args[0], args[0] - args[1]),
}
SATURATED: dict[str, Callable[[Lanes], Term]] = {
    "sat_cast": lambda args: args[0],
    "sat_add": lambda args: args[0] + args[1],
    "sat_sub": lambda args: args[0] - args[1],
    "rounding_shr": lambda args: _rounded(args[0], args[1]),
}
