"""Instruction selection: expressions of register size are covered by the instruction table.

Each row's body is a pattern; a node is covered by the row that takes in most of the expression
below it (GCC's combiner asks the same question: do these operations together make one
instruction?). A node with several users stays a value of its own, unless it has no register form.

    acc + group_sum(cast(i32, w) * cast(i32, tile(x, 32)), 4)     is     vrmpyub_acc(acc, w, x)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..tir.expr import Expr, const, free_vars, make, walk
from ..tir.ops import OPS, Value
from ..tir.types import Type, i32, i64
from .instruction import Instruction, Kind, Register, register_class

Bindings = dict[str, Expr]


@dataclass(frozen=True, slots=True)
class Cover:
    """A node as one instruction: ``operands`` by the row's parameters; ``inside`` counts the
    operators that the instruction does in one."""

    row: Instruction
    operands: tuple[Expr, ...]
    inside: int


@dataclass(frozen=True, slots=True)
class Expansion:
    """A node of the integer contract written in smaller steps: ``rewrite`` gives None if it does
    not apply. Which steps are equal, and why, stands at each function."""

    op: str
    rewrite: Callable[[Expr], Expr | None]
    early: bool = False  # before its users are known: they may combine with the last step


def has_register(kind: Type) -> bool:
    """Whether a value of this type can live in one register."""
    if kind.kind == "b":
        return True
    return kind.bits * kind.lanes in (8, 16, 32, 64, 1024, 2048)


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """A row with what matching asks of it again and again."""

    row: Instruction
    body: Expr
    loose: bool  # matches whatever the signs of lanes
    inside: int  # operators

    @staticmethod
    def of(row: Instruction, body: Expr) -> _Pattern:
        return _Pattern(row, body, _loose(row), sum(1 for node in walk(body) if node.args))


class Selector:
    """Finds covers in a table of rows; ``expansions`` apply where no row does."""

    def __init__(self, rows: Iterable[Instruction], expansions: Iterable[Expansion]) -> None:
        self._by_root: dict[tuple[str, Type], list[_Pattern]] = {}
        self._by_arms: dict[tuple[str, Type, tuple[str, ...]], list[_Pattern]] = {}
        self.by_name = {}
        for row in rows:
            self.by_name[row.name] = row
            if row.kind is Kind.COMPUTE and row.body is not None and row.body.op != "var":
                pattern = _Pattern.of(row, row.body)
                for kind in _kinds(pattern):
                    self._by_root.setdefault((row.body.op, kind), []).append(pattern)
        self.expansions: dict[str, list[Expansion]] = {}
        for expansion in expansions:
            self.expansions.setdefault(expansion.op, []).append(expansion)

    def cover(self, node: Expr, users: Callable[[Expr], int]) -> Cover | None:
        """The best row for ``node``; ``users`` counts the users that a value has (0: it is none
        that could be shared)."""
        if node.op == "call":
            return Cover(self.by_name[str(node.attr)], node.args, 1)
        best: Cover | None = None
        for pattern in self._patterns(node):
            found = self._match_row(pattern, node, users)
            if found is not None and (best is None or _better(found, best)):
                best = found
        return best

    def _patterns(self, node: Expr) -> list[_Pattern]:
        """The rows whose root and the operators right below it agree with the node's."""
        arms = tuple([arg.op for arg in node.args])
        key = node.op, node.type, arms
        if key not in self._by_arms:
            rows = self._by_root.get((node.op, node.type), ())
            self._by_arms[key] = [row for row in rows if _may_match(row.body, arms)]
        return self._by_arms[key]

    def expand(self, node: Expr, early: bool = False) -> Expr | None:
        """``node`` in smaller steps, if an expansion applies; ``early`` asks only for such."""
        for expansion in self.expansions.get(node.op, ()):
            found = expansion.rewrite(node) if expansion.early or not early else None
            if found is not None:
                return found
        return None

    def _match_row(
        self, pattern: _Pattern, node: Expr, users: Callable[[Expr], int]
    ) -> Cover | None:
        row, matcher = pattern.row, _Matcher(pattern.loose)
        if not matcher.match(pattern.body, node):
            return None
        if any(users(inner) > len(edges) for inner, edges in matcher.inside.items()):
            return None  # somebody else needs a value that would vanish
        operands = []
        for parameter in row.parameters:
            bound = matcher.bindings.get(parameter.name)
            if bound is None and parameter.low == parameter.high != 0:
                bound = const(parameter.low, parameter.type)  # a register that the row fixes
            if bound is None:
                return None
            if parameter.register is Register.IMMEDIATE:
                if not bound.is_const or not parameter.low <= bound.attr <= parameter.high:
                    return None
            elif (
                not has_register(bound.type) or register_class(bound.type) is not parameter.register
            ):
                return None
            operands.append(bound)
        return Cover(row, tuple(operands), pattern.inside)


_UNIT_COST = {"VA": 1, "VX": 2, "VS": 2, "VP": 2, "VA_DV": 2, "VX_DV": 4, "VP_VS": 4}


def _better(a: Cover, b: Cover) -> bool:
    """More operators in one; then the cheaper unit; then immediates rather than registers."""
    return _rank(a) < _rank(b)


def _rank(cover: Cover) -> tuple[int, int, int]:
    unit = cover.row.unit[0][1]
    registers = sum(p.register is not Register.IMMEDIATE for p in cover.row.parameters)
    return -cover.inside, _UNIT_COST.get(unit, 1), registers


def _may_match(body: Expr, arms: tuple[str, ...]) -> bool:
    """Whether the operators right below the root agree, in one order or the other."""
    wanted = [arg.op for arg in body.args]

    def agree(order: list[str]) -> bool:
        pairs = zip(order, arms, strict=False)
        return all(w in ("var", a) or a == "const" for w, a in pairs)

    return agree(wanted) or (OPS[body.op].commutes and agree(wanted[::-1]))


def _loose(row: Instruction) -> bool:
    """Rows whose bits do not depend on the sign of their lanes."""
    return bool(row.tags & {"signless", "bits", "lut"})


LANE_OPS = ("concat", "interleave", "deinterleave", "slice")  # they only move lanes


def _signless(pattern: Expr, node: Expr) -> bool:
    """Whether the bits of ``pattern`` are those of ``node`` whatever the signs of their types."""
    if pattern.op in LANE_OPS:
        return True
    return pattern.op == "cast" and node.args[0].type.kind == "u" and pattern.type.is_int


def _kinds(pattern: _Pattern) -> list[Type]:
    """The types of result that a row can compute."""
    kind = pattern.body.type
    if not kind.is_int or not (pattern.loose or pattern.body.op in LANE_OPS):
        return [kind]
    return [Type(sign, kind.bits, kind.lanes) for sign in "iu"]


class _Matcher:
    """Matches one row's body against a node; ``loose`` ignores the signs of types.

    ``inside`` has the nodes that the row takes in, with the (user, place) pairs seen there.
    """

    def __init__(self, loose: bool) -> None:
        self.loose = loose
        self.bindings: Bindings = {}
        self.inside: dict[Expr, set[tuple[Expr, int]]] = {}

    def match(self, pattern: Expr, node: Expr) -> bool:
        if pattern.op == "var":
            return self._bind(pattern, node)
        if node.op == "const" and pattern.op != "const":
            return self._solve(pattern, node)
        if pattern.op != node.op or not self._alike(pattern, node):
            return False
        if pattern.attr != node.attr or len(pattern.args) != len(node.args):
            return False
        if len(node.args) != 2 or not OPS[node.op].commutes:
            return self._all(pattern.args, node)
        saved = dict(self.bindings), {k: set(v) for k, v in self.inside.items()}
        if self._all(pattern.args, node):
            return True
        self.bindings, self.inside = saved
        return self._all(pattern.args[::-1], node)

    def _all(self, patterns: tuple[Expr, ...], node: Expr) -> bool:
        for place, (pattern, arg) in enumerate(zip(patterns, node.args, strict=True)):
            if not self.match(pattern, arg):
                return False
            if pattern.op != "var" and arg.args:
                self.inside.setdefault(arg, set()).add((node, place))
        return True

    def _same(self, a: Type, b: Type) -> bool:
        if a == b:
            return True
        return self.loose and a.is_int and b.is_int and (a.bits, a.lanes) == (b.bits, b.lanes)

    def _alike(self, pattern: Expr, node: Expr) -> bool:
        """Types agree, or differ in a sign that does not matter."""
        a, b = pattern.type, node.type
        return self._same(a, b) or (
            (a.bits, a.lanes) == (b.bits, b.lanes) and b.is_int and _signless(pattern, node)
        )

    def _bind(self, pattern: Expr, node: Expr) -> bool:
        if not self._same(pattern.type, node.type):
            return False
        return self.bindings.setdefault(str(pattern.attr), node) is node

    def _solve(self, pattern: Expr, node: Expr) -> bool:
        """A constant that is the pattern at some constant of its one scalar operand."""
        if not self._same(pattern.type, node.type) or node.type.kind == "b":
            return False
        scalar = _lone_scalar(pattern)
        if scalar is None:
            return False
        name = str(scalar.attr)
        value = const(int(node.attr), scalar.type)
        if self.bindings.get(name, value) is not value or not _gives(pattern, scalar, value, node):
            return False
        self.bindings[name] = value
        return True


@cache
def _lone_scalar(pattern: Expr) -> Expr | None:
    variables = free_vars(pattern)
    if len(variables) != 1:
        return None
    (variable,) = variables
    return variable if variable.type.lanes == 1 and variable.type.is_int else None


@cache
def _gives(pattern: Expr, scalar: Expr, value: Expr, wanted: Expr) -> bool:
    """Whether the pattern is ``wanted`` in every lane where its scalar is ``value``."""

    def evaluate(node: Expr) -> Value:
        if node is scalar:
            node = value
        if node.op == "const":
            return np.full(node.type.lanes, node.attr, node.type.numpy)
        meaning = OPS[node.op].meaning
        assert meaning is not None
        return meaning(node.type, node.attr, *(evaluate(arg) for arg in node.args))

    return bool((evaluate(pattern) == wanted.attr).all())


# Expansions of the fixed-point vocabulary into steps that HVX has ---------------------------


def _requantize(node: Expr) -> Expr | None:
    """rounding_mul_shr(a, m, s) with s > 31: floors compose, so the product may first be shifted
    by 31: floor((a*m + 2**(s-1)) / 2**s) = rounding_shr(floor(a*m / 2**31), s - 31). The product
    shifted by 31 is vmpye (low half of m, shifted by 16) then vmpyo (high half, by 15 more)."""
    a, m, s = node.args
    if not s.is_const or node.type.lanes == 1 or s.attr < 31 or node.type.bits != 32:
        return None
    low = Expr("call", node.type, (a, m), "vmpyewuh")
    if s.attr == 31:
        return Expr("call", node.type, (low, a, m), "vmpyowh_rnd_sacc")
    high = Expr("call", node.type, (low, a, m), "vmpyowh_sacc")
    return make("rounding_shr", high, const(s.attr - 31, s.type))


def _left_first(node: Expr) -> Expr | None:
    """With s < 31 the accumulator goes left first (its proven range leaves room for it)."""
    a, m, s = node.args
    if not s.is_const or node.type.lanes == 1 or s.attr >= 31:
        return None
    by = 31 - int(s.attr)
    return make("rounding_mul_shr", a << const(by, a.type), m, const(31, s.type))


def _shift_first(node: Expr) -> Expr | None:
    """rounding_shr(x, s) = rounding_shr(x >> t, s - t): floors compose. Narrowing shifts count to
    one less than the narrow lane's bits."""
    x, s = node.args
    most = node.type.bits // 2 - 1
    if not s.is_const or node.type.lanes == 1 or s.attr <= most:
        return None
    return make("rounding_shr", x >> const(s.attr - most, x.type), const(most, s.type))


def _round_alone(node: Expr) -> Expr | None:
    """rounding_shr(x, s) = (floor(x / 2**(s-1)) + 1) >> 1, and of s = 1, where the sum could wrap,
    (x >> 1) + (x & 1)."""
    x, s = node.args
    if not s.is_const:
        return None
    if s.attr == 0:
        return x
    one = const(1, x.type)
    if s.attr == 1:
        return (x >> one) + (x & one)
    return ((x >> const(s.attr - 1, x.type)) + one) >> one


def _wide_scalar(node: Expr) -> Expr | None:
    """The scalar product in 64 bits, rounded and shifted there; it fits i32 by the contract."""
    if node.type.lanes != 1:
        return None
    a, m, s = node.args
    if not s.is_const:
        return None
    product = Expr("cast", i64, (a,)) * Expr("cast", i64, (m,))
    rounded = product + const(1 << (int(s.attr) - 1), i64) if s.attr else product
    return Expr("cast", i32, (rounded >> const(s.attr, i64),))


EXPANSIONS = (
    Expansion("rounding_mul_shr", _requantize, early=True),
    Expansion("rounding_mul_shr", _left_first, early=True),
    Expansion("rounding_shr", _shift_first, early=True),
    Expansion("rounding_mul_shr", _wide_scalar),
    Expansion("rounding_shr", _round_alone),
)
