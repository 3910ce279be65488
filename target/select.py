"""Instruction selection: expressions of register size are covered by the instruction table.

Each row's body is a pattern; a node is covered by the row that takes in most of the expression
below it (GCC's combiner asks the same question: do these operations together make one
instruction?). A node with several users stays a value of its own, unless it has no register form.

    acc + group_sum(cast(i32, w) * cast(i32, tile(x, 32)), 4)     is     vrmpyub_acc(acc, w, x)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..tir.expr import Expr, const, make, walk
from ..tir.ops import OPS
from ..tir.types import Type, i16, i32, vector
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


def has_register(kind: Type) -> bool:
    """Whether a value of this type can live in one register."""
    if kind.kind == "b":
        return True
    return kind.bits * kind.lanes in (8, 16, 32, 64, 1024, 2048)


class Selector:
    """Finds covers in a table of rows; ``expansions`` apply where no row does."""

    def __init__(self, rows: Iterable[Instruction], expansions: Iterable[Expansion]) -> None:
        self.by_root: dict[tuple[str, Type], list[Instruction]] = {}
        self.by_name = {}
        for row in rows:
            self.by_name[row.name] = row
            if row.kind is Kind.COMPUTE and row.body is not None and row.body.op != "var":
                self.by_root.setdefault((row.body.op, row.body.type), []).append(row)
        self.expansions: dict[str, list[Expansion]] = {}
        for expansion in expansions:
            self.expansions.setdefault(expansion.op, []).append(expansion)

    def cover(self, node: Expr, single: Callable[[Expr], bool]) -> Cover | None:
        """The best row for ``node``; ``single`` says whether a value has only this user."""
        if node.op == "call":
            return Cover(self.by_name[str(node.attr)], node.args, 1)
        best: Cover | None = None
        for row in self.by_root.get((node.op, node.type), ()):
            found = self._match_row(row, node, single)
            if found is not None and (best is None or _better(found, best)):
                best = found
        return best

    def expand(self, node: Expr) -> Expr | None:
        """``node`` in smaller steps, if an expansion applies."""
        for expansion in self.expansions.get(node.op, ()):
            found = expansion.rewrite(node)
            if found is not None:
                return found
        return None

    def _match_row(self, row: Instruction, node: Expr, single: Callable[[Expr], bool]) -> Cover | None:
        bindings: Bindings = {}
        assert row.body is not None
        if not _match(row.body, node, bindings, single, True):
            return None
        operands = []
        for parameter in row.parameters:
            bound = bindings.get(parameter.name)
            if bound is None:
                return None
            if parameter.register is Register.IMMEDIATE:
                if not bound.is_const or not parameter.low <= bound.attr <= parameter.high:
                    return None
            elif not has_register(bound.type) or register_class(bound.type) is not parameter.register:
                return None
            operands.append(bound)
        return Cover(row, tuple(operands), _inside(row))


_sizes: dict[str, int] = {}


def _inside(row: Instruction) -> int:
    if row.name not in _sizes:
        assert row.body is not None
        _sizes[row.name] = sum(1 for node in walk(row.body) if node.args)
    return _sizes[row.name]


_UNIT_COST = {"VA": 1, "VX": 2, "VS": 2, "VP": 2, "VA_DV": 2, "VX_DV": 4, "VP_VS": 4}


def _better(a: Cover, b: Cover) -> bool:
    """More operators in one; then the cheaper unit; then immediates rather than registers."""
    return _rank(a) < _rank(b)


def _rank(cover: Cover) -> tuple[int, int, int]:
    unit = cover.row.unit[0][1]
    registers = sum(p.register is not Register.IMMEDIATE for p in cover.row.parameters)
    return -cover.inside, _UNIT_COST.get(unit, 1), registers


def _match(
    pattern: Expr, node: Expr, bindings: Bindings, single: Callable[[Expr], bool], root: bool
) -> bool:
    if pattern.op == "var":
        return _bind(pattern, node, bindings)
    if pattern.op != node.op or pattern.type != node.type or pattern.attr != node.attr:
        return False
    if len(pattern.args) != len(node.args):
        return False
    if not root and node.args and not single(node):
        return False
    saved = dict(bindings)
    if _match_all(pattern.args, node.args, bindings, single):
        return True
    if len(node.args) == 2 and OPS[node.op].commutes:
        bindings.clear()
        bindings.update(saved)
        return _match_all(pattern.args, node.args[::-1], bindings, single)
    return False


def _match_all(
    patterns: tuple[Expr, ...],
    nodes: tuple[Expr, ...],
    bindings: Bindings,
    single: Callable[[Expr], bool],
) -> bool:
    return all(_match(p, n, bindings, single, False) for p, n in zip(patterns, nodes, strict=True))


def _bind(pattern: Expr, node: Expr, bindings: Bindings) -> bool:
    if pattern.type != node.type:
        return False
    known = bindings.setdefault(str(pattern.attr), node)
    return known is node


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


def _round_alone(node: Expr) -> Expr | None:
    """rounding_shr(x, s) = (floor(x / 2**(s-1)) + 1) >> 1: no overflow for s > 1."""
    x, s = node.args
    if not s.is_const or node.type.lanes == 1:
        return None
    if s.attr == 0:
        return x
    one = const(1, x.type)
    half = x >> const(s.attr - 1, x.type) if s.attr > 1 else x
    return (half + one) >> one


def _wide_scalar(node: Expr) -> Expr | None:
    """The scalar product in 64 bits, rounded and shifted there; it fits i32 by the contract."""
    if node.type.lanes != 1:
        return None
    from ..tir.types import i64

    a, m, s = node.args
    if not s.is_const:
        return None
    product = Expr("cast", i64, (a,)) * Expr("cast", i64, (m,))
    rounded = product + const(1 << (int(s.attr) - 1), i64) if s.attr else product
    return Expr("cast", i32, (rounded >> const(s.attr, i64),))


EXPANSIONS = (
    Expansion("rounding_mul_shr", _requantize),
    Expansion("rounding_mul_shr", _left_first),
    Expansion("rounding_mul_shr", _wide_scalar),
    Expansion("rounding_shr", _round_alone),
)

__all__ = ["EXPANSIONS", "Cover", "Expansion", "Selector", "has_register", "i16", "vector"]
