"""The meaning of operators in bit-vector logic, for the prover: a value is a list of lanes.

The rows of ``tir/ops.py`` are run on terms of z3: here stands their arithmetic, how many bits exact
results take, and products of words, which are too hard for it, as variables within their bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import z3

from ..expr import Expr, walk
from ..ops import OPS
from ..row import Beyond, Lanes, Op
from ..types import Type

Term = Any  # z3 is untyped
Terms = list[Term]
LONG = 64  # bits of an exact value in NumPy


class Products:
    """Products of two words as fresh variables: equal factors give equal ones, within bounds."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], Term] = {}
        self.kept: list[Term] = []  # terms whose ids are used
        self.facts: list[Term] = []

    def of(self, a: Term, b: Term, signs: tuple[bool, bool]) -> Term:
        """The product, in 64 bits, of two terms that hold words with or without a sign."""
        a, b = z3.simplify(a), z3.simplify(b)
        if z3.is_bv_value(a) and z3.is_bv_value(b):
            return a * b
        key = a.get_id(), b.get_id()
        if key not in self.known:
            product = z3.BitVec(f"product{len(self.known)}", LONG)
            self.known[key] = product
            self.kept += [a, b]
            ends = [(-(1 << 31), (1 << 31) - 1) if sign else (0, (1 << 32) - 1) for sign in signs]
            self.facts += _within(product, [x * y for x in ends[0] for y in ends[1]], any(signs))
            if all(signs):
                lows = z3.And(a == ends[0][0], b == ends[1][0])
                self.facts.append(z3.Implies(product == 1 << 62, lows))
        return self.known[key]


def _within(term: Term, values: Sequence[int], signed: bool) -> list[Term]:
    low, high = min(values), max(values)
    return [term >= low, term <= high] if signed else [z3.ULE(term, high)]


def resized(term: Term, kind: Type, bits: int) -> Term:
    """A value of ``kind`` in ``bits`` bits, exact where it grows."""
    if kind.kind == "b":
        return z3.If(term, z3.BitVecVal(1, bits), z3.BitVecVal(0, bits))
    if bits <= kind.bits:
        return z3.Extract(bits - 1, 0, term) if bits < kind.bits else term
    return _extended(term, kind.signed, bits)


def _extended(term: Term, signed: bool, bits: int) -> Term:
    more = bits - term.size()
    return z3.SignExt(more, term) if signed else z3.ZeroExt(more, term)


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


def saturated(term: Term, kind: Type) -> Term:
    """A signed exact value brought to the nearest of ``kind``."""
    low, high = z3.BitVecVal(kind.low, term.size()), z3.BitVecVal(kind.high, term.size())
    inside = z3.If(term < low, low, z3.If(term > high, high, term))
    return z3.Extract(kind.bits - 1, 0, inside)


# The arithmetic of meanings -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Logic:
    """``Arithmetic`` on terms of ``bits`` that have a sign or have none."""

    signed: bool
    bits: int
    products: Products

    def where(self, condition: Term, yes: Term, no: Term) -> Term:
        terms = [z3.BitVecVal(v, self.bits) if isinstance(v, int) else v for v in (yes, no)]
        return z3.If(condition, *terms)

    def less(self, a: Term, b: Term) -> Term:
        return a < b if self.signed else z3.ULT(a, b)

    def at_most(self, a: Term, b: Term) -> Term:
        return a <= b if self.signed else z3.ULE(a, b)

    def least(self, a: Term, b: Term) -> Term:
        return z3.If(self.less(a, b), a, b)

    def most(self, a: Term, b: Term) -> Term:
        return z3.If(self.less(a, b), b, a)

    def size(self, a: Term) -> Term:
        return z3.If(a < 0, -a, a) if self.signed else a

    def right(self, a: Term, by: Term) -> Term:
        return a >> by if self.signed else z3.LShR(a, by)

    def floordiv(self, a: Term, b: Term) -> Term:
        if not self.signed:
            return z3.If(b == 0, 0, z3.UDiv(a, b))
        rest = z3.SRem(a, b)
        down = z3.And(rest != 0, (rest ^ b) < 0)
        return z3.If(b == 0, 0, z3.If(down, a / b - 1, a / b))

    def mod(self, a: Term, b: Term) -> Term:
        return z3.If(b == 0, 0, a % b if self.signed else z3.URem(a, b))

    def times(self, a: Term, b: Term) -> Term:
        """The low bits of a product, multiplied in no more bits than it needs: of terms that were
        extended, what was there before; words in long ones are not multiplied."""
        bits = a.size()
        (x, x_signed), (y, y_signed) = _core(a), _core(b)
        needed = x.size() + y.size()
        if x.size() == y.size() == 32 and bits >= LONG:
            x, y = _extended(x, x_signed, LONG), _extended(y, y_signed, LONG)
            return _extended(self.products.of(x, y, (x_signed, y_signed)), True, bits)
        if needed >= bits:
            return a * b
        product = _extended(x, x_signed, needed) * _extended(y, y_signed, needed)
        return _extended(product, x_signed or y_signed, bits)


# Expressions --------------------------------------------------------------------------------


def meaning(root: Expr, env: dict[Expr, Terms], products: Products) -> Terms:
    """The lanes of ``root`` over the wildcards' terms."""
    done: dict[Expr, Terms] = {}
    for node in walk(root):
        done[node] = _node(node, [done[arg] for arg in node.args], env, products)
    return done[root]


def _node(node: Expr, args: list[Terms], env: dict[Expr, Terms], products: Products) -> Terms:
    kind = node.type
    if node.op == "var":
        return env[node]
    if node.op == "const":
        value = z3.BoolVal(node.attr) if kind.kind == "b" else z3.BitVecVal(node.attr, kind.bits)
        return [value] * kind.lanes
    op = OPS[node.op]
    if op.lanes is not Lanes.SAME:
        lanes: Terms = op.value(kind, node.attr, *map(_array, args)).tolist()
        return lanes
    kinds = [arg.type for arg in node.args]
    return [_lane(op, kind, lane, kinds, products) for lane in zip(*args, strict=True)]


def _array(lanes: Terms) -> Any:
    """Lanes as an array that NumPy moves and sums as any other."""
    array = np.empty(len(lanes), object)
    array[:] = lanes
    return array


def _lane(
    op: Op, kind: Type, args: Sequence[Term], kinds: Sequence[Type], products: Products
) -> Term:
    in_place, last = op.beyond is Beyond.IN_PLACE, kinds[-1]
    bits = last.bits if in_place else exact_bits(kinds, kind)
    function = op.over(Logic(not in_place or last.signed, bits, products))
    first = (kind,) if "kind" in op.wants else ()
    if in_place:
        terms = [term & (k.bits - 1) if at in op.counts else term
                 for at, (term, k) in enumerate(zip(args, kinds, strict=True))]  # fmt: skip
        found = function(*first, *terms)
        if kind.kind == "b":
            return found if z3.is_bool(found) else found != 0
        return resized(found, last, kind.bits)
    found = function(*first, *(resized(term, k, bits) for term, k in zip(args, kinds, strict=True)))
    if op.beyond is Beyond.SATURATES:
        return saturated(found, kind)
    return z3.Extract(kind.bits - 1, 0, found)


def exact_bits(kinds: Sequence[Type], kind: Type) -> int:
    """Bits that hold what is computed exactly, with a sign."""
    bits = max(*(2 * k.bits for k in kinds), kind.bits) + 2
    return min(bits, LONG) if all(k.bits <= 32 for k in kinds) else bits
